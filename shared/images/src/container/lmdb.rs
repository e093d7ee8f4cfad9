//! LMDB databases of encoded images, as LSUN comes: the key of each image is its name.
//!
//! Own code for reading alone: the library maps the file into memory and follows its offsets, so
//! that a damaged database ends the process. Here every offset is compared with the length of the
//! file, and no page is visited twice. Format: `mdb.c` of LMDB 0.9, data version 1; numbers are
//! little-endian.

use super::{Member, Place, safe_name};
use crate::{ImageError, Limits, Skipped, decode::sniffed_extension};
use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt, path::Path};

/// Name of the file in the folder of a database.
pub const FILE: &str = "data.mdb";
/// `MDB_MAGIC` and the version of the format, behind the header of the first page.
const MAGIC: [u8; 8] = [0xde, 0xc0, 0xef, 0xbe, 1, 0, 0, 0];
/// Bytes of a page's header.
const HEADER: usize = 16;
/// Bytes of a node's header.
const NODE: usize = 8;
/// Flags of pages: inner, leaf.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
/// Flags of a leaf's nodes: the value lies on pages of its own; the value is a database.
const BIG: u16 = 1;
const NESTED: u16 = 2 | 4;
/// No page: the database is empty.
const NONE: u64 = u64::MAX;

/// Whether a file that begins with these bytes is a database.
pub fn is_lmdb(head: &[u8]) -> bool {
    head.get(HEADER..HEADER + MAGIC.len()) == Some(&MAGIC)
}

/// The values of the main database, each a member with its key as name; and the databases that it
/// names, which are not read.
///
/// # Errors
/// When the file is damaged, has more members than the limits allow, or nothing but named
/// databases.
pub fn list(
    path: &Path,
    file: &File,
    limits: &Limits,
) -> Result<(Vec<Member>, Vec<Skipped>), ImageError> {
    let length = file.metadata().map_err(ImageError::io("read", path))?.len();
    let database = Database {
        path,
        file,
        length,
        page_size: 0,
    };
    database.members(limits)
}

struct Database<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    page_size: u64,
}

