//! Writing of npy files.

use super::NPY_MAGIC;
use crate::Element;
use cedm_atomic_file::AtomicFile;
use std::{
    io::{self, Error, ErrorKind, Write},
    path::Path,
};

/// The numbers of a file begin at a multiple of this, as NumPy has it, so that they can be mapped.
const ALIGNMENT: usize = 64;

/// Writes an array in row-major order as an npy file, which appears when it is complete.
///
/// # Errors
/// When the file cannot be written, or `values` does not fill `shape`.
pub fn write_npy<T: Element>(path: &Path, shape: &[usize], values: &[T]) -> io::Result<()> {
    if shape.iter().product::<usize>() != values.len() {
        let reason = format!("{} numbers do not fill the shape {shape:?}", values.len());
        return Err(Error::new(ErrorKind::InvalidInput, reason));
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(&header(T::NPY_DESCR, shape))?;
    file.write_all(&T::to_bytes(values))?;
    file.commit()
}

/// Magic, version 1.0, length of the text, and the text itself: a dictionary of Python.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    // A tuple of one has a comma in Python, and others may have one at their end.
    let sides = sides.trim_end();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}");
    let before = NPY_MAGIC.len() + 4;
    while !(before + text.len() + 1).is_multiple_of(ALIGNMENT) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = NPY_MAGIC.to_vec();
    bytes.extend([1, 0]);
    let length = u16::try_from(text.len()).expect("invariant: a header is short");
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NpyHeader;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for (shape, count) in [(&[][..], 1), (&[5], 5), (&[2, 3], 6), (&[0, 4], 0)] {
            let values: Vec<i32> = (0..count).map(|value| value - 2).collect();
            write_npy(&path, shape, &values).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let header = NpyHeader::read(&mut &bytes[..], bytes.len() as u64).unwrap();
            assert_eq!((header.shape.as_slice(), header.offset % 64), (shape, 0));
            let read = header.integers(&bytes).unwrap();
            assert_eq!(read, values.iter().map(|&v| v.into()).collect::<Vec<i64>>());
        }
        assert!(write_npy(&path, &[2, 2], &[1u8; 3]).is_err());
        write_npy(&path, &[2], &[0.5f32, -1.0]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let header = NpyHeader::read(&mut &bytes[..], bytes.len() as u64).unwrap();
        assert_eq!(header.floats(&bytes).unwrap(), [0.5, -1.0]);
    }
}
