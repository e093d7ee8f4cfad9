//! Zip archives with stored or deflated members.

use super::{Member, Place, safe_name};
use crate::{ImageError, Limits};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};
use zip::{CompressionMethod, ZipArchive};

/// The members of an archive, from its central directory.
pub fn list(path: &Path, file: &File, limits: &Limits) -> Result<Vec<Member>, ImageError> {
    let broken =
        |error: zip::result::ZipError| ImageError::format(path, format!("zip archive: {error}"));
    let again = file.try_clone().map_err(ImageError::io("read", path))?;
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    let mut archive = ZipArchive::new(BufReader::new(again)).map_err(broken)?;
    if archive.len() as u64 > limits.members {
        return Err(super::tarball::too_many(path, limits));
    }
    let mut members = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        // Raw: nothing is inflated.
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = safe_name(path, &entry.name().map_err(broken)?)?;
        // Entries of folders.
        if name.ends_with('/') {
            continue;
        }
        if entry.encrypted() {
            return Err(ImageError::format(
                path,
                format!("member `{name}` is encrypted"),
            ));
        }
        let Some(offset) = entry.data_start() else {
            return Err(ImageError::format(
                path,
                format!("member `{name}` has no data"),
            ));
        };
        let (size, compressed) = (entry.size(), entry.compressed_size());
        if offset.saturating_add(compressed) > length {
            return Err(ImageError::format(
                path,
                format!("truncated: member `{name}` ends beyond the end of the file"),
            ));
        }
        let place = match entry.compression() {
            CompressionMethod::Stored => Place::Stored { file: 0, offset },
            CompressionMethod::Deflated => Place::Deflated {
                file: 0,
                offset,
                compressed,
                crc: entry.crc32(),
            },
            other => {
                return Err(ImageError::format(
                    path,
                    format!(
                        "member `{name}` is compressed with {other:?}, expected stored or deflated"
                    ),
                ));
            }
        };
        members.push(Member {
            name,
            // A stored member has one size; the other may say anything.
            size: if matches!(place, Place::Stored { .. }) {
                compressed
            } else {
                size
            },
            place,
        });
    }
    Ok(members)
}

/// Inflates one member.
///
/// # Errors
/// When it has more or fewer bytes than its directory entry says, or another checksum.
pub fn inflate(packed: &[u8], size: u64, crc: u32) -> Result<Vec<u8>, String> {
    // The size is the archive's claim: memory is reserved only up to a bound, and reading stops one
    // byte beyond it.
    let mut bytes = Vec::with_capacity(size.min(64 << 20) as usize);
    flate2::read::DeflateDecoder::new(packed)
        .take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("deflated data: {error}"))?;
    if bytes.len() as u64 != size {
        return Err(format!(
            "inflates to {} or more bytes, its entry says {size}",
            bytes.len()
        ));
    }
    let mut sum = flate2::Crc::new();
    sum.update(&bytes);
    if sum.sum() != crc {
        return Err("wrong checksum".to_owned());
    }
    Ok(bytes)
}
