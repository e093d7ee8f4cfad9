//! The embedded object store: the part of the S3 API that C-EDM needs, over a folder, for one
//! machine and for tests.
//!
//! An object is one file, published by one system call: a hard link for a create-only put (of any
//! number of concurrent writers the kernel lets exactly one succeed), a rename for an overwriting
//! put. A process killed during a put leaves a file in `partial/`, never a partial object. Objects
//! have no metadata.
//!
//! Clients are the identities of a [`Policy`], each with a key pair and rules of verbs and key
//! prefixes.
//!
//! Reads and writes: the folder given to [`Folder::open`]. Not supported: versioning, replication.

#![forbid(unsafe_code)]

mod access;
mod failure;
mod folder;
mod listing;
mod multipart;
mod object_file;
mod policy;
mod s3;
mod server;

pub use failure::STORE_FULL;
pub use folder::Folder;
pub use policy::{Identity, Keys, Policy, Rule, Verb};
pub use server::serve;
