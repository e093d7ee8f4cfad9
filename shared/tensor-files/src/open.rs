//! Opening a file of a stranger: one that can be read to its end, and is not made of holes.

use nix::{
    errno::Errno,
    unistd::{Whence, lseek},
};
use std::{
    fs::File,
    io::{self, Seek},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Bytes of holes that any file may have.
const HOLES: u64 = 128 << 20;
/// More holes than that are refused where they are this many times what is stored.
const TIMES_STORED: u64 = 16;
/// Bytes of a block, in which systems count what a file takes on disk.
const BLOCK: u64 = 512;

/// Opens a file to read it. A named pipe would wait for a writer for ever, and a device has no end.
/// A file of holes takes no room on disk and may have any length: whoever reads an array of
/// gigabytes that are nowhere stored fills the memory, or writes them out.
///
/// # Errors
/// When it cannot be opened, is neither a file nor a link to one, or is made of holes.
pub fn open_file(path: &Path) -> io::Result<File> {
    let refused = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !path.metadata()?.is_file() {
        let reason = "a folder, a named pipe, a socket or a device, expected a file";
        return refused(reason.to_owned());
    }
    let file = File::open(path)?;
    match stored_of_holes(&file)? {
        None => Ok(file),
        Some(stored) => refused(format!(
            "{} bytes, of which {stored} are stored and the others are holes: was it copied to its \
             end?",
            file.metadata()?.len()
        )),
    }
}

/// The bytes that a file stores, where it is made of holes; `None` for every other file. The
/// position stays at the start.
fn stored_of_holes(mut file: &File) -> io::Result<Option<u64>> {
    let about = file.metadata()?;
    let length = about.len();
    let is_hollow = |stored: u64| length.saturating_sub(stored) > HOLES.max(TIMES_STORED * stored);
    // Compressed and distant file systems count otherwise: a small number is a reason to ask.
    if !is_hollow(about.blocks().saturating_mul(BLOCK)) {
        return Ok(None);
    }
    let (mut stored, mut at) = (0, 0);
    while is_hollow(stored) {
        let from = match lseek(file, at, Whence::SeekData) {
            Ok(from) => from,
            // Nothing but a hole from here on.
            Err(Errno::ENXIO) => {
                file.rewind()?;
                return Ok(Some(stored));
            }
            // This file system does not tell where holes are.
            Err(_) => break,
        };
        let Ok(to) = lseek(file, from, Whence::SeekHole) else {
            break;
        };
        stored += (to - from).unsigned_abs();
        at = to;
    }
    file.rewind()?;
    Ok(None)
}
