//! The digest of a weight file, by which results name it.

use crate::NetError;
use cedm_contract::{Digest, MOST_WEIGHT_BYTES};
use cedm_tensor_files::open_file;
use std::{io::Read, path::Path};

/// Size and digest of a weight file. Its size is known before a byte of it is read: a file that is
/// none may be of any length.
///
/// # Errors
/// When it cannot be read, is larger than any weight file, or changes meanwhile.
pub fn size_and_digest(path: &Path) -> Result<(u64, Digest), NetError> {
    let length = path.metadata().map_err(NetError::io("read", path))?.len();
    if length > MOST_WEIGHT_BYTES {
        let reason =
            format!("{length} bytes, expected at most {MOST_WEIGHT_BYTES} of a weight file");
        return Err(NetError::format(path, reason));
    }
    let file = open_file(path).map_err(NetError::io("read", path))?;
    // One that grows meanwhile is read no further than it is allowed to.
    let read = Digest::of_reader(file.take(MOST_WEIGHT_BYTES + 1));
    let (size, digest) = read.map_err(NetError::io("read", path))?;
    if size != length {
        let reason = format!("{size} bytes read of {length}: it changed while it was read");
        return Err(NetError::format(path, reason));
    }
    Ok((size, digest))
}
