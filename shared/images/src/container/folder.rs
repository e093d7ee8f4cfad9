//! Listing a folder recursively.

use super::{Member, Place};
use crate::{ImageError, Limits};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// Every file below `root`. Links to files are followed, links to folders are not (they may form
/// cycles); hidden files are skipped.
pub fn list(root: &Path, limits: &Limits) -> Result<Vec<Member>, ImageError> {
    // A list of folders still to visit, not recursion: depth is unbounded.
    let (mut members, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ImageError::io("list", &folder))? {
            let entry = entry.map_err(ImageError::io("list", &folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(ImageError::io("list", &path))?;
            // Also what macOS leaves behind (`.DS_Store`, `._name.png`).
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            // A link whose target is missing is skipped.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            let relative = path
                .strip_prefix(root)
                .expect("invariant: a walk stays below its root");
            let Some(name) = relative.to_str() else {
                return Err(ImageError::format(&path, "the file name is not UTF-8"));
            };
            if meta.is_file() {
                members.push(Member {
                    name: name.to_owned(),
                    size: meta.len(),
                    place: Place::Own,
                });
            }
            if members.len() as u64 > limits.members {
                return Err(super::tarball::too_many(root, limits));
            }
        }
    }
    Ok(members)
}

/// The tar files of a folder that holds nothing but WebDataset shards; empty for other folders.
pub fn tar_shards(root: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut shards = Vec::new();
    for entry in fs::read_dir(root).map_err(ImageError::io("list", root))? {
        let path = entry.map_err(ImageError::io("list", root))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_string();
        if [".tar", ".tar.gz", ".tgz", ".tar.zst"]
            .iter()
            .any(|end| name.ends_with(end))
            && path.is_file()
        {
            shards.push(path);
        } else if path.is_dir() || crate::decode::is_image_name(&name) {
            return Ok(Vec::new());
        }
    }
    shards.sort();
    Ok(shards)
}

/// A file's bytes; one that grew beyond `limit` since it was listed is an error.
pub fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!(
            "more than the allowed {limit} bytes"
        )));
    }
    Ok(bytes)
}
