//! What a command names: images and weight files, by path or `s3://` URI.

use crate::import::{ShapeArgs, bar};
use anyhow::{Context, Result};
use cedm_contract::ObjectRef;
use cedm_images::Imported;
use cedm_runtime::store::ObjectUri;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A local path for what `named` names; an object of a store is brought into `folder` first.
///
/// # Errors
/// When the URI is none, or cannot be read.
pub fn local(named: &str, folder: &Path) -> Result<PathBuf> {
    match ObjectUri::parse(named)? {
        None => Ok(PathBuf::from(named)),
        Some(uri) => uri.bring(folder).with_context(|| format!("read {named}")),
    }
}

/// Imported images: the shards of a folder that an import made, or of an import into a temporary
/// folder.
pub struct Images {
    folder: PathBuf,
    /// The set and its record.
    pub imported: Imported,
}

impl Images {
    /// Opens or imports what `named` names.
    ///
    /// # Errors
    /// As [`cedm_images::import`].
    pub fn open(named: &str, shape: &ShapeArgs, scratch: &Path) -> Result<Self> {
        let source = local(named, &scratch.join("source"))?;
        let record = source.join("import.json");
        if record.is_file() {
            let bytes = fs::read(&record).with_context(|| format!("read {}", record.display()))?;
            let imported = serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no import record", record.display()))?;
            return Ok(Self {
                folder: source,
                imported,
            });
        }
        let folder = scratch.join("images");
        let imported = cedm_images::import(&source, &shape.options(), &folder, &mut bar())?;
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
/// When it cannot be read.
pub fn weights_of(named: Option<&str>, scratch: &Path) -> Result<Option<(PathBuf, ObjectRef)>> {
    let Some(named) = named else { return Ok(None) };
    let path = local(named, &scratch.join("weights"))?;
    let (size, digest) = cedm_images::file_digest(&path)?;
    let object = ObjectRef {
        object: named.to_owned(),
        size,
        digest,
    };
    Ok(Some((path, object)))
}
