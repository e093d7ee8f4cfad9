//! The sizes of a parquet file's pages, before the library believes them: it reserves and fills as
//! many bytes as a page's header says, and a page of zeros takes a thousandth of them in the file.
//!
//! A page's header is a struct in Thrift's compact protocol; of its fields only the two sizes are
//! needed, and the length of the whole.

use parquet::file::metadata::ParquetMetaData;
use std::{fs::File, os::unix::fs::FileExt};

/// Most bytes of the header of a page.
const HEADER: usize = 64 << 10;
/// Bytes that a page may always expand to, and how many times its size in the file beyond. Writers
/// make pages of a megabyte.
const EXPANDED: u64 = 32 << 20;
const EXPANSION: u64 = 16;
/// Most bytes of a page.
const LARGEST: u64 = 256 << 20;
/// Deepest nesting of structs in a header; the format has two.
const DEPTH: usize = 8;

/// Compares the sizes of all pages with the bytes that are there.
///
/// # Errors
/// What is wrong with the first page that does not fit.
pub(super) fn check(file: &File, metadata: &ParquetMetaData) -> Result<(), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    for column in metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
    {
        let start = column.data_page_offset();
        let start = column
            .dictionary_page_offset()
            .map_or(start, |first| first.min(start));
        let start = u64::try_from(start).map_err(|_| format!("a column at {start}"))?;
        let size = column.compressed_size();
        let end = u64::try_from(size)
            .ok()
            .and_then(|size| start.checked_add(size));
        let end = end.filter(|end| *end <= length);
        let end = end.ok_or_else(|| {
            format!("a column of {size} bytes at {start}, the file has {length} bytes")
        })?;
        let mut at = start;
        while at < end {
            at = page_end(file, at, end).map_err(|reason| format!("the page at {at}: {reason}"))?;
        }
    }
    Ok(())
}

/// Where the page at `at` ends.
fn page_end(file: &File, at: u64, end: u64) -> Result<u64, String> {
    let mut bytes = vec![0; HEADER.min((end - at) as usize)];
    file.read_exact_at(&mut bytes, at)
        .map_err(|error| error.to_string())?;
    let mut header = Compact {
        bytes: &bytes,
        at: 0,
    };
    let sizes = header.sizes().ok_or("its header is damaged")?;
    let size = |field: usize| {
        let size = sizes[field].ok_or("its header has no size")?;
        u64::try_from(size).map_err(|_| format!("its size is {size}"))
    };
    let (expanded, stored) = (size(0)?, size(1)?);
    let next = at + header.at as u64 + stored;
    if next > end {
        return Err(format!("{stored} bytes end beyond their column"));
    }
    let most = EXPANDED.max(stored.saturating_mul(EXPANSION)).min(LARGEST);
    if expanded > most {
        return Err(format!(
            "{stored} bytes expand to {expanded}, expected at most {most}"
        ));
    }
    Ok(next)
}

/// A reader of Thrift's compact protocol. `None` where the bytes end or are none.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    /// Fields 2 and 3 of the struct, and its end.
    fn sizes(&mut self) -> Option<[Option<i64>; 2]> {
        let (mut sizes, mut field) = ([None; 2], 0);
        loop {
            let (next, kind) = self.field(field)?;
            match (kind, next) {
                (0, _) => return Some(sizes),
                (5, 2 | 3) => sizes[next as usize - 2] = Some(self.integer()?),
                _ => self.skip(kind, 0)?,
            }
            field = next;
        }
    }

    /// Number and type of the next field; type 0 is the end of the struct.
    fn field(&mut self, before: i64) -> Option<(i64, u8)> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 15);
        let number = match (kind, step) {
            (0, _) => 0,
            (_, 0) => self.integer()?,
            _ => before.checked_add(step)?,
        };
        Some((number, kind))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        match kind {
            // A truth value lies in its type; a byte; integers; a float; text.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.integer().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.number()?;
                self.advance(usize::try_from(length).ok()?)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 {
                    self.number()?
                } else {
                    u64::from(byte >> 4)
                };
                for _ in 0..count {
                    // In a list truth values take a byte.
                    let kind = if matches!(byte & 15, 1 | 2) {
                        3
                    } else {
                        byte & 15
                    };
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            12 => {
                let mut field = 0;
                loop {
                    let (next, kind) = self.field(field)?;
                    if kind == 0 {
                        return Some(());
                    }
                    self.skip(kind, depth + 1)?;
                    field = next;
                }
            }
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn advance(&mut self, count: usize) -> Option<()> {
        self.at = self
            .at
            .checked_add(count)
            .filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Zigzag: the lowest bit is the sign.
    fn integer(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The end of a page with these two sizes, of 100 bytes in a file.
    fn end(expanded: i64, stored: i64) -> Result<u64, String> {
        let zigzag = |number: i64| {
            let mut rest = ((number << 1) ^ (number >> 63)) as u64;
            let mut bytes = Vec::new();
            while rest > 0x7f {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        // Type, both sizes, and a struct with a list of numbers and a text.
        let inner = [&[0x19, 0x25, 2, 4, 0x18, 1, b'x', 0][..]].concat();
        let header = [
            &[0x15, 0][..],
            &[0x15],
            &zigzag(expanded),
            &[0x15],
            &zigzag(stored),
            &[0x2c],
            &inner,
            &[0],
        ]
        .concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&header).unwrap();
        file.write_all(&[0; 100]).unwrap();
        page_end(&file, 0, header.len() as u64 + 100).map(|end| end - header.len() as u64)
    }

    #[test]
    fn sizes_are_compared_with_what_is_there() {
        assert_eq!(end(100, 100), Ok(100));
        assert_eq!(end(30 << 20, 90), Ok(90));
        for (expanded, stored, expected) in [
            (2_000_000_000, 100, "100 bytes expand to 2000000000"),
            (1, 101, "101 bytes end beyond their column"),
            (-1, 1, "its size is -1"),
        ] {
            let error = end(expanded, stored).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_header_without_an_end_is_damaged() {
        for bytes in [
            &[][..],
            &[0x1c; 1000],
            &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0xff],
        ] {
            assert_eq!(Compact { bytes, at: 0 }.sizes(), None);
        }
    }
}
