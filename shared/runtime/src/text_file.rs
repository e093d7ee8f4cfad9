//! Small files that a user writes: sweeps and tables.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The text of a file, of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is larger, a device without an end among them, or is not UTF-8.
pub fn read_text_file(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    if bytes.len() as u64 > limit {
        return Err(invalid(format!("it has more than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| invalid(format!("it is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::read_text_file;
    use std::path::Path;

    #[test]
    fn what_is_too_large_or_without_an_end_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.toml");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text_file(&path, 5).unwrap(), "12345");
        for (path, limit, expected) in [
            (path.as_path(), 4, "more than 4 bytes"),
            (Path::new("/dev/zero"), 1 << 20, "more than 1048576 bytes"),
        ] {
            let error = read_text_file(path, limit).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&path, b"\xff\xfe").unwrap();
        let error = read_text_file(&path, 5).unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }
}
