//! The embedded store: the part of S3 that C-EDM needs, over a folder, for one machine and for
//! tests.
//!
//! An object is one file, made visible by one system call: a hard link for a create-only put (of
//! any number of racing writers the kernel lets exactly one win), a rename for an overwriting one.
//! A process killed in the middle of a put leaves a file in `partial/`, never a half-written
//! object. Objects carry no metadata.

#![forbid(unsafe_code)]

mod folder;
mod listing;
mod multipart;
mod s3;
mod server;

pub use folder::Folder;
pub use server::{Keys, serve};
