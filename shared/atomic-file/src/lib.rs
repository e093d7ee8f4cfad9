//! Files that are complete when they exist: written beside their place, synced, then renamed.
//!
//! A reader sees the old file or the new one, never a part, and after a power loss no empty one. It
//! holds no format and knows no job; folders that are moved as a whole are their owners' affair.

#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io::{self, BufWriter, Error, ErrorKind, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;
/// Rights of a new file, of which the process's umask takes its part.
const MODE: u32 = 0o666;
/// Rights of a file that its owner alone may read.
const PRIVATE_MODE: u32 = 0o600;

/// A file that appears at its path when [`AtomicFile::commit`] is called, in place of an older one
/// there. Dropped before that, it leaves nothing; a process that is killed leaves a hidden file
/// `.<name>.….partial` beside the path.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// A new, empty file that is to stand at `path`.
    ///
    /// # Errors
    /// When `path` names no file, or none can be created in its folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_mode(path, MODE)
    }

    fn with_mode(path: &Path, mode: u32) -> io::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no file name"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".");
        let file = tempfile::Builder::new()
            .prefix(&hidden)
            .suffix(".partial")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER, file),
            path: path.to_owned(),
        })
    }

    /// Puts the file in its place once its bytes are on the disk.
    ///
    /// # Errors
    /// When the bytes cannot be written or the file cannot be renamed; `path` is then as it was.
    pub fn commit(self) -> io::Result<()> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        // The new name is an entry of the folder, which has bytes of its own.
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes `bytes` to an [`AtomicFile`] at `path`.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(path, bytes, MODE)
}

/// As [`write()`], to a file that its owner alone may read, whoever may read the one there now.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(path, bytes, PRIVATE_MODE)
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = AtomicFile::with_mode(path, mode)?;
    file.write_all(bytes)?;
    file.commit()
}

/// The folder that a file lies in; the working folder for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_whole_and_replaces_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new and longer").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new and longer");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_the_older_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn others_may_read_it_as_they_may_read_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, plain) = (folder.path().join("a"), folder.path().join("b"));
        write(&path, b"").unwrap();
        File::create(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
        write_private(&path, b"").unwrap();
        assert_eq!(mode(&path) & 0o777, 0o600);
    }

    #[test]
    fn a_path_without_a_name_or_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(Path::new("/"), b"").is_err());
        assert!(write(&folder.path().join("absent/a"), b"").is_err());
        fs::create_dir(folder.path().join("a")).unwrap();
        assert!(write(&folder.path().join("a"), b"").is_err());
        assert_eq!(names(folder.path()), ["a"]);
    }
}
