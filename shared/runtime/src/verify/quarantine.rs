//! What happens to a result that does not verify. A first look proves little: a store that is short
//! of descriptors, or a proxy in front of it, may say things that are not so. So there is a second
//! look after a pause; only then is the manifest moved to `suspect/manifest/<key>/`, and nothing is
//! deleted that was not copied before. An identity that may not do that leaves a notice at
//! `suspect/notice/<key>`, and the coordinator looks itself.

use super::{LookUpError, StoredResult, Verifier};
use crate::{
    create_only::create_only,
    store::{Body, StoreError, StoreErrorKind},
};
use bytes::Bytes;
use cedm_contract::{
    JobKey, Manifest, NOTICE_PREFIX, manifest_key, notice_key, quarantine_key,
    quarantine_strange_key,
};
use serde::Serialize;
use std::time::Duration;

/// Between the first look at a result that does not verify and the second.
pub(crate) const SECOND_LOOK: Duration = Duration::from_secs(2);
/// Notices that are looked into in one pass; each may cost reading a whole result.
const NOTICES_AT_ONCE: usize = 16;

/// What became of a result that did not verify.
#[derive(Debug)]
pub enum Quarantine {
    /// Looked at again it verifies: nothing was changed.
    Sound(Box<Manifest>),
    /// There is no manifest any more, since it was quarantined or for other reasons.
    Gone,
    /// This identity may not move it; a notice was left for the coordinator. What is wrong with it.
    Noticed(String),
}

/// A notice's content, for people: whoever acts on it looks for itself.
#[derive(Serialize)]
struct Notice<'a> {
    reason: &'a str,
    worker: String,
    at_ms: u64,
}