impl Database<'_> {
    fn fail(&self, reason: impl std::fmt::Display) -> ImageError {
        ImageError::format(self.path, format!("LMDB database: {reason}"))
    }

    fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, ImageError> {
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(self.fail(format!(
                "truncated: {size} bytes at {offset} of {}",
                self.length
            )));
        }
        let mut bytes = vec![0; size as usize];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map_err(ImageError::io("read", self.path))?;
        Ok(bytes)
    }

    fn members(mut self, limits: &Limits) -> Result<(Vec<Member>, Vec<Skipped>), ImageError> {
        let root = self.root()?;
        let (mut members, mut visited, mut values) = (Vec::new(), BTreeSet::new(), 0u64);
        let mut named = Vec::new();
        let mut pages = if root == NONE { Vec::new() } else { vec![root] };
        while let Some(number) = pages.pop() {
            if !visited.insert(number) {
                return Err(self.fail(format!("page {number} is reached twice")));
            }
            let offset = number.checked_mul(self.page_size);
            let offset = offset.ok_or_else(|| self.fail(format!("page {number}")))?;
            let page = self.read(offset, self.page_size)?;
            let (flags, lower) = (number16(&page, 10), usize::from(number16(&page, 12)));
            let count = lower.saturating_sub(HEADER) / 2;
            for index in 0..count.min((page.len() - HEADER) / 2) {
                let at = usize::from(number16(&page, HEADER + 2 * index));
                let node = page.get(at..at + NODE);
                let node = node.ok_or_else(|| self.fail(format!("a node of page {number}")))?;
                let low = u64::from(number16(node, 0)) | u64::from(number16(node, 2)) << 16;
                let (kind, key_size) = (number16(node, 4), usize::from(number16(node, 6)));
                if flags & BRANCH != 0 {
                    pages.push(low | u64::from(kind) << 32);
                } else if flags & LEAF != 0 {
                    let key = page.get(at + NODE..at + NODE + key_size);
                    let key = key.ok_or_else(|| self.fail(format!("a key of page {number}")))?;
                    if kind & NESTED != 0 {
                        named.push(Skipped {
                            name: text_of(key).unwrap_or_else(|| hex(key)),
                            reason: NAMED.to_owned(),
                        });
                        if named.len() as u64 > limits.members {
                            return Err(ImageError::too_many(self.path, limits));
                        }
                        continue;
                    }
                    let value = at + NODE + key_size;
                    let place = if kind & BIG != 0 {
                        let first = page.get(value..value + 8);
                        let first = first.ok_or_else(|| self.fail("a value's page"))?;
                        let first = u64::from_le_bytes(first.try_into().unwrap_or_default());
                        let start = first.checked_mul(self.page_size);
                        start.and_then(|start| start.checked_add(HEADER as u64))
                    } else {
                        Some(offset + value as u64)
                    };
                    let place = place.ok_or_else(|| self.fail("a value's place"))?;
                    // Values do not overlap: many keys could else name one large value.
                    values = values.saturating_add(low);
                    if values > self.length {
                        return Err(self.fail(format!(
                            "its values take more than the {} bytes of the file: some lie on the \
                             same bytes",
                            self.length
                        )));
                    }
                    members.push(self.member(key, place, low)?);
                    if members.len() as u64 > limits.members {
                        return Err(ImageError::too_many(self.path, limits));
                    }
                }
            }
        }
        if let ([], [first, ..]) = (&members[..], &named[..]) {
            return Err(self.fail(format!(
                "its values lie in databases with names, {} of them, the first `{}`: the one without \
                 a name is read, copy the images there",
                named.len(),
                first.name
            )));
        }
        Ok((members, named))
    }

    /// The root of the main database, of the newer of the two first pages.
    fn root(&mut self) -> Result<u64, ImageError> {
        // The page size stands on the first page itself; both pages hold their data in 152 bytes.
        let first = self.read(0, 152)?;
        if !is_lmdb(&first) {
            return Err(self.fail("no magic number"));
        }
        self.page_size = u64::from(number32(&first, HEADER + 24));
        if !self.page_size.is_power_of_two() || !(512..=65_536).contains(&self.page_size) {
            return Err(self.fail(format!("page size {}", self.page_size)));
        }
        let second = self.read(self.page_size, 152)?;
        // Address and size of the map, two records of databases, the last page, the transaction.
        let (root, transaction) = (HEADER + 24 + 48 + 40, HEADER + 24 + 96 + 8);
        let newer =
            if is_lmdb(&second) && number64(&second, transaction) > number64(&first, transaction) {
                second
            } else {
                first
            };
        Ok(number64(&newer, root))
    }

    fn member(&self, key: &[u8], offset: u64, size: u64) -> Result<Member, ImageError> {
        let head = self.read(offset, size.min(16))?;
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(self.fail(format!("truncated: a value of {size} bytes at {offset}")));
        }
        let name = match text_of(key) {
            Some(text) => safe_name(self.path, &text)?,
            None => hex(key),
        };
        let extension = sniffed_extension(&head);
        // A key may be the name of a file already.
        let name = if name.ends_with(&format!(".{extension}")) {
            name
        } else {
            format!("{name}.{extension}")
        };
        Ok(Member {
            name,
            size,
            place: Place::Stored {
                file: 0,
                offset,
                crc: None,
            },
        })
    }
}

/// A key that is text, without the zero that C's programs end it with.
fn text_of(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok()?.trim_end_matches('\0');
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a named database is left out.
const NAMED: &str = "a database with a name: only the one without is read";

fn number16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from(number16(bytes, at)) | u32::from(number16(bytes, at + 2)) << 16
}
fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from(number32(bytes, at)) | u64::from(number32(bytes, at + 4)) << 32
}
