//! Artefacts for the report, read from the store and verified.

use cedm_contract::{Digest, ObjectRef};
use cedm_report::Artefacts;
use cedm_runtime::store::Store;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Reads from the store on a thread that may block.
pub(crate) struct StoreArtefacts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handle: Handle,
}

impl Artefacts for StoreArtefacts {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        let found = self
            .handle
            .block_on(self.store.get(&object.object))
            .map_err(|error| cedm_runtime::chain(&error))?;
        let bytes = found.ok_or_else(|| format!("object `{}` not found", object.object))?;
        if bytes.len() as u64 != object.size || Digest::of(&bytes) != object.digest {
            return Err(format!(
                "object `{}` is damaged: expected {} bytes with digest {}, found {} bytes with digest \
                 {}",
                object.object,
                object.size,
                object.digest,
                bytes.len(),
                Digest::of(&bytes)
            ));
        }
        Ok(bytes.to_vec())
    }
}
