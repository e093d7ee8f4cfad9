//! Tar files, plain or compressed with gzip, xz or zstd.

use super::{GZIP, Link, Member, Place, XZ, ZSTD, head_of, is_tar, safe_name};
use crate::{ImageError, Limits, Skipped};
use cedm_tensor_files::open_file;
use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Largest zstd window, as `zstd --long=31` writes it.
const ZSTD_WINDOW_LOG: u32 = 31;

/// Most memory of the xz decoder in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Tar files are made of blocks of this size.
const BLOCK: u64 = 512;

/// Most bytes of the headers of one member: its name, its attributes and its map of holes, which
/// lie in blocks of their own and are read into memory.
const HEADERS: u64 = 1 << 20;

/// The tar file at `path`; a compressed one is expanded into an unnamed file in `scratch`, within
/// the limits.
pub fn open(path: &Path, limits: &Limits, scratch: &Path) -> Result<File, ImageError> {
    let head = head_of(path)?;
    let file = open_file(path).map_err(ImageError::io("read", path))?;
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    if !is_packed(&head) {
        return Ok(file);
    }
    let mut out = tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
    let limit = limits.expanded_from(length);
    expand(path, &head, Box::new(file), limit, &mut out)?;
    out.rewind().map_err(ImageError::io("read", path))?;
    Ok(out)
}

/// Whether a file that begins with these bytes is compressed.
pub fn is_packed(head: &[u8]) -> bool {
    [GZIP, ZSTD, XZ].iter().any(|magic| head.starts_with(magic))
}

/// The bytes without the compression that their head tells, where there is one.
fn unpacked<'a>(
    path: &Path,
    head: &[u8],
    bytes: Box<dyn Read + 'a>,
) -> Result<Box<dyn Read + 'a>, ImageError> {
    Ok(if head.starts_with(GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(bytes)))
    } else if head.starts_with(ZSTD) {
        let mut decoder = zstd::Decoder::new(bytes).map_err(ImageError::io("read", path))?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG)
            .map_err(ImageError::io("read", path))?;
        Box::new(decoder)
    } else if head.starts_with(XZ) {
        // One stream after another, as `xz` of several threads writes them; the memory is what its
        // highest preset needs.
        let flags = liblzma::stream::CONCATENATED;
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)
            .map_err(|error| ImageError::format(path, format!("xz data: {error}")))?;
        Box::new(liblzma::read::XzDecoder::new_stream(
            BufReader::new(bytes),
            stream,
        ))
    } else {
        bytes
    })
}

/// Expands a tar file with this head to the end of `out`, at most `limit` bytes; their number.
///
/// # Errors
/// When it is damaged, no tar file, or larger.
pub fn expand(
    path: &Path,
    head: &[u8],
    bytes: Box<dyn Read + '_>,
    limit: u64,
    out: &mut File,
) -> Result<u64, ImageError> {
    let mut packed = unpacked(path, head, bytes)?;
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
            return Err(ImageError::too_large(path, limit));
        }
        out.write_all(&buffer[..count])
            .map_err(ImageError::io("write", path))?;
    }
    Ok(total)
}

/// A tar file, or a tar file that is a member of another.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    file: &'a File,
    first: u64,
    length: u64,
}

impl<'a> Part<'a> {
    /// `length` bytes of `file` from `first` on.
    pub fn new(file: &'a File, first: u64, length: u64) -> Self {
        Self {
            file,
            first,
            length,
        }
    }

    /// All of a file.
    ///
    /// # Errors
    /// When its length cannot be found out.
    pub fn whole(path: &Path, file: &'a File) -> Result<Self, ImageError> {
        let length = file.metadata().map_err(ImageError::io("read", path))?.len();
        Ok(Self::new(file, 0, length))
    }
}

/// Reads a part with a cursor of its own.
struct Cursor<'a> {
    part: Part<'a>,
    at: u64,
    /// Bytes that may be read before the next member begins.
    left: &'a Cell<u64>,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left.get() == 0 {
            return Err(std::io::Error::other(format!(
                "the headers of a member take more than {HEADERS} bytes"
            )));
        }
        let left = self.part.length.saturating_sub(self.at);
        let left = left.min(self.left.get());
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self
            .part
            .file
            .read_at(&mut buffer[..most], self.part.first + self.at)?;
        self.at += count as u64;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.part.length, by),
        };
        let at = base.checked_add_signed(by);
        self.at = at.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// What a tar file holds.
#[derive(Default)]
pub struct Listing {
    /// Its regular files, in the order of the archive.
    pub members: Vec<Member>,
    /// Its hard and symbolic links.
    pub links: Vec<Link>,
    /// Its devices, named pipes and files with holes.
    pub left_out: Vec<Skipped>,
}

