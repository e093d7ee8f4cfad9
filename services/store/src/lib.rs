//! The embedded object store: the part of the S3 API that C-EDM needs, over a folder, for one
//! machine and for tests.
//!
//! An object is one file, published by one system call: a hard link for a create-only put (of any
//! number of concurrent writers the kernel lets exactly one succeed), a rename for an overwriting
//! put. A process killed during a put leaves a file in `partial/`, never a partial object. Objects
//! have no metadata.
//!
//! Reads and writes: the folder given to [`Folder::open`]. Not supported: versioning, access control
//! beyond one key pair, replication.

#![forbid(unsafe_code)]

mod folder;
mod listing;
mod multipart;
mod object_file;
mod s3;
mod server;

pub use folder::Folder;
pub use server::{Keys, serve};
