//! Zip archives with stored or deflated members.

use super::{Link, Member, Place, safe_name};
use crate::{ImageError, Limits};
use std::{
    fs::File,
    io::{BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
};
use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
    result::{ZipError, ZipResult},
};

/// Opens an archive. The zip format says where the directory begins, and that holds of nearly every
/// file. Only where it does not, something stands before the archive (a self-extracting program),
/// and its length has to be guessed; guessing first would misread sound archives whose first entry
/// is as long as the zip64 end records.
///
/// Archives whose members share bytes are refused: a small file could expand to any size that way.
///
/// # Errors
/// When it is no archive, or a damaged one.
pub fn open_zip(file: &File) -> ZipResult<ZipArchive<BufReader<&File>>> {
    let with = |archive_offset| -> ZipResult<_> {
        let mut archive = ZipArchive::with_config(Config { archive_offset }, BufReader::new(file))?;
        // The first local header is read too: it is what a wrong offset misses.
        if !archive.is_empty() {
            archive.by_index_raw(0)?;
        }
        Ok(archive)
    };
    let mut archive = with(ArchiveOffset::Known(0)).or_else(|_| with(ArchiveOffset::Detect))?;
    refuse_overlaps(&mut archive)?;
    refuse_doubles(file, archive.len() as u64)?;
    Ok(archive)
}

/// Bits of a Unix mode that say what a file is, and those of a symbolic link.
const KIND_BITS: u32 = 0o170_000;
const SYMBOLIC_LINK: u32 = 0o120_000;
/// Longest path of a symbolic link.
const LINK_LIMIT: u64 = 4096;

/// The members and the symbolic links of an archive, from its central directory.
pub fn list(
    path: &Path,
    file: &File,
    limits: &Limits,
) -> Result<(Vec<Member>, Vec<Link>), ImageError> {
    let broken =
        |error: zip::result::ZipError| ImageError::format(path, format!("zip archive: {error}"));
    let again = file.try_clone().map_err(ImageError::io("read", path))?;
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    let mut archive = open_zip(&again).map_err(broken)?;
    if archive.len() as u64 > limits.members {
        return Err(ImageError::too_many(path, limits));
    }
    let mut members = Vec::with_capacity(archive.len());
    let mut linked = Vec::new();
    let (expanded, mut inflated) = (limits.expanded_from(length), 0u64);
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
        let is_link = entry.unix_mode().map(|mode| mode & KIND_BITS) == Some(SYMBOLIC_LINK);
        if is_link && size <= LINK_LIMIT {
            linked.push((index, name));
            continue;
        }
        if offset.saturating_add(compressed) > length {
            return Err(ImageError::format(
                path,
                format!("truncated: member `{name}` ends beyond the end of the file"),
            ));
        }
        let place = match entry.compression() {
            CompressionMethod::Stored => Place::Stored {
                file: 0,
                offset,
                crc: Some(entry.crc32()),
            },
            CompressionMethod::Deflated => {
                // Each member may be within the limits, and all together are not.
                inflated = inflated.saturating_add(size);
                if inflated > expanded {
                    return Err(ImageError::too_large(path, expanded));
                }
                Place::Deflated {
                    file: 0,
                    offset,
                    compressed,
                    crc: entry.crc32(),
                }
            }
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
    let mut links = Vec::with_capacity(linked.len());
    for (index, name) in linked {
        // The contents of such an entry are the path that it points to.
        let mut target = String::new();
        let mut entry = archive.by_index(index).map_err(broken)?;
        entry
            .by_ref()
            .take(LINK_LIMIT)
            .read_to_string(&mut target)
            .map_err(|error| ImageError::format(path, format!("link `{name}`: {error}")))?;
        links.push(Link::symbolic(name, &target));
    }
    Ok((members, links))
}

/// Refuses archives in which two members have one name: the library keeps the last of them and says
/// nothing, so that an image would be lost.
fn refuse_doubles(file: &File, names: u64) -> ZipResult<()> {
    match entries(file)? {
        Some(entries) if entries > names => Err(ZipError::InvalidArchive(
            format!("its directory has {entries} entries of {names} names: two have the same")
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Number of entries that the end of the directory states: 16 bits in its record, or 64 in the one
/// of zip64 that a locator before it points to.
fn entries(file: &File) -> ZipResult<Option<u64>> {
    // The record takes 22 bytes, the comment behind it at most 65,535.
    const RECORD: usize = 22;
    const LOCATOR: usize = 20;
    let length = file.metadata()?.len();
    let start = length.saturating_sub((RECORD + LOCATOR + 0xffff) as u64);
    let mut tail = vec![0; (length - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    let mut places = (0..tail.len().saturating_sub(RECORD - 1)).rev();
    let Some(record) = places.find(|at| tail[*at..].starts_with(b"PK\x05\x06")) else {
        return Ok(None);
    };
    let count = u16::from_le_bytes([tail[record + 10], tail[record + 11]]);
    if count != u16::MAX {
        return Ok(Some(count.into()));
    }
    let Some(locator) = record.checked_sub(LOCATOR).map(|at| &tail[at..record]) else {
        return Ok(None);
    };
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(Some(count.into()));
    }
    let place = u64::from_le_bytes(locator[8..16].try_into().unwrap_or_default());
    let mut wide = [0; 40];
    let found = file.read_exact_at(&mut wide, place).is_ok() && wide.starts_with(b"PK\x06\x06");
    let count = u64::from_le_bytes(wide[32..40].try_into().unwrap_or_default());
    // An archive behind a program has its offsets from another place.
    Ok(found.then_some(count))
}

fn refuse_overlaps(archive: &mut ZipArchive<BufReader<&File>>) -> ZipResult<()> {
    let mut ranges = Vec::with_capacity(archive.len().min(1 << 20));
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let data = entry.data_start().unwrap_or(entry.header_start());
        ranges.push((
            entry.header_start(),
            data.saturating_add(entry.compressed_size()),
        ));
    }
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        None => Ok(()),
        Some(_) => Err(ZipError::InvalidArchive(
            "two of its members lie on the same bytes".into(),
        )),
    }
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
    check(&bytes, crc)?;
    Ok(bytes)
}

/// What is said of bytes that are not those that the archive was made of.
pub const WRONG_CHECKSUM: &str = "wrong checksum (CRC-32): the archive is damaged";

/// Compares the checksum of a member.
///
/// # Errors
/// When it differs.
pub fn check(bytes: &[u8], crc: u32) -> Result<(), String> {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    if sum.sum() == crc {
        Ok(())
    } else {
        Err(WRONG_CHECKSUM.to_owned())
    }
}
