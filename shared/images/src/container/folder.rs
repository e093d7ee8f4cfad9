//! Listing a folder recursively.

use super::{Member, Place, is_ignored};
use crate::{ImageError, Limits, Skipped};
use cedm_tensor_files::open_file;
use std::{
    collections::HashSet,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Every file below `root`. Links to files and folders are followed, each under its own name; links
/// that lead nowhere, or to a folder that they are reached through, are added to `left_out`.
pub fn list(
    root: &Path,
    limits: &Limits,
    left_out: &mut Vec<Skipped>,
) -> Result<Vec<Member>, ImageError> {
    // A list of folders still to visit, not recursion: depth is unbounded.
    // With the real paths of the folders whose links led to each: links may form cycles.
    let (mut members, mut folders) = (Vec::new(), vec![(root.to_owned(), Vec::new())]);
    let (mut repeated, mut linked) = (Repeated::default(), 0u64);
    while let Some((folder, through)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ImageError::io("list", &folder))? {
            let entry = entry.map_err(ImageError::io("list", &folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ImageError::io("list", &path))?;
            // Not entered: caches of other programs may hold anything.
            if is_ignored(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let relative = path
                .strip_prefix(root)
                .expect("invariant: a walk stays below its root");
            let Some(name) = relative.to_str() else {
                return Err(ImageError::format(&path, "the file name is not UTF-8"));
            };
            let Ok(meta) = fs::metadata(&path) else {
                left_out.push(Skipped {
                    name: name.to_owned(),
                    reason: "a link to a file that does not exist".to_owned(),
                });
                continue;
            };
            if meta.is_dir() {
                let real = fs::canonicalize(&path).map_err(ImageError::io("list", &path))?;
                let inside = fs::canonicalize(&folder).map_err(ImageError::io("list", &folder))?;
                if !kind.is_symlink() {
                    folders.push((path, through.clone()));
                } else if inside.starts_with(&real)
                    || through
                        .iter()
                        .any(|before: &PathBuf| before.starts_with(&real))
                {
                    left_out.push(Skipped {
                        name: name.to_owned(),
                        reason: "a link to a folder that it lies in".to_owned(),
                    });
                } else {
                    let mut through = through.clone();
                    through.push(inside);
                    folders.push((path, through));
                }
                // Each level of links may double the folders.
                linked += u64::from(!through.is_empty() || kind.is_symlink());
                if linked > LINKED {
                    let reason =
                        format!("links to its folders stand for more than {LINKED} folders");
                    return Err(ImageError::format(root, reason));
                }
                continue;
            }
            if meta.is_file() {
                repeated
                    .add(&meta)
                    .map_err(|reason| ImageError::format(root, reason))?;
                members.push(Member {
                    name: name.to_owned(),
                    size: meta.len(),
                    place: Place::Own,
                });
            } else {
                // Opened, a named pipe would wait for ever.
                left_out.push(Skipped {
                    name: name.to_owned(),
                    reason: "a named pipe, a socket or a device, expected a file".to_owned(),
                });
            }
            if members.len() as u64 > limits.members {
                return Err(ImageError::too_many(root, limits));
            }
        }
    }
    Ok(members)
}

/// Folders that are reached through links.
const LINKED: u64 = 100_000;

/// Files under several names, by symbolic or hard links. Each name is read and decoded, so that a
/// folder of links to one large file would take for ever.
#[derive(Default)]
struct Repeated {
    seen: HashSet<(u64, u64)>,
    /// Bytes of the files, and of those that were seen before.
    own: u64,
    again: u64,
}

/// Bytes that links may always repeat, and how many times the bytes of the files they may repeat
/// beyond.
const REPEATED: u64 = 1 << 30;
const REPEATED_FOR_EACH: u64 = 4;

impl Repeated {
    /// # Errors
    /// When links repeat too many bytes so far.
    fn add(&mut self, meta: &fs::Metadata) -> Result<(), String> {
        if self.seen.insert((meta.dev(), meta.ino())) {
            self.own = self.own.saturating_add(meta.len());
            return Ok(());
        }
        self.again = self.again.saturating_add(meta.len());
        let most = REPEATED.max(self.own.saturating_mul(REPEATED_FOR_EACH));
        if self.again <= most {
            return Ok(());
        }
        Err(format!(
            "links to its files repeat more than {most} bytes, of {} in the files themselves",
            self.own
        ))
    }
}

/// A file's bytes; one that grew beyond `limit` since it was listed is an error.
pub fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!(
            "more than the allowed {limit} bytes"
        )));
    }
    Ok(bytes)
}
