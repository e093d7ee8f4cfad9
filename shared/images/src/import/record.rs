//! The record of a finished import, read from its folder.

use super::{IMPORT_RECORD, Imported};
use crate::ImageError;
use std::{io::BufReader, io::Read, path::Path};

/// Longest record in bytes: of a million left-out files, or of as many shards.
const LONGEST: u64 = 256 << 20;

impl Imported {
    /// The record in the folder of an import. The folder may be a stranger's.
    ///
    /// # Errors
    /// When it is not there, is no regular file, is too long, or no record.
    pub fn read(folder: &Path) -> Result<Self, ImageError> {
        let path = folder.join(IMPORT_RECORD);
        let file = cedm_tensor_files::open_file(&path).map_err(ImageError::io("read", &path))?;
        let size = file
            .metadata()
            .map_err(ImageError::io("read", &path))?
            .len();
        if size > LONGEST {
            let reason =
                format!("{size} bytes, expected the record of an import of at most {LONGEST}");
            return Err(ImageError::format(path, reason));
        }
        // Not as one text in memory: its values take more than that already.
        serde_json::from_reader(BufReader::new(file.take(LONGEST))).map_err(|error| {
            ImageError::format(path, format!("not the record of an import: {error}"))
        })
    }
}
