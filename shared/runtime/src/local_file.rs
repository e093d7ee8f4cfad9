//! Files that a user names, opened so that no name can make a program wait or read for ever.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// Opens a regular file for reading, through symbolic links.
///
/// # Errors
/// When it cannot be opened, or is a folder, a pipe, a socket or a device: the message says which.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a pipe waits for a writer, unless it is told not to; opening a regular file never
    // does.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    let found = match kind {
        _ if kind.is_file() => return Ok(file),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let reason = format!("it is {found}: expected a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// The bytes of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open_regular`]; also when the file is larger, which is found without reading it.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let too_large = |size: String| {
        let reason = format!("it has {size} bytes: expected at most {most}");
        io::Error::new(io::ErrorKind::FileTooLarge, reason)
    };
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(too_large(size.to_string()));
    }
    // It may grow meanwhile, and files of /proc say that they are empty.
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(format!("more than {most}")));
    }
    Ok(bytes)
}

/// The text of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`read_regular`], or when it is not UTF-8.
pub fn read_text_file(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_regular(path, most)?).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is not UTF-8: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_are_read_and_no_more_than_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "12345").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read_regular(&at("file"), 5).unwrap(), b"12345");
        assert_eq!(read_regular(&at("link"), 5).unwrap(), b"12345");

        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        // 8 TiB that take no disk: read, they would fill the memory.
        let sparse = File::create(at("sparse")).unwrap();
        sparse.set_len(8 << 40).unwrap();
        for (name, says) in [
            ("file", "it has 5 bytes: expected at most 4"),
            ("sparse", "it has 8796093022208 bytes: expected at most 4"),
            ("pipe", "it is a pipe"),
            (".", "it is a folder"),
            ("/dev/zero", "it is a device"),
            ("/proc/self/maps", "it has more than 4 bytes"),
            ("missing", "No such file"),
        ] {
            let error = read_regular(&at(name), 4).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
        assert!(read_regular(&at("socket"), 4).is_err());
    }
}
