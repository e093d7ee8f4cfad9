//! Images and weight files that a command reads.

use crate::import::{ShapeArgs, bar};
use anyhow::Result;
use cedm_contract::ObjectRef;
use cedm_images::{IMPORT_RECORD, Imported};
use cedm_nets::weights::size_and_digest;
use cedm_runtime::InputPath;
use std::path::{Path, PathBuf};

/// Imported images: the shards of a folder that an import made, or of an import into a temporary
/// folder.
pub struct Images {
    folder: PathBuf,
    /// The set and its record.
    pub imported: Imported,
}

impl Images {
    /// Opens a folder that an import made, or imports into `scratch`.
    ///
    /// # Errors
    /// As [`InputPath::path`] and [`cedm_images::import`].
    pub fn open(source: &InputPath, shape: &ShapeArgs, scratch: &Path) -> Result<Self> {
        source.read(|path| Self::open_local(path, shape, scratch))
    }

    fn open_local(source: &Path, shape: &ShapeArgs, scratch: &Path) -> Result<Self> {
        let record = source.join(IMPORT_RECORD);
        if record.is_file() {
            return Ok(Self {
                folder: source.to_owned(),
                imported: Imported::read(source)?,
            });
        }
        let folder = scratch.join("images");
        let imported = cedm_images::import(source, &shape.options(), &folder, &mut bar())?;
        // As `import` does: features of half a set, or without its labels, look like any others.
        for line in imported.lines() {
            cedm_terminal::errln!("{line}");
        }
        Ok(Self { folder, imported })
    }

    /// The folder of the shards.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The shards' files, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let shards = self.imported.set.shards.iter();
        shards
            .map(|shard| self.folder.join(&shard.object.object))
            .collect()
    }
}

/// A weight file as a local path, and as a job's parameter with the digest of its bytes.
///
/// # Errors
/// As [`size_and_digest`].
pub fn weights_of(file: Option<&InputPath>) -> Result<Option<(PathBuf, ObjectRef)>> {
    let Some(file) = file else { return Ok(None) };
    let path = file.path()?.to_owned();
    let (size, digest) = file.read(size_and_digest)?;
    let object = ObjectRef {
        object: file.to_string(),
        size,
        digest,
    };
    Ok(Some((path, object)))
}
