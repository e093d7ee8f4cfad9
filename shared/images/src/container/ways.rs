//! What a source can be read as. A source that holds files of two kinds is never guessed at: it is
//! an error that names both, and `--read-as` chooses.

use super::{Member, lmdb};
use crate::{ImageError, ImportOptions, ReadAs, Skipped, decode::is_image_name};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const TAR_ENDINGS: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".txz"];

/// The part of a name behind the last slash.
fn base_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The folder of a name, without its slash.
fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a file has the name of a tar archive.
pub fn is_tar_name(name: &str) -> bool {
    stem_of(name).len() < name.len()
}

/// A name without the ending of a tar archive.
pub fn stem_of(name: &str) -> &str {
    let ending = TAR_ENDINGS.iter().find(|ending| {
        let start = name.len().checked_sub(ending.len());
        let end = start.and_then(|start| name.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(ending))
    });
    &name[..name.len() - ending.map_or(0, |ending| ending.len())]
}

/// Key and field of a member of samples: the key is the name up to the first dot of its last part,
/// the field the rest in lower case.
pub fn key_and_field(name: &str) -> (&str, String) {
    let base = name.len() - base_of(name).len();
    match name[base..].find('.') {
        None => (name, String::new()),
        Some(dot) => (&name[..base + dot], name[base + dot + 1..].to_lowercase()),
    }
}

/// What a file alone is, where its name says it.
fn way_of(name: &str, has_meta: &BTreeSet<&str>) -> Option<ReadAs> {
    let lower = base_of(name).to_ascii_lowercase();
    let batch = lower.strip_suffix(".bin").unwrap_or(&lower);
    let numbered = batch.strip_prefix("data_batch_");
    if is_tar_name(name) {
        Some(ReadAs::Shards)
    } else if is_image_name(name) {
        Some(ReadAs::Images)
    } else if lower.ends_with(".parquet") {
        // Beside images it describes them.
        (lower != "metadata.parquet").then_some(ReadAs::Tables)
    } else if lower == lmdb::FILE {
        Some(ReadAs::Database)
    } else if batch == "test_batch"
        || numbered.is_some_and(|number| number.len() == 1)
        || (["train", "test"].contains(&batch) && has_meta.contains(folder_of(name)))
    {
        Some(ReadAs::Cifar)
    } else if lower.contains("images") && lower.contains("idx3") {
        Some(ReadAs::Idx)
    } else {
        let array = name.strip_suffix(".npy");
        array
            .filter(|stem| crate::source::is_array_of_images(stem))
            .map(|_| ReadAs::Arrays)
    }
}

/// The files of each way in which a source can be read.
pub struct Ways<'a> {
    files: BTreeMap<ReadAs, Vec<&'a str>>,
    path: &'a Path,
}

impl<'a> Ways<'a> {
    /// Those of these files; `archive` where they lie in an archive, in which no table and no
    /// database is read.
    pub fn of(path: &'a Path, members: &'a [Member], archive: bool) -> Self {
        let names = || members.iter().map(|member| member.name.as_str());
        let meta = ["meta", "fine_label_names.txt"];
        let has_meta = names()
            .filter(|name| meta.contains(&base_of(name)))
            .map(folder_of)
            .collect();
        let mut files = BTreeMap::<ReadAs, Vec<&str>>::new();
        for name in names() {
            if let Some(way) = way_of(name, &has_meta) {
                files.entry(way).or_default().push(name);
            }
        }
        if archive {
            files.remove(&ReadAs::Tables);
            files.remove(&ReadAs::Database);
        }
        Self { files, path }
    }

    /// The only way, or the one that the options name; `None` where there is none.
    ///
    /// # Errors
    /// When there are several and the options name none, or name another.
    pub fn choose(&self, options: &ImportOptions) -> Result<Option<ReadAs>, ImageError> {
        let fail = |reason: String| {
            Err(ImageError::Option {
                option: "read-as",
                reason,
            })
        };
        let found: Vec<String> = self
            .files
            .iter()
            .map(|(way, files)| {
                let first = files.iter().min().copied().unwrap_or_default();
                format!("{} {} (`{first}`)", files.len(), way.files())
            })
            .collect();
        let found = found.join(" and ");
        let choices: Vec<String> = self
            .files
            .keys()
            .map(|way| format!("--read-as {}", way.name()))
            .collect();
        let choices = choices.join(" or ");
        let shown = self.path.display();
        match options.read_as {
            Some(way) if self.files.contains_key(&way) || self.files.is_empty() => Ok(Some(way)),
            Some(way) => fail(format!(
                "`{}`, but {shown} holds no {}, it holds {found}: give {choices}",
                way.name(),
                way.files()
            )),
            None if self.files.len() > 1 => fail(format!(
                "none given, but {shown} holds {found}: give {choices}"
            )),
            None => Ok(self.files.keys().next().copied()),
        }
    }