impl Verifier {
    /// Looks again, after a pause, at a result that does not verify, and moves its manifest aside
    /// if that is confirmed. Two repairers may race between this look and the removal: then a sound
    /// manifest is quarantined and its work done once more, which is safe.
    ///
    /// # Errors
    /// When the store fails; nothing was removed then.
    pub async fn quarantine(&self, key: &JobKey, digests: bool) -> Result<Quarantine, LookUpError> {
        tokio::time::sleep(SECOND_LOOK).await;
        let reason = match self.look_up(key, digests).await? {
            StoredResult::Nothing => return Ok(Quarantine::Gone),
            StoredResult::Sound(manifest) => {
                tracing::warn!(job = %key, "a result that did not verify does so at the second \
                    look: the store gave wrong answers for a while");
                return Ok(Quarantine::Sound(manifest));
            }
            StoredResult::Broken(reason) => reason,
        };
        match self.move_aside(key).await {
            Ok(()) => {
                tracing::warn!(job = %key, %reason, "a result that does not verify was moved to \
                    suspect/manifest/");
                Ok(Quarantine::Gone)
            }
            Err(error) if error.kind == StoreErrorKind::Denied => {
                self.leave_notice(key, &reason).await?;
                Ok(Quarantine::Noticed(reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a manifest aside that claims to be a newer program's, since a person asks for that;
    /// `false` when there is none of this key, or another.
    ///
    /// # Errors
    /// When the store fails, or this identity may not do that.
    pub async fn set_newer_aside(&self, key: &JobKey) -> Result<bool, LookUpError> {
        match self.look_up(key, false).await {
            Err(LookUpError::Newer(_)) => {
                self.move_aside(key).await?;
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves an object aside that no program reads, since a person asks for that; `false` when
    /// there is none. Which objects these are the caller knows.
    ///
    /// # Errors
    /// When the store fails, or this identity may not do that.
    pub async fn set_strange_aside(&self, name: &str) -> Result<bool, StoreError> {
        if self.store.size(name).await?.is_none() {
            return Ok(false);
        }
        let aside = quarantine_strange_key(&ulid::Ulid::generate().to_string());
        self.move_object(name, &aside).await?;
        Ok(true)
    }

    /// Copies the manifest to a name that is not read, then removes it.
    async fn move_aside(&self, key: &JobKey) -> Result<(), StoreError> {
        let aside = quarantine_key(key, &ulid::Ulid::generate().to_string());
        self.move_object(&manifest_key(key), &aside).await
    }

    async fn move_object(&self, name: &str, aside: &str) -> Result<(), StoreError> {
        match self.store.get(name).await {
            Ok(None) => return Ok(()),
            Ok(Some(bytes)) => {
                create_only(self.store.as_ref(), aside, bytes).await?;
            }
            // Too large for memory.
            Err(error) if error.kind == StoreErrorKind::Damaged => {
                let local = |error| StoreError::local("get", name, error);
                let folder = tempfile::tempdir().map_err(local)?;
                let file = folder.path().join("object");
                self.store.download(name, &file).await?;
                self.store.put(aside, Body::File(&file)).await?;
            }
            Err(error) => return Err(error),
        }
        self.store.delete(name).await
    }

    async fn leave_notice(&self, key: &JobKey, reason: &str) -> Result<(), StoreError> {
        let notice = Notice {
            reason,
            worker: crate::worker_name(),
            at_ms: crate::now_ms(),
        };
        let bytes = serde_json::to_vec(&notice).expect("invariant: plain data always encodes");
        create_only(self.store.as_ref(), &notice_key(key), Bytes::from(bytes)).await?;
        Ok(())
    }

    /// Looks into the results that workers gave notice of, to the byte, and moves aside those that
    /// do not verify. Which keys have no result now.
    ///
    /// # Errors
    /// When the store fails, or this identity may not move results.
    pub async fn settle_notices(&self) -> Result<Vec<JobKey>, LookUpError> {
        let mut gone = Vec::new();
        let notices = self.store.list(NOTICE_PREFIX).await?;
        for notice in notices.iter().take(NOTICES_AT_ONCE) {
            let name = &notice.key[NOTICE_PREFIX.len()..];
            let Ok(key) = name.parse::<JobKey>() else {
                tracing::warn!(notice = %notice.key, "a notice that names no job is removed");
                self.store.delete(&notice.key).await?;
                continue;
            };
            // Nothing that this process verified earlier counts.
            let fresh = Self::new(self.store.clone());
            let found = match fresh.look_up(&key, true).await {
                Ok(found) => found,
                Err(LookUpError::Newer(_)) => {
                    tracing::warn!(job = %key, "a notice of a result of a newer program, which this \
                        one cannot judge, is removed");
                    self.store.delete(&notice.key).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_gone = match found {
                StoredResult::Nothing => true,
                StoredResult::Sound(_) => false,
                StoredResult::Broken(_) => match fresh.quarantine(&key, true).await? {
                    Quarantine::Gone => true,
                    Quarantine::Sound(_) => false,
                    // The notice stays for whoever may.
                    Quarantine::Noticed(_) => continue,
                },
            };
            if !is_gone {
                tracing::warn!(job = %key, "a worker gave notice of a result that verifies: \
                    its own store, disk or memory may be at fault");
            }
            self.store.delete(&notice.key).await?;
            gone.extend(is_gone.then_some(key));
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{InjectedFault, RamStore, Store},
        testing::manifest,
    };
    use std::sync::Arc;

    /// A store with one broken manifest.
    async fn broken() -> (Arc<RamStore>, JobKey, Bytes) {
        let (store, manifest) = (Arc::new(RamStore::default()), manifest(1));
        let bytes = Bytes::from_static(b"{\"schema\": 1");
        let name = manifest_key(&manifest.key);
        store.put(&name, Body::Bytes(bytes.clone())).await.unwrap();
        (store, manifest.key, bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_manifest_is_moved_and_its_bytes_are_kept() {
        let (store, key, bytes) = broken().await;
        let done = Verifier::new(store.clone()).quarantine(&key, true).await;
        assert!(matches!(done.unwrap(), Quarantine::Gone));
        assert!(store.below("manifest/").is_empty());
        let kept = store.below(&quarantine_key(&key, ""));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].1, bytes);
    }

    /// What a newer program wrote goes only when a person says so, and a sound manifest never.
    #[tokio::test(start_paused = true)]
    async fn a_newer_manifest_is_moved_when_asked_for_and_kept() {
        let (store, key, _) = broken().await;
        let verifier = Verifier::new(store.clone());
        assert!(
            !verifier.set_newer_aside(&key).await.unwrap(),
            "it is older"
        );
        let newer = Bytes::from_static(b"{\"schema\": 999}");
        let name = manifest_key(&key);
        store.put(&name, Body::Bytes(newer.clone())).await.unwrap();
        assert!(verifier.look_up(&key, true).await.is_err());
        assert!(verifier.set_newer_aside(&key).await.unwrap());
        assert!(!verifier.set_newer_aside(&key).await.unwrap());
        assert!(store.below("manifest/").is_empty());
        assert_eq!(store.below(&quarantine_key(&key, ""))[0].1, newer);

        let strange = "manifest/no key";
        store.put(strange, Body::Bytes("?".into())).await.unwrap();
        assert!(verifier.set_strange_aside(strange).await.unwrap());
        assert!(!verifier.set_strange_aside(strange).await.unwrap());
        assert!(store.below("manifest/").is_empty());
        assert_eq!(store.below(&quarantine_strange_key("")).len(), 1);
    }

    /// The store lies at the first look only: for a while every object seems to be missing.
    #[tokio::test(start_paused = true)]
    async fn a_result_that_verifies_at_the_second_look_stays() {
        let store = Arc::new(RamStore::default());
        let manifest = manifest(1);
        let (name, bytes) = (manifest_key(&manifest.key), Bytes::from(manifest.encode()));
        store.put(&name, Body::Bytes("?".into())).await.unwrap();
        let verifier = Verifier::new(store.clone());
        let first = verifier.look_up(&manifest.key, true).await.unwrap();
        assert!(matches!(first, StoredResult::Broken(_)));
        let (recovers, whole) = (store.clone(), bytes.clone());
        tokio::spawn(async move {
            tokio::time::sleep(SECOND_LOOK / 2).await;
            let name = manifest_key(&manifest.key);
            recovers.put(&name, Body::Bytes(whole)).await.unwrap();
        });
        let key = name["manifest/".len()..].parse().unwrap();
        let done = verifier.quarantine(&key, true).await.unwrap();
        assert!(matches!(done, Quarantine::Sound(_)));
        assert_eq!(store.snapshot()[&name], bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_copy_fails_nothing_is_removed() {
        let (store, key, _) = broken().await;
        let faulty = Arc::new(RamStore::with_faults(|op, _| match op {
            "create" => InjectedFault::Before,
            _ => InjectedFault::None,
        }));
        for (name, bytes) in store.snapshot() {
            faulty.put(&name, Body::Bytes(bytes)).await.unwrap();
        }
        let done = Verifier::new(faulty.clone()).quarantine(&key, true).await;
        assert!(done.is_err());
        assert_eq!(faulty.below("manifest/").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_is_looked_into_and_believed_only_if_it_is_true() {
        let (store, key, _) = broken().await;
        let verifier = Verifier::new(store.clone());
        verifier.leave_notice(&key, "seen broken").await.unwrap();
        let garbage = format!("{NOTICE_PREFIX}../../x");
        store.put(&garbage, Body::Bytes("".into())).await.unwrap();
        assert_eq!(
            verifier.settle_notices().await.unwrap(),
            std::slice::from_ref(&key)
        );
        assert!(store.below(NOTICE_PREFIX).is_empty());
        assert!(store.below("manifest/").is_empty());

        let sound = manifest(1);
        let name = manifest_key(&sound.key);
        let bytes = Bytes::from(sound.encode());
        store.put(&name, Body::Bytes(bytes)).await.unwrap();
        verifier.leave_notice(&sound.key, "a lie").await.unwrap();
        assert!(verifier.settle_notices().await.unwrap().is_empty());
        assert_eq!(store.below("manifest/").len(), 1);
        assert!(store.below(NOTICE_PREFIX).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_that_may_not_move_a_result_leaves_a_notice() {
        let (store, key, _) = broken().await;
        let denied = Denying(store.clone());
        let verifier = Verifier::new(Arc::new(denied));
        let done = verifier.quarantine(&key, true).await.unwrap();
        assert!(matches!(done, Quarantine::Noticed(_)), "{done:?}");
        assert_eq!(store.below("manifest/").len(), 1, "it stays in place");
        assert_eq!(store.below(NOTICE_PREFIX).len(), 1);
    }

    /// Allows a worker's writes alone.
    struct Denying(Arc<RamStore>);

    fn denied(op: &'static str, key: &str) -> StoreError {
        StoreError::new(op, key, StoreErrorKind::Denied, "AccessDenied")
    }

    #[async_trait::async_trait]
    impl Store for Denying {
        async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
            self.0.get(key).await
        }
        async fn get_range(
            &self,
            key: &str,
            range: std::ops::Range<u64>,
        ) -> Result<Option<Bytes>, StoreError> {
            self.0.get_range(key, range).await
        }
        async fn download(
            &self,
            key: &str,
            file: &std::path::Path,
        ) -> Result<Option<(u64, cedm_contract::Digest)>, StoreError> {
            self.0.download(key, file).await
        }
        async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
            self.0.size(key).await
        }
        async fn put(&self, key: &str, _: Body<'_>) -> Result<(), StoreError> {
            Err(denied("put", key))
        }
        async fn put_if_absent(
            &self,
            key: &str,
            bytes: Bytes,
        ) -> Result<crate::store::Created, StoreError> {
            if key.starts_with(NOTICE_PREFIX) {
                return self.0.put_if_absent(key, bytes).await;
            }
            Err(denied("create", key))
        }
        async fn delete(&self, key: &str) -> Result<(), StoreError> {
            Err(denied("delete", key))
        }
        async fn list(&self, prefix: &str) -> Result<Vec<crate::store::Listed>, StoreError> {
            self.0.list(prefix).await
        }
    }
}
