//! Labels by class folders.

use super::three;
use crate::{container::part_named, source::Labels};
use std::collections::{BTreeSet, HashMap};

/// The folders right below `wrapper` that are parts of a set (`train`, `val`), where there are
/// several: as classes they would be wrong, and together they are the training set of nobody.
pub(super) fn parts<'n>(wrapper: &str, names: &[&'n str]) -> BTreeSet<&'n str> {
    let top = |name: &&'n str| {
        let (folder, _) = name.strip_prefix(wrapper)?.split_once('/')?;
        part_named(folder).map(|part| (&name[..wrapper.len() + folder.len()], part))
    };
    let found: BTreeSet<(&str, &str)> = names.iter().filter_map(top).collect();
    let kinds: BTreeSet<&str> = found.iter().map(|(_, part)| *part).collect();
    if kinds.len() < 2 {
        return BTreeSet::new();
    }
    found.into_iter().map(|(folder, _)| folder).collect()
}

/// The label of an image is the index of its top-level folder among all, sorted by name; without
/// labels unless all images are in folders and there is more than one (spec §1.3). A folder that
/// holds everything (`wrapper`) is no class.
pub(super) fn labels(wrapper: &str, names: &[&str]) -> Labels {
    let inner = |name: &str| name.strip_prefix(wrapper).unwrap_or(name).to_owned();
    let top = |name: &str| {
        inner(name)
            .split_once('/')
            .map(|(folder, _)| folder.to_owned())
    };
    let folders: BTreeSet<String> = names.iter().filter_map(|name| top(name)).collect();
    if folders.len() < 2 {
        return Labels::default();
    }
    let outside = names.iter().filter(|name| top(name).is_none()).count();
    if outside > 0 {
        // Images outside all folders would have no class.
        let note = format!(
            "class folders are ignored: {outside} of {} images lie outside all {} folders",
            names.len(),
            folders.len()
        );
        return Labels {
            notes: vec![note],
            ..Labels::default()
        };
    }
    if folders.iter().all(|name| is_block(name)) {
        let strangers = names.iter().filter(|name| !in_block(&inner(name)));
        let strangers: Vec<&str> = strangers.copied().collect();
        let note = (!strangers.is_empty()).then(|| {
            format!(
                "folders named by five to seven digits are taken as blocks of consecutive images \
                 and not as classes, though {} of {} images have no number of theirs: {}; other \
                 names of folders, metadata.csv or dataset.json say classes",
                strangers.len(),
                names.len(),
                three(strangers)
            )
        });
        return Labels {
            notes: note.into_iter().collect(),
            ..Labels::default()
        };
    }
    let index: HashMap<&String, i64> = folders
        .iter()
        .enumerate()
        .map(|(index, name)| (name, index as i64))
        .collect();
    let fine = names
        .iter()
        .filter_map(|name| top(name))
        .map(|folder| index[&folder])
        .collect();
    Labels {
        fine: Some(fine),
        from: Some("the names of folders".to_owned()),
        class_names: folders.into_iter().collect(),
        ..Labels::default()
    }
}

/// Whether a folder is a block of consecutive images and not a class: `00012` in an EDM archive,
/// for images 12,000 to 12,999; `012000` or `0050000` beside samples, named by the first seed.
fn is_block(name: &str) -> bool {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    match name.len() {
        5 => digits,
        6 | 7 => digits && name.ends_with("000"),
        _ => false,
    }
}

/// Whether an image in a block has one of its numbers: image 12,345 lies in `00012`, `012000` or
/// `12000`.
fn in_block(name: &str) -> bool {
    let Some((folder, rest)) = name.split_once('/') else {
        return false;
    };
    let base = rest.rsplit('/').next().unwrap_or(rest);
    let stem = base.split('.').next().unwrap_or(base);
    let text = stem.trim_start_matches(|c: char| !c.is_ascii_digit());
    let numbers = folder.parse::<u64>().ok().zip(text.parse::<u64>().ok());
    numbers.is_some_and(|(block, number)| number / 1000 == block || number - number % 1000 == block)
}
