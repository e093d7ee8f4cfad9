//! Image data sets: files of many formats in, immutable shards of uint8 images out. No tensors.
//!
//! [`import`] reads folders, zip and tar archives of images, EDM archives, WebDataset shards, CIFAR
//! and MNIST files, numpy arrays, parquet tables and LMDB databases, and writes a folder of
//! safetensors shards with an [`ImageSet`](cedm_contract::kinds::import::ImageSet) over them.
//! [`read_shard`] reads one shard back. [`export_edm_archive`] writes a set as an archive that the
//! EDM tools read, [`export_npz`] and [`export_folder`] write what evaluation suites read.
//! [`pillow`] resizes exactly as Pillow does, [`framing`] crops as torchvision and the EDM tool do.
//! [`pickle`] reads Python pickles as data and never executes anything in them. Sources are not
//! trusted: [`Limits`] bounds what they may expand to.
//!
//! Modules in the order of an import: `options`, `limits`, `budget`, `container` (folders and
//! archives), `source` (formats), `pickle`, `decode` (files to pixels), `picture`, `framing` and
//! `pillow` (cropping and resizing), `shard` (what is written), `journal` (continuing after an
//! interruption), `import` (all of it together); then `export`, and `error`.

#![forbid(unsafe_code)]

mod budget;
mod container;
mod decode;
mod error;
mod export;
pub mod framing;
mod guard;
mod import;
mod journal;
mod limits;
mod options;
pub mod pickle;
mod picture;
pub mod pillow;
mod shard;
mod source;

pub use container::{GZIP, open_zip};
pub use decode::decode;
pub use error::ImageError;
pub use export::{export_edm_archive, export_folder, export_npz};
pub use import::{IMPORT_RECORD, Imported, Progress, Skipped, Summary, import};
pub use limits::Limits;
pub use options::{
    ArrayLayout, Channels, Framing, ImportOptions, ReadAs, SourceArgs, Split, Values,
};
pub use picture::Picture;
pub use shard::{Shard, file_digest, image_digest, read_shard};
pub use source::VECTORS_TENSOR;
