//! The object store: a small object-safe trait, its implementation over S3, and one in memory for
//! tests.

mod advice;
mod answer;
mod cache;
mod identity;
mod input_path;
mod leased;
mod metered;
mod multipart;
mod probe;
mod ram;
mod reader;
mod s3;
mod settings;
mod tls;
mod uri;
mod verified;

pub use cache::Cache;
pub(crate) use identity::{ensure_identity, identity};
pub use input_path::InputPath;
pub(crate) use leased::Leased;
pub(crate) use metered::Metered;
pub use probe::probe_create_only;
pub(crate) use probe::probe_write;
pub use ram::{InjectedFault, RamStore};
pub use s3::S3Store;
pub use settings::S3Settings;
pub use uri::ObjectUri;
pub use verified::get_verified;

use crate::error::Cause;
use bytes::Bytes;
use cedm_contract::Digest;
use cedm_fault::{Fault, HasFault};
use std::{error::Error, ops::Range, path::Path};

/// What went wrong with one request to the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("store: {op} `{key}`")]
pub struct StoreError {
    /// Which operation: `get`, `put`, …
    pub op: &'static str,
    /// Key of the object.
    pub key: String,
    /// Whether trying again can help.
    pub kind: StoreErrorKind,
    /// The error of the client library or file system.
    pub source: Cause,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store did not answer, or answered with a server error.
    Unavailable,
    /// The store has no room left.
    Full,
    /// The credentials do not allow it, or the store cannot do it at all.
    Denied,
    /// Address, region, bucket, keys or certificates are wrong, or the clock is: no request
    /// succeeds until somebody mends that.
    Misconfigured,
    /// The object does not exist, though it should.
    Missing,
    /// The object exists, but its bytes are not those that it should have.
    Damaged,
    /// The local side failed: a full disk, an unreadable file.
    Local,
}

/// How a create-only put ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was this put.
    Yes,
    /// The object exists; it may even be ours, from a try whose answer was lost.
    Exists,
    /// Another put of the same key was in flight (409): ask again.
    Conflict,
    /// No answer: the put may have happened or not; the caller has to read the object back.
    Unknown(String),
}

/// An object as LIST and HEAD see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key of the object.
    pub key: String,
    /// Size of the object in bytes.
    pub size: u64,
    /// Unix milliseconds of its last change; 0 when the store does not say.
    pub modified_ms: u64,
}

/// The content of an object to be stored.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Bytes that are in memory already.
    Bytes(Bytes),
    /// From a file that does not change meanwhile.
    File(&'a Path),
}

/// An object store: one bucket of objects by key.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The whole object, `None` when there is none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;
    /// Some bytes of an object, `None` when there is none.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError>;
    /// Writes the object to a new file; its size and digest, `None` when there is none.
    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError>;
    /// Its size, `None` when there is none.
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Puts an object, in place of any other.
    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError>;
    /// Puts an object that must not exist (`If-None-Match: *`). An error means that it surely did
    /// not happen.
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError>;
    /// Removes an object; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Everything below a prefix in byte order. For rebuilding and cleaning, never for correctness.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;
}

/// Whatever a store fails at, a job that needs it may succeed later.
impl HasFault for StoreError {
    fn fault(&self) -> Fault {
        Fault::Unavailable
    }
}

impl StoreError {
    pub(crate) fn new(
        op: &'static str,
        key: &str,
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            op,
            key: key.to_owned(),
            kind,
            source: Cause::new(source),
        }
    }

    pub(crate) fn local(op: &'static str, key: &str, error: std::io::Error) -> Self {
        Self::new(op, key, StoreErrorKind::Local, error)
    }
}

/// Size and digest of a local file.
pub(crate) fn measure_file(path: &Path) -> std::io::Result<(u64, Digest)> {
    std::fs::File::open(path).and_then(Digest::of_reader)
}
