//! Readers over the bytes of members.

use super::zipped;
use std::{fs::File, io::Read, os::unix::fs::FileExt};

/// Reads a file from a position on, without the cursor that all threads share.
pub struct Positioned<'a> {
    pub file: &'a File,
    pub offset: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Bytes whose checksum is compared at their end.
pub struct Checked<R> {
    bytes: R,
    sum: flate2::Crc,
    expected: u32,
}

impl<R: Read> Checked<R> {
    /// Expects `expected` of `bytes`.
    pub fn new(bytes: R, expected: u32) -> Self {
        Self {
            bytes,
            sum: flate2::Crc::new(),
            expected,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.sum.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && self.sum.sum() != self.expected {
            return Err(std::io::Error::other(zipped::WRONG_CHECKSUM));
        }
        Ok(count)
    }
}
