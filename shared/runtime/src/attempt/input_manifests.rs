//! The manifests of inputs, each with the digest that the job pins.
//!
//! That of a large set lists every shard of it (some 30 MB of JSON for 100,000 shards), while each
//! of its jobs reads one of them. A manifest never changes once it is written, so a process keeps
//! the large ones that it has read: job after job on the same set then asks for nothing but its
//! size.

use crate::{
    error::JobError,
    store::{Store, StoreError},
};
use anyhow::anyhow;
use cedm_contract::{ContractError, Input, Manifest, manifest_key};
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller ones are read again: asking for their sizes would take as long.
const LEAST_KEPT_BYTES: u64 = 128 << 10;
/// Bytes that are kept, as stored; in memory they take about as much. Room for the training images,
/// their test split and the samples of two networks, of 100,000 shards each.
const MOST_KEPT_BYTES: u64 = 160 << 20;

/// Reads manifests of inputs, and keeps large ones. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InputManifests {
    store: Arc<dyn Store>,
    /// The one that was used last stands last.
    kept: Arc<Mutex<Vec<Kept>>>,
}

#[derive(Clone)]
struct Kept {
    manifest: Arc<Manifest>,
    bytes: u64,
}

impl InputManifests {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            kept: Arc::default(),
        }
    }

    /// The manifests of these inputs, with their roles.
    pub(crate) async fn all(
        &self,
        inputs: &[Input],
    ) -> Result<Vec<(String, Arc<Manifest>)>, JobError> {
        let read = inputs
            .iter()
            .map(|input| async move { Ok((input.role.clone(), self.one(input).await?)) });
        futures::future::try_join_all(read).await
    }

    async fn one(&self, input: &Input) -> Result<Arc<Manifest>, JobError> {
        let name = manifest_key(&input.key);
        if let Some(Kept { manifest, bytes }) = self.take(input) {
            // One that was moved aside or replaced is seen as such, as at any other reading.
            if self.store.size(&name).await.map_err(JobError::retry)? == Some(bytes) {
                self.keep(manifest.clone(), bytes);
                return Ok(manifest);
            }
        }
        let (manifest, bytes) = self.read(input, &name).await?;
        if bytes >= LEAST_KEPT_BYTES {
            self.keep(manifest.clone(), bytes);
        }
        Ok(manifest)
    }

    async fn read(&self, input: &Input, name: &str) -> Result<(Arc<Manifest>, u64), JobError> {
        let bytes: Result<_, StoreError> = self.store.get(name).await;
        let lost = |source: anyhow::Error| JobError::InputLost {
            input: input.key.clone(),
            source: source.context(format!("input `{}`", input.role)),
        };
        let bytes = bytes
            .map_err(JobError::retry)?
            .ok_or_else(|| lost(anyhow!("manifest {} is missing", input.key)))?;
        let manifest = match Manifest::decode(&bytes) {
            Ok(manifest) => manifest,
            Err(error @ ContractError::NewerSchema { .. }) => {
                return Err(JobError::contract(error));
            }
            Err(error) => return Err(lost(error.into())),
        };
        if manifest.digest != input.digest {
            let (found, expected) = (&manifest.digest, &input.digest);
            return Err(lost(anyhow!(
                "manifest {} has digest {found}, the job pins {expected}: its result was computed \
                 again and differs",
                input.key
            )));
        }
        Ok((Arc::new(manifest), bytes.len() as u64))
    }

    /// Takes the manifest that an input pins out of those that are kept.
    fn take(&self, input: &Input) -> Option<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_pinned =
            |kept: &Kept| kept.manifest.key == input.key && kept.manifest.digest == input.digest;
        let at = kept.iter().position(is_pinned)?;
        Some(kept.remove(at))
    }

    fn keep(&self, manifest: Arc<Manifest>, bytes: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept { manifest, bytes });
        let mut total: u64 = kept.iter().map(|kept| kept.bytes).sum();
        while total > MOST_KEPT_BYTES && kept.len() > 1 {
            total -= kept.remove(0).bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Body, InjectedFault, RamStore},
        testing,
    };
    use cedm_contract::{Digest, JobResult, ObjectRef, ShardRef, kinds::features::FeatureSet};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A set of so many shards, with the lengths that keys, digests and names have.
    fn set_of(shards: u64) -> Manifest {
        let mut manifest = testing::manifest(1);
        let shard = |first: u64| ShardRef {
            object: ObjectRef {
                object: cedm_contract::output_key(
                    &manifest.key,
                    &manifest.attempt,
                    &format!("shard-{first:05}.safetensors"),
                ),
                size: 6_291_456,
                digest: Digest::of(&first.to_le_bytes()),
            },
            first,
            count: 1,
        };
        manifest.result = JobResult::Features(FeatureSet {
            count: shards,
            dim: 8,
            shards: (0..shards).map(shard).collect(),
        });
        manifest.digest = Manifest::digest_of(&manifest.outputs, &manifest.result);
        manifest
    }

    async fn put(store: &RamStore, manifest: &Manifest) {
        let body = Body::Bytes(manifest.encode().into());
        let name = manifest_key(&manifest.key);
        store.put(&name, body).await.unwrap();
    }

    /// A store with this manifest, and how often one was read from it.
    async fn stored(manifest: &Manifest) -> (Arc<RamStore>, Arc<AtomicU64>) {
        let reads = Arc::<AtomicU64>::default();
        let counted = reads.clone();
        let store = Arc::new(RamStore::with_faults(move |op, _| {
            counted.fetch_add(u64::from(op == "get"), Ordering::Relaxed);
            InjectedFault::None
        }));
        put(&store, manifest).await;
        (store, reads)
    }

    #[tokio::test]
    async fn the_manifest_of_a_large_set_is_read_once_for_many_jobs() {
        let manifest = set_of(1_000);
        let (store, reads) = stored(&manifest).await;
        let inputs = InputManifests::new(store.clone());
        let wanted = [manifest.as_input("images")];
        for _ in 0..100 {
            let found = inputs.clone().all(&wanted).await.unwrap();
            assert_eq!(found[0].0, "images");
            assert_eq!(*found[0].1, manifest);
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);

        // A smaller one is read each time, and no other job's digest is served from memory.
        let small = set_of(10);
        put(&store, &small).await;
        for _ in 0..3 {
            inputs.all(&[small.as_input("images")]).await.unwrap();
        }
        assert_eq!(reads.load(Ordering::Relaxed), 4);
    }

    /// What is kept does not hide that the input is gone, or is another by now.
    #[tokio::test]
    async fn a_kept_manifest_that_is_lost_or_replaced_is_seen() {
        let manifest = set_of(1_000);
        let (store, _) = stored(&manifest).await;
        let inputs = InputManifests::new(store.clone());
        let wanted = [manifest.as_input("images")];
        inputs.all(&wanted).await.unwrap();
        let name = manifest_key(&manifest.key);
        store.delete(&name).await.unwrap();
        let error = inputs.all(&wanted).await.unwrap_err();
        assert!(
            matches!(&error, JobError::InputLost { input, .. } if *input == manifest.key),
            "{error}"
        );

        put(&store, &manifest).await;
        inputs.all(&wanted).await.unwrap();
        put(&store, &set_of(1_001)).await;
        let error = inputs.all(&wanted).await.unwrap_err();
        assert!(error.to_string().contains("the job pins"), "{error:#}");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let inputs = InputManifests::new(Arc::new(RamStore::default()));
        for index in 0..5 {
            let mut manifest = testing::manifest(1);
            manifest.key = cedm_contract::JobKey::of(&[index]);
            inputs.keep(Arc::new(manifest), MOST_KEPT_BYTES / 2);
        }
        let kept = inputs.kept.lock().unwrap();
        let keys: Vec<_> = kept.iter().map(|kept| kept.manifest.key.clone()).collect();
        assert_eq!(
            keys,
            [3, 4].map(|index| cedm_contract::JobKey::of(&[index])),
            "the last ones"
        );
    }
}
