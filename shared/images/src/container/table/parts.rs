//! Which parquet files of a folder are the wanted part of one set. The hub names files by it:
//! `train-00000-of-00002.parquet`, `plain_text-train.parquet`, `test.parquet`.

use crate::{ImageError, ImportOptions, Skipped, Split};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Words by which the hub knows a part, with its name.
const WORDS: [(&str, &str); 11] = [
    ("train", "train"),
    ("training", "train"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "test"),
    ("evaluation", "test"),
    ("validation", "validation"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "validation"),
    ("unsupervised", "unsupervised"),
];

/// The part of a set that a word names: `val` is `validation`.
pub fn part_named(word: &str) -> Option<&'static str> {
    let found = WORDS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word));
    found.map(|(_, part)| *part)
}

/// The part that a file's name says, and what stands before it: the name of a table.
fn part_of(path: &Path) -> Option<(&'static str, String)> {
    let stem = path.file_stem()?.to_string_lossy().to_ascii_lowercase();
    let mut start = 0;
    for word in stem.split(|c: char| !c.is_ascii_alphanumeric()) {
        if let Some(part) = part_named(word) {
            // Numbers count the files of one table.
            let before = stem[..start].trim_matches(|c: char| !c.is_ascii_alphabetic());
            return Some((part, before.to_owned()));
        }
        start += word.len() + 1;
    }
    None
}

/// Of the parquet files of a folder those of the wanted part, and those that are of no part while
/// others are. Files of which none names a part are one set.
///
/// # Errors
/// When the folder has no file of the part, or files of several tables.
pub fn files(
    root: &Path,
    all: Vec<PathBuf>,
    split: Split,
) -> Result<(Vec<PathBuf>, Vec<Skipped>), ImageError> {
    let fail = |reason: String| Err(ImageError::format(root, reason));
    let wanted = split.name();
    let parts: BTreeSet<&str> = all
        .iter()
        .filter_map(|path| Some(part_of(path)?.0))
        .collect();
    if parts.is_empty() {
        if split == Split::Test && !all.is_empty() {
            return Err(no_parts(root));
        }
        return Ok((all, Vec::new()));
    }
    let (named, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|path| part_of(path).is_some());
    let of_part = |path: &PathBuf| part_of(path).is_some_and(|(part, _)| part == wanted);
    let chosen: Vec<PathBuf> = named.into_iter().filter(of_part).collect();
    if chosen.is_empty() {
        let found: Vec<&str> = parts.into_iter().collect();
        return fail(format!(
            "`{wanted}-….parquet` is missing: its parquet files are of {}",
            found.join(", ")
        ));
    }
    let tables: BTreeSet<String> = chosen
        .iter()
        .filter_map(|path| Some(part_of(path)?.1))
        .collect();
    if tables.len() > 1 {
        let found: Vec<String> = tables.iter().map(|name| format!("`{name}`")).collect();
        return fail(format!(
            "parquet files of {} tables ({}), expected one: import its files from a folder of their \
             own",
            found.len(),
            found.join(", ")
        ));
    }
    let skipped = others.iter().map(|path| Skipped {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        reason: format!("its name says no part, and that of others does; `{wanted}` is imported"),
    });
    Ok((chosen, skipped.collect()))
}

/// Compares the wanted part with the name of a file that was given itself.
///
/// # Errors
/// When the test part is wanted and the file is another.
pub fn check(path: &Path, options: &ImportOptions) -> Result<(), ImageError> {
    match part_of(path) {
        _ if options.split == Split::Train => Ok(()),
        Some(("test", _)) => Ok(()),
        Some((part, _)) => Err(ImageError::Option {
            option: "split",
            reason: format!("test, but {} is the part `{part}`", path.display()),
        }),
        None => Err(no_parts(path)),
    }
}

fn no_parts(path: &Path) -> ImageError {
    ImageError::Option {
        option: "split",
        reason: format!(
            "test, but the names of the parquet files of {} say no part",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the chosen and of the skipped files, or the error.
    fn of(names: &[&str], split: Split) -> Result<(Vec<String>, Vec<String>), String> {
        let all = names.iter().map(PathBuf::from).collect();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let (chosen, skipped) =
            files(Path::new("set"), all, split).map_err(|error| error.to_string())?;
        let skipped = skipped.into_iter().map(|skipped| skipped.name);
        Ok((chosen.iter().map(name).collect(), skipped.collect()))
    }

    #[test]
    fn parts_are_told_apart_wherever_their_name_stands() {
        for (train, test) in [
            (
                "default-train-00000-of-00001.parquet",
                "default-test-00000-of-00001.parquet",
            ),
            ("cifar10-train.parquet", "cifar10-test.parquet"),
            ("set.train.PARQUET", "set.test.PARQUET"),
            ("0000_training.parquet", "0000_eval.parquet"),
        ] {
            let chosen = |split| of(&[train, test], split).unwrap();
            assert_eq!(chosen(Split::Train), (vec![train.to_owned()], vec![]));
            assert_eq!(chosen(Split::Test), (vec![test.to_owned()], vec![]));
        }
        let both = of(&["0000.parquet", "0001.parquet"], Split::Train).unwrap();
        assert_eq!(both.0, ["0000.parquet", "0001.parquet"]);
        let some = of(&["train.parquet", "extra.parquet"], Split::Train).unwrap();
        assert_eq!(
            some,
            (
                vec!["train.parquet".to_owned()],
                vec!["extra.parquet".to_owned()]
            )
        );
        for (names, split, expected) in [
            (&["0000.parquet"][..], Split::Test, "say no part"),
            (
                &["validation.parquet"],
                Split::Train,
                "`train-….parquet` is missing: its parquet files are of validation",
            ),
            (
                &["a-train.parquet", "b-train.parquet"],
                Split::Train,
                "parquet files of 2 tables (`a`, `b`)",
            ),
        ] {
            let error = of(names, split).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
