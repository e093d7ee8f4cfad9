//! The sizes of a parquet file's pages, before the library believes them: it reserves and fills as
//! many bytes as a page's header says, and a page of zeros takes a thousandth of them in the file.
//! Of pages that are compressed with gzip, Brotli or LZ4's frames it keeps all that they expand to,
//! whatever their header says; these are expanded here once, and only counted.
//!
//! A page's header is a struct in Thrift's compact protocol; of its fields only the two sizes are
//! needed, and the length of the whole.

use parquet::{basic::Compression, file::metadata::ParquetMetaData};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
};

/// Most bytes of the header of a page.
const HEADER: usize = 64 << 10;
/// Bytes that a page may always expand to, and how many times its size in the file beyond. Writers
/// make pages of a megabyte.
const EXPANDED: u64 = 32 << 20;
const EXPANSION: u64 = 16;
/// Most bytes of a page.
const LARGEST: u64 = 256 << 20;
/// First bytes of a frame of LZ4.
const LZ4_FRAME: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
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
            let page = Page::at(file, at, end).and_then(|page| {
                page.measure(file, column.compression())?;
                Ok(page)
            });
            let page = page.map_err(|reason| format!("the page at {at}: {reason}"))?;
            at = page.end;
        }
    }
    Ok(())
}

/// What a page's header says of it.
#[derive(Debug, PartialEq)]
struct Page {
    /// Where its compressed bytes begin; levels of the second version lie before them as they are.
    start: u64,
    end: u64,
    /// Bytes that the compressed ones expand to.
    expanded: u64,
    compressed: bool,
}

impl Page {
    /// The page at `at`, in a column that ends at `end`.
    fn at(file: &File, at: u64, end: u64) -> Result<Self, String> {
        let mut bytes = vec![0; HEADER.min((end - at) as usize)];
        file.read_exact_at(&mut bytes, at)
            .map_err(|error| error.to_string())?;
        let mut reader = Compact {
            bytes: &bytes,
            at: 0,
        };
        let header = reader.header().ok_or("its header is damaged")?;
        let size = |size: Option<i64>| {
            let size = size.ok_or("its header has no size")?;
            u64::try_from(size).map_err(|_| format!("its size is {size}"))
        };
        let (expanded, stored) = (size(header.expanded)?, size(header.stored)?);
        let start = at + reader.at as u64;
        let next = start + stored;
        if next > end {
            return Err(format!("{stored} bytes end beyond their column"));
        }
        let most = EXPANDED.max(stored.saturating_mul(EXPANSION)).min(LARGEST);
        if expanded > most {
            return Err(format!(
                "{stored} bytes expand to {expanded}, expected at most {most}"
            ));
        }
        let levels = header
            .levels
            .iter()
            .try_fold(0u64, |sum, level| Some(sum + u64::try_from(*level).ok()?));
        let levels = levels.filter(|levels| *levels <= stored.min(expanded));
        let levels = levels.ok_or("its levels are larger than the page")?;
        Ok(Self {
            start: start + levels,
            end: next,
            expanded: expanded - levels,
            compressed: header.compressed,
        })
    }

    /// Expands the page where the library would do so without a bound.
    fn measure(&self, file: &File, compression: Compression) -> Result<(), String> {
        if !self.compressed {
            return Ok(());
        }
        let mut stored = BufReader::new(Stored {
            file,
            at: self.start,
            end: self.end,
        });
        let most = self.expanded;
        let mut expanded: Box<dyn Read + '_> = match compression {
            Compression::GZIP(_) => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
            Compression::BROTLI(_) => {
                let first = stored.fill_buf().map_err(|error| error.to_string())?;
                // The extension of the format that keeps up to a gigabyte of what it has read.
                if first.first().is_some_and(|byte| byte & 0x7f == 0x11) {
                    return Err("Brotli data of a large window, which is not read".to_owned());
                }
                Box::new(brotli::Decompressor::new(stored, 4096))
            }
            Compression::LZ4 => {
                let start = stored.fill_buf().map_err(|error| error.to_string())?;
                // The library expands it at once with the lengths that Hadoop writes before it, or
                // without; a frame goes on for as long as it likes.
                if !start.starts_with(&LZ4_FRAME) {
                    return Ok(());
                }
                Box::new(lz4_flex::frame::FrameDecoder::new(stored))
            }
            // The library reserves what the header says, and fills no more.
            _ => return Ok(()),
        };
        let count = std::io::copy(&mut expanded.by_ref().take(most + 1), &mut std::io::sink());
        match count {
            Ok(count) if count == most => Ok(()),
            Ok(count) => Err(format!(
                "it expands to {} than the {most} bytes that its header says",
                if count > most { "more" } else { "fewer" }
            )),
            Err(error) => Err(format!("compressed data: {error}")),
        }
    }
}

/// Bytes of a page, read from their position on.
struct Stored<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The fields of a page's header that are needed.
#[derive(Debug, Default, PartialEq)]
struct Header {
    expanded: Option<i64>,
    stored: Option<i64>,
    /// Bytes of the definition and repetition levels that are stored as they are.
    levels: [i64; 2],
    compressed: bool,
}

/// A reader of Thrift's compact protocol. `None` where the bytes end or are none.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    /// The struct of a page's header, to its end.
    fn header(&mut self) -> Option<Header> {
        let mut header = Header {
            compressed: true,
            ..Header::default()
        };
        let mut field = 0;
        loop {
            let (next, kind) = self.field(field)?;
            match (kind, next) {
                (0, _) => return Some(header),
                (5, 2) => header.expanded = Some(self.integer()?),
                (5, 3) => header.stored = Some(self.integer()?),
                (12, 8) => self.second_version(&mut header)?,
                _ => self.skip(kind, 0)?,
            }
            field = next;
        }
    }

    /// The part of the header that pages of the second version have.
    fn second_version(&mut self, header: &mut Header) -> Option<()> {
        let mut field = 0;
        loop {
            let (next, kind) = self.field(field)?;
            match (kind, next) {
                (0, _) => return Some(()),
                (5, 5 | 6) => header.levels[next as usize - 5] = self.integer()?,
                // A truth value lies in its type: 1 is true, 2 is false.
                (1 | 2, 7) => header.compressed = kind == 1,
                _ => self.skip(kind, 1)?,
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
        let page = Page::at(&file, 0, header.len() as u64 + 100)?;
        Ok(page.end - header.len() as u64)
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
            assert_eq!(Compact { bytes, at: 0 }.header(), None);
        }
    }
}
