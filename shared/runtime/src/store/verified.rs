//! Whole objects whose bytes are those that a manifest names.

use super::{Store, StoreError};
use bytes::Bytes;
use cedm_contract::{Digest, ObjectRef};

/// The bytes of an object; `Err` with a sentence when it is missing, or has another size or digest
/// than `object` says.
///
/// # Errors
/// When the store fails, which says nothing of the object.
pub async fn get_verified(
    store: &dyn Store,
    object: &ObjectRef,
) -> Result<Result<Bytes, String>, StoreError> {
    let Some(bytes) = store.get(&object.object).await? else {
        return Ok(Err(format!("object `{}` not found", object.object)));
    };
    let digest = Digest::of(&bytes);
    if bytes.len() as u64 != object.size || digest != object.digest {
        return Ok(Err(format!(
            "object `{}` is damaged: expected {} bytes with digest {}, found {} bytes with digest \
             {digest}",
            object.object,
            object.size,
            object.digest,
            bytes.len()
        )));
    }
    Ok(Ok(bytes))
}
