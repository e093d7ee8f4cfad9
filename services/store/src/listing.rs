//! ListObjectsV2: keys with a prefix, in byte order, one page at a time.

use crate::failure::is_missing;
use std::{
    collections::BTreeSet,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// An object in a listing.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub key: String,
    pub size: u64,
    pub modified: SystemTime,
}

/// One page of a listing.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    pub objects: Vec<Found>,
    pub prefixes: BTreeSet<String>,
    /// Continuation token: the last entry of this page; `None` on the last page.
    pub next: Option<String>,
}

/// Which entries a page has.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Keys start with it.
    pub prefix: &'a str,
    /// Keys that contain it after the prefix are grouped into common prefixes.
    pub delimiter: Option<&'a str>,
    /// Entries after this one.
    pub after: &'a str,
    /// At most so many.
    pub limit: usize,
}

/// The objects of a bucket that are wanted, in byte order of their keys. Nothing is looked at but the names
/// in the folders on the way, and the files of this page.
pub(crate) fn page(bucket: &Path, wanted: Wanted<'_>, names: &Names) -> io::Result<Page> {
    let mut walk = Walk {
        wanted,
        names,
        last: String::new(),
        page: Page {
            objects: Vec::new(),
            prefixes: BTreeSet::new(),
            next: None,
        },
    };
    // Matches can only be in the folder that the prefix names.
    let start = wanted
        .prefix
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    if !start.split('/').any(|name| matches!(name, "." | "..")) {
        let below = if start.is_empty() {
            String::new()
        } else {
            format!("{start}/")
        };
        // The first that has no room ends the walk.
        let _ = walk.descend(&bucket.join(start), &below)?;
    }
    Ok(walk.page)
}

struct Walk<'a> {
    wanted: Wanted<'a>,
    names: &'a Names,
    page: Page,
    last: String,
}