/// Why the bytes of an entry are not those of a file, where they are not.
///
/// # Errors
/// When its attributes are damaged, or give it a size other than the one that is read. The library
/// passes over a size that is no number, and all that follows would be read from a wrong place.
fn no_plain_file<R: Read>(entry: &mut tar::Entry<'_, R>) -> std::io::Result<Option<&'static str>> {
    let (kind, size) = (entry.header().entry_type(), entry.size());
    let mut holes = false;
    for attribute in entry.pax_extensions()?.into_iter().flatten() {
        let attribute = attribute?;
        // Newer sparse files are marked by their attributes alone.
        holes |= attribute.key_bytes().starts_with(b"GNU.sparse.");
        if attribute.key_bytes() == b"size" {
            let text = String::from_utf8_lossy(attribute.value_bytes());
            if text.parse() != Ok(size) {
                let shown: String = text.chars().take(40).collect();
                return Err(std::io::Error::other(format!(
                    "an attribute `size` of `{shown}`, expected {size}, the size of its entry"
                )));
            }
        }
    }
    if !kind.is_file() && !kind.is_contiguous() {
        return Ok(Some(if kind.is_gnu_sparse() {
            HOLES
        } else {
            "a device, a named pipe or an entry of an unknown kind, expected a file"
        }));
    }
    Ok(holes.then_some(HOLES))
}

const HOLES: &str =
    "a sparse file, whose holes are left out of the archive: pack it without --sparse";

/// The contents of a tar file, `prefix` before their names.
pub fn list(
    path: &Path,
    part: Part<'_>,
    index: u32,
    prefix: &str,
    limits: &Limits,
) -> Result<Listing, ImageError> {
    let broken = |error: std::io::Error| ImageError::format(path, format!("tar archive: {error}"));
    let utf8 = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| ImageError::format(path, "a member name is not UTF-8"))
    };
    let mut listing = Listing::default();
    let left = Cell::new(HEADERS);
    let cursor = Cursor {
        part,
        at: 0,
        left: &left,
    };
    let mut archive = tar::Archive::new(cursor);
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        left.set(HEADERS);
        // Of links and devices too: the end marker follows the last entry, whatever it is.
        end = entry
            .raw_file_position()
            .saturating_add(entry.size())
            .div_ceil(BLOCK)
            .saturating_mul(BLOCK);
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let no_file = no_plain_file(&mut entry).map_err(broken)?;
        if kind.is_dir() {
            continue;
        }
        let name = format!("{prefix}{}", safe_name(path, &utf8(&entry.path_bytes())?)?);
        if kind.is_hard_link() || kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = utf8(&target)?;
            listing.links.push(if kind.is_symlink() {
                Link::symbolic(name, &target)
            } else {
                // A hard link names a member from the top of the archive.
                let target = safe_name(path, &target)?;
                Link {
                    name,
                    target: Some(format!("{prefix}{target}")),
                }
            });
            continue;
        }
        if let Some(reason) = no_file {
            listing.left_out.push(Skipped {
                name,
                reason: reason.to_owned(),
            });
            continue;
        }
        let (size, offset) = (entry.size(), entry.raw_file_position());
        // The seeking reader does not notice when a member's data is cut off.
        if offset.saturating_add(size) > part.length {
            return Err(ImageError::format(
                path,
                format!("truncated: member `{name}` ends beyond the end of the file"),
            ));
        }
        listing.members.push(Member {
            name,
            size,
            place: Place::Stored {
                file: index,
                offset: part.first + offset,
                // tar has checksums of headers alone.
                crc: None,
            },
        });
        let count = listing.members.len() + listing.links.len() + listing.left_out.len();
        if count as u64 > limits.members {
            return Err(ImageError::too_many(path, limits));
        }
    }
    replace(&mut listing);
    // A complete archive ends in blocks of zeros; one that was cut between two members does not.
    let mut mark = [1u8; BLOCK as usize];
    let in_part = end.saturating_add(BLOCK) <= part.length;
    if !in_part
        || part
            .file
            .read_exact_at(&mut mark, part.first + end)
            .is_err()
        || mark.iter().any(|byte| *byte != 0)
    {
        return Err(ImageError::format(
            path,
            "truncated: the tar archive has no end marker",
        ));
    }
    Ok(listing)
}

/// Of members of one name keeps the last, as `tar` does: `tar -r` adds a new version of a file
/// behind the old one.
fn replace(listing: &mut Listing) {
    let mut last = HashMap::new();
    for (at, member) in listing.members.iter().enumerate() {
        last.insert(member.name.clone(), at);
    }
    if last.len() == listing.members.len() {
        return;
    }
    let mut at = 0;
    let left_out = &mut listing.left_out;
    listing.members.retain(|member| {
        let keep = last[&member.name] == at;
        at += 1;
        if !keep {
            left_out.push(Skipped {
                name: member.name.clone(),
                reason: "replaced by a later member of the same name".to_owned(),
            });
        }
        keep
    });
}
