//! Artefacts for the report, read from the store and verified.

use cedm_contract::ObjectRef;
use cedm_report::Artefacts;
use cedm_runtime::store::{Store, StoreErrorKind, get_verified};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;

/// Reads from the store on a thread that may block, and remembers what went wrong: a report does
/// without what it cannot read, but a sweep does not end with it.
pub(crate) struct StoreArtefacts {
    store: Arc<dyn Store>,
    handle: Handle,
    flaws: Mutex<Flaws>,
}

/// What went wrong while a report was rendered.
#[derive(Debug, Default)]
pub(crate) struct Flaws {
    /// Objects that are missing or whose bytes are not those of their digest.
    pub(crate) broken: Vec<ObjectRef>,
    /// Why an object could not be read at all, where that happened.
    pub(crate) outage: Option<String>,
}

impl StoreArtefacts {
    /// Reads from `store` by the async runtime that calls this.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            handle: Handle::current(),
            flaws: Mutex::default(),
        }
    }

    /// What went wrong so far.
    pub(crate) fn into_flaws(self) -> Flaws {
        self.flaws
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Flaws)) {
        change(&mut self.flaws.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Artefacts for StoreArtefacts {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        let found = self
            .handle
            .block_on(get_verified(self.store.as_ref(), object));
        let found = found.map_err(|error| {
            let reason = cedm_runtime::chain(&error);
            // What is too large for memory is no damage: the report does without it.
            if error.kind != StoreErrorKind::Damaged {
                self.note(|flaws| flaws.outage = Some(reason.clone()));
            }
            reason
        })?;
        let bytes = found.inspect_err(|_| self.note(|flaws| flaws.broken.push(object.clone())))?;
        Ok(bytes.to_vec())
    }
}