impl Walk<'_> {
    fn descend(&mut self, folder: &Path, below: &str) -> io::Result<ControlFlow<()>> {
        let entries = match self.names.of(folder) {
            Ok(entries) => entries,
            // Removed meanwhile, or the prefix names an object.
            Err(error) if is_missing(&error) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(error),
        };
        // Where the last page ended within this folder, the entries before that are of no interest.
        let after = self.wanted.after;
        let from = match after.strip_prefix(below) {
            Some(rest) => {
                let of = |entry: &Entry| {
                    // The folder that the page ended in is to be entered again.
                    entry.as_bytes() < rest.as_bytes()
                        && !(entry.ends_with('/') && rest.starts_with(entry.as_str()))
                };
                entries.partition_point(of)
            }
            None if below > after => 0,
            None => return Ok(ControlFlow::Continue(())),
        };
        for entry in &entries[from..] {
            let key = format!("{below}{entry}");
            let prefix = self.wanted.prefix;
            let flow = match entry.strip_suffix('/') {
                Some(name) => {
                    let may_match = key.starts_with(prefix) || prefix.starts_with(&key);
                    if !may_match || self.is_listed(&key) {
                        continue;
                    }
                    self.descend(&folder.join(name), &key)?
                }
                None if key.starts_with(prefix) => self.add(&folder.join(entry), key)?,
                None => continue,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The common prefix that a key is grouped under.
    fn common<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.wanted.delimiter.filter(|text| !text.is_empty())?;
        let start = self.wanted.prefix.len();
        let at = key.get(start..)?.find(delimiter)?;
        key.get(..start + at + delimiter.len())
    }

    /// Whether a common prefix stands for this key already, here or at the end of the page before.
    fn is_listed(&self, key: &str) -> bool {
        self.common(key).is_some_and(|common| {
            common == self.wanted.after || self.page.prefixes.contains(common)
        })
    }

    fn add(&mut self, path: &Path, key: String) -> io::Result<ControlFlow<()>> {
        if key.as_str() <= self.wanted.after || self.is_listed(&key) {
            return Ok(ControlFlow::Continue(()));
        }
        let about = match fs::symlink_metadata(path) {
            Ok(about) => about,
            Err(error) if is_missing(&error) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(error),
        };
        if self.page.objects.len() + self.page.prefixes.len() == self.wanted.limit {
            self.page.next = Some(std::mem::take(&mut self.last));
            return Ok(ControlFlow::Break(()));
        }
        match self.common(&key).map(str::to_owned) {
            Some(common) => {
                self.last.clone_from(&common);
                self.page.prefixes.insert(common);
            }
            None => {
                self.last.clone_from(&key);
                self.page.objects.push(Found {
                    key,
                    size: about.len(),
                    modified: about.modified()?,
                });
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The name of a file, or of a folder with a slash behind it: in this form names sort as keys do.
type Entry = String;

/// So many names and more are kept for the next page.
const LARGE: usize = 2_000;
/// A folder that changed less than this before it was read may change again within the same time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// The sorted names of the large folder that was listed last, as long as nothing in it changes: a listing
/// in pages goes on where it stopped instead of reading the folder for each page.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    modified: SystemTime,
    entries: Arc<[Entry]>,
}

impl Names {
    fn of(&self, folder: &Path) -> io::Result<Arc<[Entry]>> {
        let modified = fs::metadata(folder)?.modified()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && (kept.folder.as_path(), kept.modified) == (folder, modified)
        {
            return Ok(kept.entries.clone());
        }
        // Other listings need not wait for this one.
        drop(kept);
        let entries = read(folder)?;
        let is_settled = modified.elapsed().is_ok_and(|age| age > SETTLED);
        if entries.len() >= LARGE && is_settled {
            kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(Kept {
                folder: folder.to_owned(),
                modified,
                entries: entries.clone(),
            });
        }
        Ok(entries)
    }
}

fn read(folder: &Path) -> io::Result<Arc<[Entry]>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else {
            continue;
        };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => name.push('/'),
            Ok(_) => {}
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(error),
        }
        entries.push(name);
    }
    entries.sort_unstable();
    Ok(entries.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bucket: &Path, prefix: &str) -> Vec<String> {
        let wanted = Wanted {
            prefix,
            delimiter: None,
            after: "",
            limit: 100,
        };
        let page = page(bucket, wanted, &Names::default()).unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }

    fn tree(keys: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for key in keys {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, key).unwrap();
        }
        root
    }

    #[test]
    fn a_prefix_need_not_end_at_a_folder() {
        let root = tree(&["a/1", "a/2", "a/b/3", "ab", "c"]);
        let check = |prefix: &str, expect: &[&str]| {
            assert_eq!(list(root.path(), prefix), expect, "{prefix}")
        };
        check("", &["a/1", "a/2", "a/b/3", "ab", "c"]);
        check("a", &["a/1", "a/2", "a/b/3", "ab"]);
        check("a/", &["a/1", "a/2", "a/b/3"]);
        check("a/b/3", &["a/b/3"]);
        check("a/b/3/", &[]);
        check("nothing/here", &[]);
        check("../", &[]);
    }

    /// Names that sort otherwise as names than as keys among them.
    #[test]
    fn pages_together_give_the_whole_listing() {
        let keys = ["a/1", "a/b/3", "a-b", "a.c", "a0", "a/b-", "ab", "c", "c/"];
        let root = tree(&keys[..8]);
        fs::create_dir_all(root.path().join("d/empty")).unwrap();
        let names = Names::default();
        for delimiter in [None, Some("/"), Some("b")] {
            for prefix in ["", "a", "a/"] {
                let of = |after: &str, limit| {
                    let wanted = Wanted {
                        prefix,
                        delimiter,
                        after,
                        limit,
                    };
                    page(root.path(), wanted, &names).unwrap()
                };
                let whole = of("", 100);
                let sorted = whole.objects.is_sorted_by(|a, b| a.key < b.key);
                assert!(sorted && whole.next.is_none(), "{whole:?}");
                for limit in 1..4 {
                    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
                    let mut after = String::new();
                    loop {
                        let part = of(&after, limit);
                        objects.extend(part.objects);
                        prefixes.extend(part.prefixes);
                        match part.next {
                            Some(next) => after = next,
                            None => break,
                        }
                    }
                    let parts = (&objects, &prefixes);
                    assert_eq!(parts, (&whole.objects, &whole.prefixes), "{prefix:?}");
                }
            }
        }
    }

    #[test]
    fn kept_names_are_forgotten_when_the_folder_changes() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..LARGE {
            fs::write(root.path().join(format!("{index:05}")), "").unwrap();
        }
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let settle = || {
            let folder = fs::File::open(root.path()).unwrap();
            folder.set_modified(long_ago).unwrap();
        };
        let names = Names::default();
        settle();
        assert_eq!(names.of(root.path()).unwrap().len(), LARGE);
        let is_kept = || names.0.lock().unwrap().is_some();
        assert!(is_kept());
        fs::write(root.path().join("another"), "").unwrap();
        assert_eq!(names.of(root.path()).unwrap().len(), LARGE + 1);
        // Just changed: it may change again without a new time stamp.
        fs::remove_file(root.path().join("another")).unwrap();
        assert_eq!(names.of(root.path()).unwrap().len(), LARGE);
    }
}
