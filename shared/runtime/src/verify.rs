//! Whether what a manifest names is really in the store.
//!
//! A job counts as done only if its manifest can be read, is that of its key, and all its objects
//! exist with the size (and, where asked, the digest) that it states. Anything else is quarantined
//! ([`Verifier::quarantine`]) and computed again: at-least-once delivery makes that safe.

mod quarantine;

pub use quarantine::Quarantine;
pub(crate) use quarantine::SECOND_LOOK;

use crate::{
    error::chain,
    store::{Store, StoreError, StoreErrorKind},
    undecodable::{Place, undecodable},
};
use cedm_contract::{ContractError, Digest, JobKey, Manifest, ObjectRef, manifest_key};
use cedm_fault::{Fault, HasFault};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Objects are read in pieces of this size for their digest.
const PIECE_BYTES: u64 = 8 << 20;

/// The state of the manifest of a key and of the objects it names.
#[derive(Debug)]
pub enum StoredResult {
    /// No manifest is stored.
    Nothing,
    /// A manifest whose objects verify.
    Sound(Box<Manifest>),
    /// A manifest that cannot be used, and why.
    Broken(String),
}

/// Looks up and verifies manifests; digests once proven in this process are not read again, sizes
/// are asked for every time.
#[derive(Clone)]
pub struct Verifier {
    store: Arc<dyn Store>,
    proven: Arc<Mutex<HashSet<ObjectRef>>>,
}

/// Every object that a manifest relies on: its outputs, and the shards that its result names.
pub fn objects_of(manifest: &Manifest) -> Vec<&ObjectRef> {
    let mut objects: Vec<&ObjectRef> = manifest
        .outputs
        .iter()
        .map(|output| &output.object)
        .collect();
    objects.extend(manifest.result.shards().iter().map(|shard| &shard.object));
    objects.sort_by(|a, b| a.object.cmp(&b.object));
    objects.dedup();
    objects
}

impl Verifier {
    /// A verifier of the manifests and objects of one store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            proven: Arc::default(),
        }
    }

    /// The manifest of a key, with the size of every object checked; with `digests`, their bytes
    /// too.
    ///
    /// # Errors
    /// When the store fails. A manifest with a newer schema version is an error too: this
    /// program cannot tell whether it is valid.
    pub async fn look_up(&self, key: &JobKey, digests: bool) -> Result<StoredResult, LookUpError> {
        let bytes = match self.store.get(&manifest_key(key)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(StoredResult::Nothing),
            // It is too large to be one.
            Err(error) if error.kind == StoreErrorKind::Damaged => {
                return Ok(unreadable(key, chain(&error)));
            }
            Err(error) => return Err(error.into()),
        };
        let manifest = match Manifest::decode(&bytes) {
            Ok(manifest) => manifest,
            Err(error @ ContractError::NewerSchema { .. }) => {
                undecodable(Place::Manifests, &manifest_key(key), &error.to_string());
                return Err(LookUpError::Newer(error));
            }
            Err(error) => return Ok(unreadable(key, error.to_string())),
        };
        if manifest.key != *key {
            return Ok(unreadable(
                key,
                format!("the manifest is that of {}", manifest.key),
            ));
        }
        for object in objects_of(&manifest) {
            if let Some(reason) = self.flaw(object, digests).await? {
                return Ok(StoredResult::Broken(reason));
            }
        }
        Ok(StoredResult::Sound(Box::new(manifest)))
    }

    /// What is wrong with an object, if anything.
    async fn flaw(&self, object: &ObjectRef, digests: bool) -> Result<Option<String>, StoreError> {
        match self.store.size(&object.object).await? {
            None => return Ok(Some(format!("object `{}` is missing", object.object))),
            Some(size) if size != object.size => {
                return Ok(Some(format!(
                    "object `{}` has {size} bytes, {} expected",
                    object.object, object.size
                )));
            }
            Some(_) => {}
        }
        let is_proven = || {
            self.proven
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(object)
        };
        if !digests || is_proven() {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < object.size {
            let piece = self
                .store
                .get_range(&object.object, at..object.size.min(at + PIECE_BYTES))
                .await?;
            let Some(piece) = piece.filter(|piece| !piece.is_empty()) else {
                return Ok(Some(format!(
                    "object `{}` ends at byte {at}",
                    object.object
                )));
            };
            at += piece.len() as u64;
            hasher.update(&piece);
        }
        let digest = Digest::finish(&hasher);
        if digest != object.digest {
            return Ok(Some(format!(
                "object `{}` has digest {digest}, {} expected",
                object.object, object.digest
            )));
        }
        self.proven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(object.clone());
        Ok(None)
    }
}

/// A manifest that cannot be read, which is counted.
fn unreadable(key: &JobKey, reason: String) -> StoredResult {
    undecodable(Place::Manifests, &manifest_key(key), &reason);
    StoredResult::Broken(reason)
}

/// Why a manifest could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The request to the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer program wrote it.
    #[error(transparent)]
    Newer(ContractError),
}

/// The store may answer later, and a newer worker may take the job.
impl HasFault for LookUpError {
    fn fault(&self) -> Fault {
        Fault::Unavailable
    }
}

impl From<LookUpError> for crate::RuntimeError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Store(error) => error.into(),
            LookUpError::Newer(error) => error.into(),
        }
    }
}