    /// The files of a way that lie in one folder, in order: those at the top, else those of the
    /// only folder that has some; and those that lie elsewhere.
    ///
    /// # Errors
    /// When several folders have some, which may be the parts of a set.
    pub fn of_one_folder(&self, way: ReadAs) -> Result<(Vec<&'a str>, Vec<Skipped>), ImageError> {
        let all = self.files.get(&way).cloned().unwrap_or_default();
        let folders: BTreeSet<&str> = all.iter().map(|name| folder_of(name)).collect();
        let chosen = folders.first().copied().unwrap_or_default();
        if folders.len() > 1 && !chosen.is_empty() {
            let shown: Vec<String> = folders.iter().take(3).map(|f| format!("`{f}`")).collect();
            return Err(ImageError::Option {
                option: "inside",
                reason: format!(
                    "none given, but {} holds {} in {} folders: give --inside with one of {}{}",
                    self.path.display(),
                    way.files(),
                    folders.len(),
                    shown.join(", "),
                    if folders.len() > 3 { ", …" } else { "" }
                ),
            });
        }
        let (mut here, below): (Vec<&str>, Vec<&str>) =
            all.into_iter().partition(|name| folder_of(name) == chosen);
        here.sort_unstable();
        let reason = format!("below the {} that are read", way.files());
        Ok((here, skipped(&below, &reason)))
    }

    /// The files of all other ways, as left out.
    pub fn beside(&self, chosen: ReadAs) -> Vec<Skipped> {
        let reason = format!("beside the {} that are read", chosen.files());
        let others = self.files.iter().filter(|(way, _)| **way != chosen);
        others
            .flat_map(|(_, files)| skipped(files, &reason))
            .collect()
    }
}

fn skipped(names: &[&str], reason: &str) -> Vec<Skipped> {
    let left = names.iter().map(|name| Skipped {
        name: (*name).to_owned(),
        reason: reason.to_owned(),
    });
    left.collect()
}

/// Whether labels stand beside the images in files of their own (`000123.jpg`, `000123.cls`), or
/// the options speak of fields.
pub fn is_webdataset(members: &[Member], options: &ImportOptions) -> bool {
    let is_class = |member: &Member| member.name.to_ascii_lowercase().ends_with(".cls");
    if options.image_field.is_some() || members.iter().any(is_class) {
        return true;
    }
    let Some(wanted) = &options.label_field else {
        return false;
    };
    let wanted = wanted.to_lowercase();
    let images = members.iter().filter(|member| is_image_name(&member.name));
    let keys: BTreeSet<&str> = images.map(|member| key_and_field(&member.name).0).collect();
    members.iter().any(|member| {
        let (key, field) = key_and_field(&member.name);
        (field == wanted || field == "json") && keys.contains(key)
    })
}

/// Whether tar files are classes and no shards of samples: named by WordNet ids (`n01440764.tar`),
/// or by words of their own. Shards differ in their numbers alone, and parts of a set are no
/// classes.
pub fn are_classes(stems: &[&str], samples: bool) -> bool {
    let is_id = |stem: &&str| {
        let id = stem
            .split('.')
            .next()
            .and_then(|stem| stem.strip_prefix('n'));
        id.is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if stems.iter().all(is_id) {
        return true;
    }
    let word = |stem: &&str| {
        stem.to_lowercase()
            .replace(|c: char| !c.is_alphabetic(), "")
    };
    let words: BTreeSet<String> = stems.iter().map(word).collect();
    let parts = ["", "train", "test", "val", "valid", "validation", "dev"];
    !samples
        && stems.len() > 1
        && words.len() == stems.len()
        && !words.iter().any(|word| parts.contains(&word.as_str()))
}
