//! Reading: the header once, then the tensors that are asked for.

use crate::{
    Element, TensorFileError,
    header::{Header, LENGTH_BYTES},
    memory::check_memory,
    open::open_file,
};
use safetensors::Dtype;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// An open safetensors file, or its bytes in memory. The header has been checked as a whole.
#[derive(Debug)]
pub struct TensorFile<'b> {
    origin: PathBuf,
    source: Source<'b>,
    header: Header,
}

#[derive(Debug)]
enum Source<'b> {
    File(File),
    Bytes(&'b [u8]),
}

/// What a file says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'f> {
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Its sides, outermost first.
    pub shape: &'f [usize],
    /// First byte of its data, counted from the first tensor's.
    start: u64,
    bytes: usize,
}

impl Entry<'_> {
    /// Type and shape for people: `F32 [2, 3]`.
    pub fn describe(&self) -> String {
        format!("{:?} {:?}", self.dtype, self.shape)
    }
}

impl TensorFile<'static> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`TensorFileError::Io`] when it cannot be read, [`TensorFileError::Format`] when it is
    /// no safetensors file, truncated or damaged.
    pub fn open(path: &Path) -> Result<Self, TensorFileError> {
        let io = |source| TensorFileError::Io {
            action: "read",
            file: path.to_owned(),
            source,
        };
        let format = |reason| TensorFileError::Format {
            file: path.to_owned(),
            reason,
        };
        let mut file = open_file(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut first = Vec::new();
        file.by_ref()
            .take(LENGTH_BYTES)
            .read_to_end(&mut first)
            .map_err(io)?;
        let mut json = vec![0; Header::length(&first, file_bytes).map_err(format)? as usize];
        file.read_exact(&mut json).map_err(io)?;
        Ok(Self {
            header: Header::parse(&json, file_bytes).map_err(format)?,
            origin: path.to_owned(),
            source: Source::File(file),
        })
    }
}

impl<'b> TensorFile<'b> {
    /// Reads the header of a file that lies in memory; `origin` is what errors call it.
    ///
    /// # Errors
    /// [`TensorFileError::Format`] when these are not the bytes of a safetensors file.
    pub fn from_bytes(
        origin: impl Into<PathBuf>,
        bytes: &'b [u8],
    ) -> Result<Self, TensorFileError> {
        let origin = origin.into();
        let file_bytes = bytes.len() as u64;
        let header = Header::length(bytes, file_bytes).and_then(|length| {
            let json = &bytes[LENGTH_BYTES as usize..(LENGTH_BYTES + length) as usize];
            Header::parse(json, file_bytes)
        });
        match header {
            Ok(header) => Ok(Self {
                origin,
                source: Source::Bytes(bytes),
                header,
            }),
            Err(reason) => Err(TensorFileError::Format {
                file: origin,
                reason,
            }),
        }
    }

    /// The path, or the name given to bytes.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// Names of all tensors in byte order.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.header.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// The string metadata by key.
    pub fn notes(&self) -> BTreeMap<&str, &str> {
        self.header.notes()
    }

    /// Type and shape of a tensor; `None` where there is none of this name.
    pub fn entry(&self, name: &str) -> Option<Entry<'_>> {
        let info = self.header.metadata.info(name)?;
        Some(Entry {
            dtype: info.dtype,
            shape: &info.shape,
            start: info.data_offsets.0 as u64,
            bytes: info.data_offsets.1 - info.data_offsets.0,
        })
    }

    /// Whether it holds a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Type and shape of a tensor that must be there.
    ///
    /// # Errors
    /// [`TensorFileError::Missing`] with the names that are there.
    pub fn require(&self, name: &str) -> Result<Entry<'_>, TensorFileError> {
        self.entry(name).ok_or_else(|| TensorFileError::Missing {
            file: self.origin.clone(),
            name: name.to_owned(),
            found: self.names(),
        })
    }

    /// The name to read where the caller gave none: the only tensor's, else `usual`.
    pub fn only_or(&self, usual: &str) -> String {
        let mut names = self.names();
        if names.len() == 1 {
            names.remove(0)
        } else {
            usual.to_owned()
        }
    }

    /// The error for a tensor that is there, but not what was expected.
    pub fn unexpected(&self, name: &str, expected: impl Into<String>) -> TensorFileError {
        TensorFileError::Unexpected {
            file: self.origin.clone(),
            name: name.to_owned(),
            found: self
                .entry(name)
                .map_or_else(|| "missing".to_owned(), |entry| entry.describe()),
            expected: expected.into(),
        }
    }

    /// The little-endian bytes of a tensor, row-major.
    ///
    /// # Errors
    /// [`TensorFileError::Missing`], or [`TensorFileError::Io`] when the file cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Cow<'b, [u8]>, TensorFileError> {
        let entry = self.require(name)?;
        match self.source {
            Source::Bytes(all) => {
                let start = (self.header.data_start + entry.start) as usize;
                Ok(Cow::Borrowed(&all[start..start + entry.bytes]))
            }
            Source::File(_) => {
                // No larger than the file: the header was held against its size. That may be holes.
                check_memory(entry.bytes as u64).map_err(|reason| TensorFileError::Io {
                    action: "read",
                    file: self.origin.clone(),
                    source: io::Error::new(
                        io::ErrorKind::OutOfMemory,
                        format!("tensor `{name}`: {reason}"),
                    ),
                })?;
                let mut bytes = vec![0; entry.bytes];
                self.read_at(name, 0, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// The numbers of a tensor, row-major.
    ///
    /// # Errors
    /// As [`TensorFile::bytes`]; [`TensorFileError::Unexpected`] when they are of another type.
    pub fn values<T: Element>(&self, name: &str) -> Result<Vec<T>, TensorFileError> {
        if self.require(name)?.dtype != T::DTYPE {
            return Err(self.unexpected(name, format!("{:?}", T::DTYPE)));
        }
        Ok(T::from_bytes(&self.bytes(name)?))
    }

    /// The same; `None` where there is no tensor of this name.
    ///
    /// # Errors
    /// As [`TensorFile::values`].
    pub fn optional<T: Element>(&self, name: &str) -> Result<Option<Vec<T>>, TensorFileError> {
        self.has(name).then(|| self.values(name)).transpose()
    }

    /// Fills `out` with a tensor's bytes from `offset` on: a few rows of a matrix that need not
    /// fit in memory.
    ///
    /// # Errors
    /// As [`TensorFile::bytes`]; [`TensorFileError::Unexpected`] when the tensor ends before.
    pub fn read_at(&self, name: &str, offset: u64, out: &mut [u8]) -> Result<(), TensorFileError> {
        let entry = self.require(name)?;
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > entry.bytes as u64) {
            let expected = format!("bytes {offset} to {offset} + {}", out.len());
            return Err(self.unexpected(name, expected));
        }
        let start = self.header.data_start + entry.start + offset;
        match &self.source {
            Source::Bytes(all) => out.copy_from_slice(&all[start as usize..][..out.len()]),
            Source::File(file) => {
                file.read_exact_at(out, start)
                    .map_err(|source| TensorFileError::Io {
                        action: "read",
                        file: self.origin.clone(),
                        source: cut_short(source, name),
                    })?;
            }
        }
        Ok(())
    }
}

/// The header was held against the size of the file: one that ends now was cut since then.
fn cut_short(error: io::Error, name: &str) -> io::Error {
    if error.kind() != io::ErrorKind::UnexpectedEof {
        return error;
    }
    let reason = format!("tensor `{name}` ends early: the file was cut while it was read");
    io::Error::new(io::ErrorKind::UnexpectedEof, reason)
}
