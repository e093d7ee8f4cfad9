//! The desk of one job: its inputs fetched and verified, a place for its outputs, a line to the outside. Synchronous: it
//! is used on the compute thread and hands I/O to the async side.

use crate::{JobError, Monitor};
use cedm_contract::{Job, Manifest, ObjectRef};
use std::path::{Path, PathBuf};

/// Whether an output is the same in every run of the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// The same bytes in every run; part of the manifest's digest.
    Stable,
    /// Timings and the like.
    Volatile,
}

/// One job's desk.
pub struct Desk {}

impl Desk {
    /// The job.
    pub fn job(&self) -> &Job {
        unimplemented!()
    }
    /// The manifest of the input with this role, read and checked against the digest that the job pins.
    ///
    /// # Errors
    /// `Reject` when the job has no such input.
    pub fn input(&self, _role: &str) -> Result<&Manifest, JobError> {
        unimplemented!()
    }
    /// The same for an input that may be absent.
    pub fn optional(&self, _role: &str) -> Option<&Manifest> {
        unimplemented!()
    }
    /// Every input whose role starts with `prefix`, in the job's order.
    pub fn inputs<'a>(&'a self, _prefix: &'a str) -> Vec<(&'a str, &'a Manifest)> {
        unimplemented!()
    }
    /// A local file with the object's bytes, size and digest verified; kept in a bounded node-local cache.
    ///
    /// # Errors
    /// `Retry` when the store fails or the bytes do not verify.
    pub fn fetch(&self, _object: &ObjectRef) -> Result<PathBuf, JobError> {
        unimplemented!()
    }
    /// The named output of an input manifest as a local file.
    ///
    /// # Errors
    /// `Reject` when the manifest has no such output; else as [`Desk::fetch`].
    pub fn fetch_output(&self, _manifest: &Manifest, _name: &str) -> Result<PathBuf, JobError> {
        unimplemented!()
    }
    /// A folder of this attempt, removed afterwards.
    pub fn scratch(&self) -> &Path {
        unimplemented!()
    }
    /// Uploads a file as an output of this attempt.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub fn put(&self, _name: &str, _file: &Path, _stability: Stability) -> Result<ObjectRef, JobError> {
        unimplemented!()
    }
    /// Uploads bytes as an output of this attempt.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub fn put_bytes(&self, _name: &str, _bytes: &[u8], _stability: Stability) -> Result<ObjectRef, JobError> {
        unimplemented!()
    }
}

impl Monitor for Desk {
    fn progress(&self, _: u64, _: u64, _: &'static str) {}
    fn gauge(&self, _: &'static str, _: f64) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn stopping(&self) -> bool {
        false
    }
    fn checkpoint_due(&self) -> bool {
        false
    }
    fn checkpoint(&self, _: u64, _: &Path) -> Result<(), JobError> {
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        Ok(None)
    }
}
