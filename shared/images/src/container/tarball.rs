//! Tar files, plain or compressed with gzip or zstd.

use super::{GZIP, Member, Place, ZSTD, head_of, is_tar, safe_name};
use crate::{ImageError, Limits};
use std::{
    fs::File,
    io::{BufReader, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Largest zstd window, as `zstd --long=31` writes it.
const ZSTD_WINDOW_LOG: u32 = 31;

/// Tar files are made of blocks of this size.
const BLOCK: u64 = 512;

/// The tar file at `path`; a compressed one is expanded into an unnamed file in `scratch`, within
/// the limits.
pub fn open(path: &Path, limits: &Limits, scratch: &Path) -> Result<File, ImageError> {
    let head = head_of(path)?;
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    let packed: Box<dyn Read> = if head.starts_with(GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file)))
    } else if head.starts_with(ZSTD) {
        let mut decoder = zstd::Decoder::new(file).map_err(ImageError::io("read", path))?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG)
            .map_err(ImageError::io("read", path))?;
        Box::new(decoder)
    } else {
        return Ok(file);
    };
    expand(path, packed, limits.expanded_from(length), scratch)
}

/// Expands into an unnamed file in `scratch`, at most `limit` bytes.
fn expand(
    path: &Path,
    mut packed: Box<dyn Read>,
    limit: u64,
    scratch: &Path,
) -> Result<File, ImageError> {
    let mut out = tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0u64);
    loop {
        let count = match packed.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(ImageError::format(
                    path,
                    format!("compressed data: {error}"),
                ));
            }
        };
        // Fail before a large file that is something else has been expanded.
        if total == 0 && !is_tar(&buffer[..count.min(512)]) && count >= 512 {
            return Err(ImageError::format(
                path,
                "the compressed data is not a tar file",
            ));
        }
        total += count as u64;
        if total > limit {
            let what = format!("the expanded size of {}", path.display());
            return Err(ImageError::Limit {
                what,
                limit,
                unit: "bytes",
                advice: "expand it yourself and import the folder",
            });
        }
        out.write_all(&buffer[..count])
            .map_err(ImageError::io("write", scratch))?;
    }
    out.rewind().map_err(ImageError::io("read", scratch))?;
    Ok(out)
}

/// Appends the regular files of a tar file to `members`, `prefix` before their names. Links and
/// devices are skipped.
pub fn list(
    path: &Path,
    file: &File,
    index: u32,
    prefix: &str,
    limits: &Limits,
    members: &mut Vec<Member>,
) -> Result<(), ImageError> {
    let broken = |error: std::io::Error| ImageError::format(path, format!("tar archive: {error}"));
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    let again = file.try_clone().map_err(ImageError::io("read", path))?;
    let mut archive = tar::Archive::new(again);
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        // Of links and devices too: the end marker follows the last entry, whatever it is.
        end = entry
            .raw_file_position()
            .saturating_add(entry.size())
            .div_ceil(BLOCK)
            .saturating_mul(BLOCK);
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| ImageError::format(path, "a member name is not UTF-8"))?;
        let name = format!("{prefix}{}", safe_name(path, &name)?);
        let (size, offset) = (entry.size(), entry.raw_file_position());
        // The seeking reader does not notice when a member's data is cut off.
        if offset.saturating_add(size) > length {
            return Err(ImageError::format(
                path,
                format!("truncated: member `{name}` ends beyond the end of the file"),
            ));
        }
        members.push(Member {
            name,
            size,
            place: Place::Stored {
                file: index,
                offset,
                // tar has checksums of headers alone.
                crc: None,
            },
        });
        if members.len() as u64 > limits.members {
            return Err(too_many(path, limits));
        }
    }
    // A complete archive ends in blocks of zeros; one that was cut between two members does not.
    let mut mark = [1u8; BLOCK as usize];
    if file.read_exact_at(&mut mark, end).is_err() || mark.iter().any(|byte| *byte != 0) {
        return Err(ImageError::format(
            path,
            "truncated: the tar archive has no end marker",
        ));
    }
    Ok(())
}

/// The error for an archive with too many members.
pub fn too_many(path: &Path, limits: &Limits) -> ImageError {
    let what = format!("the number of members of {}", path.display());
    ImageError::Limit {
        what,
        limit: limits.members,
        unit: "members",
        advice: "import it in parts",
    }
}
