//! Bytes for the report: artefacts read from the store and verified.

use cedm_contract::{Digest, ObjectRef};
use cedm_report::Artefacts;
use cedm_runtime::store::Store;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The store, for a thread that may block.
pub(crate) struct Stored {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handle: Handle,
}

impl Artefacts for Stored {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        let found = self
            .handle
            .block_on(self.store.get(&object.object))
            .map_err(|error| error.to_string())?;
        let bytes = found.ok_or_else(|| format!("object `{}` is gone", object.object))?;
        if bytes.len() as u64 != object.size || Digest::of(&bytes) != object.digest {
            return Err(format!(
                "object `{}` is damaged: {} bytes, {} expected, or another digest",
                object.object,
                bytes.len(),
                object.size
            ));
        }
        Ok(bytes.to_vec())
    }
}
