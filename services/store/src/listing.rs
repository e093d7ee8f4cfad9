//! ListObjectsV2: keys with a prefix, in byte order, one page at a time.

use crate::failure::is_missing;
use std::{collections::BTreeSet, fs, io, path::Path, time::SystemTime};

/// An object in a listing.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub size: u64,
    pub modified: SystemTime,
}

/// Every object of the bucket whose key starts with `prefix`, in byte order of the keys.
pub(crate) fn list(bucket: &Path, prefix: &str) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    // Matches can only be in the folder that the prefix names.
    let start = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !start.split('/').any(|name| matches!(name, "." | "..")) {
        let below = if start.is_empty() {
            String::new()
        } else {
            format!("{start}/")
        };
        descend(&bucket.join(start), &below, prefix, &mut found)?;
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn descend(folder: &Path, below: &str, prefix: &str, found: &mut Vec<Entry>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Removed meanwhile, or the prefix names an object.
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let key = format!("{below}{name}");
        let about = match entry.metadata() {
            Ok(about) => about,
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(error),
        };
        if about.is_dir() {
            let inner = format!("{key}/");
            if inner.starts_with(prefix) || prefix.starts_with(&inner) {
                descend(&entry.path(), &inner, prefix, found)?;
            }
        } else if key.starts_with(prefix) {
            found.push(Entry {
                key,
                size: about.len(),
                modified: about.modified()?,
            });
        }
    }
    Ok(())
}

/// One page of a listing.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub objects: Vec<Entry>,
    pub prefixes: BTreeSet<String>,
    /// Continuation token: the last entry of this page; `None` on the last page.
    pub next: Option<String>,
}

/// The entries after `after`, at most `limit` of them. Keys that contain the delimiter after the
/// prefix are grouped into common prefixes.
pub(crate) fn page(
    found: Vec<Entry>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &str,
    limit: usize,
) -> Page {
    let mut page = Page {
        objects: Vec::new(),
        prefixes: BTreeSet::new(),
        next: None,
    };
    let mut last = String::new();
    for object in found {
        let common = delimiter
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| {
                object.key[prefix.len()..]
                    .find(delimiter)
                    .map(|at| object.key[..prefix.len() + at + delimiter.len()].to_owned())
            });
        // A page that ended with a common prefix must not repeat it for the other keys in it.
        if object.key.as_str() <= after
            || common
                .as_deref()
                .is_some_and(|common| common == after || page.prefixes.contains(common))
        {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == limit {
            page.next = Some(last);
            return page;
        }
        match common {
            Some(common) => {
                last.clone_from(&common);
                page.prefixes.insert(common);
            }
            None => {
                last.clone_from(&object.key);
                page.objects.push(object);
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(found: &[Entry]) -> Vec<&str> {
        found.iter().map(|object| object.key.as_str()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for key in ["a/1", "a/2", "a/b/3", "ab", "c"] {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, key).unwrap();
        }
        root
    }

    #[test]
    fn a_prefix_need_not_end_at_a_folder() {
        let root = tree();
        let check = |prefix: &str, expect: &[&str]| {
            assert_eq!(
                keys(&list(root.path(), prefix).unwrap()),
                expect,
                "{prefix}"
            )
        };
        check("", &["a/1", "a/2", "a/b/3", "ab", "c"]);
        check("a", &["a/1", "a/2", "a/b/3", "ab"]);
        check("a/", &["a/1", "a/2", "a/b/3"]);
        check("a/b/3", &["a/b/3"]);
        check("a/b/3/", &[]);
        check("nothing/here", &[]);
        check("../", &[]);
    }

    #[test]
    fn pages_together_give_the_whole_listing() {
        let root = tree();
        for delimiter in [None, Some("/")] {
            let whole = page(list(root.path(), "").unwrap(), "", delimiter, "", 100);
            let (mut objects, mut prefixes, mut after) =
                (Vec::new(), BTreeSet::new(), String::new());
            loop {
                let part = page(list(root.path(), "").unwrap(), "", delimiter, &after, 1);
                objects.extend(part.objects);
                prefixes.extend(part.prefixes);
                match part.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            assert_eq!((objects, prefixes), (whole.objects, whole.prefixes));
        }
    }
}
