//! Tensor files: the one place where safetensors files are opened, checked and written.
//!
//! What it is: [`TensorFile`] reads the header of a file, checks it whole, and then hands out
//! single tensors as bytes or plain numbers, reading nothing that nobody asked for; [`write()`]
//! writes tensors with string metadata, atomically and with the same bytes for the same content.
//!
//! What it is not: it knows no libtorch, so that images, reports and the command line can use it.
//! Tensors of libtorch are converted in `cedm_torch::tensor_files`. PyTorch's own files are read
//! in `cedm_nets::Weights`.
//!
//! Headers and numbers of npy files are read here too ([`NpyHeader`]), and written
//! ([`write_npy`]), since people have their features, labels and ids in them.
//!
//! Reads and writes: safetensors, format version of the `safetensors` crate: an 8-byte length, a
//! JSON header, the data of all tensors without gaps, little-endian, row-major.

#![forbid(unsafe_code)]

mod element;
mod error;
mod file;
mod header;
mod memory;
mod npy;
mod open;
mod write;

pub use element::Element;
pub use error::TensorFileError;
pub use file::{Entry, TensorFile};
pub use memory::check_memory;
pub use npy::{NPY_MAGIC, NpyHeader, NpyType, write_npy};
pub use open::open_file;
pub use safetensors::{Dtype, View};
pub use write::{Data, encode, write};
