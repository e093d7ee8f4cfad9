//! The node's cache of store objects: files named by digest, verified at every use, bounded in
//! size, shared by all processes of the node.

use super::{Store, StoreError, StoreErrorKind, measure_file};
use cedm_contract::ObjectRef;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A folder of cached objects, limited in size.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    limit_bytes: u64,
}

impl Cache {
    /// A cache in `folder`, of at most `limit_bytes`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            limit_bytes,
        })
    }

    /// Puts the object's bytes at `to`, from the cache or from the store; size and digest are
    /// verified either way. `to` is a link to the cached file, so that dropping it from the cache
    /// meanwhile does no harm.
    ///
    /// # Errors
    /// When the store fails, or what it gives does not verify.
    pub async fn fetch(
        &self,
        store: &dyn Store,
        object: &ObjectRef,
        to: &Path,
    ) -> Result<(), StoreError> {
        let local = |error: io::Error| StoreError::local("get", &object.object, error);
        let cached = self.folder.join(object.digest.as_str());
        if self.take(&cached, object, to).map_err(local)? {
            return Ok(());
        }
        let part = self.folder.join(format!(
            "{}.part-{}",
            object.digest.short(),
            ulid::Ulid::generate()
        ));
        let downloaded = store.download(&object.object, &part).await;
        let outcome = match downloaded {
            Ok(Some((size, digest))) if size == object.size && digest == object.digest => {
                fs::rename(&part, &cached)
                    .and_then(|()| link_or_copy(&cached, to))
                    .map_err(local)
            }
            Ok(Some((size, digest))) => Err(StoreError::new(
                "get",
                &object.object,
                StoreErrorKind::Damaged,
                format!(
                    "{size} bytes with digest {digest} found, {} bytes with {} expected",
                    object.size, object.digest
                ),
            )),
            Ok(None) => Err(StoreError::new(
                "get",
                &object.object,
                StoreErrorKind::Missing,
                "no such object",
            )),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // It may not exist; whatever stays is evicted as old.
            let _ = fs::remove_file(&part);
        }
        self.evict();
        outcome
    }

    /// Links a cached file that verifies to `to`; drops one that does not.
    fn take(&self, cached: &Path, object: &ObjectRef, to: &Path) -> io::Result<bool> {
        match link_or_copy(cached, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        let (size, digest) = measure_file(to)?;
        if size == object.size && digest == object.digest {
            // Its age decides what is evicted; a file system that refuses only makes that order
            // worse.
            if let Ok(file) = fs::File::options().append(true).open(cached) {
                let _ = file.set_modified(SystemTime::now());
            }
            return Ok(true);
        }
        tracing::warn!(object = %object.object, "cached file does not verify, fetched again");
        fs::remove_file(to)?;
        match fs::remove_file(cached) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(false),
        }
    }

    /// Removes the files used longest ago until the rest fits. Other processes do the same: a file
    /// gone is no error.
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let about = entry.metadata().ok()?;
                about
                    .is_file()
                    .then_some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|file| file.1).sum();
        files.sort();
        for (_, size, path) in files {
            if total <= self.limit_bytes {
                return;
            }
            if fs::remove_file(path).is_ok() {
                total -= size;
            }
        }
    }
}

/// A hard link where both are on one file system, else a copy.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            ) =>
        {
            Err(error)
        }
        Err(_) => fs::copy(from, to).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Body, RamStore},
        *,
    };
    use cedm_contract::Digest;

    async fn object(store: &RamStore, key: &str, bytes: &'static [u8]) -> ObjectRef {
        store.put(key, Body::Bytes(bytes.into())).await.unwrap();
        ObjectRef {
            object: key.to_owned(),
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
        }
    }

    #[tokio::test]
    async fn a_damaged_cached_file_is_fetched_again() {
        let (root, store) = (tempfile::tempdir().unwrap(), RamStore::default());
        let cache = Cache::open(&root.path().join("cache"), 1000).unwrap();
        let object = object(&store, "a", b"good bytes").await;
        cache
            .fetch(&store, &object, &root.path().join("1"))
            .await
            .unwrap();
        fs::remove_file(root.path().join("1")).unwrap();
        fs::write(
            root.path().join("cache").join(object.digest.as_str()),
            b"evil bytes",
        )
        .unwrap();
        cache
            .fetch(&store, &object, &root.path().join("2"))
            .await
            .unwrap();
        assert_eq!(fs::read(root.path().join("2")).unwrap(), b"good bytes");
    }

    #[tokio::test]
    async fn the_store_is_not_trusted() {
        let (root, store) = (tempfile::tempdir().unwrap(), RamStore::default());
        let cache = Cache::open(&root.path().join("cache"), 1000).unwrap();
        let object = object(&store, "a", b"good bytes").await;
        store
            .put("a", Body::Bytes(b"evil bytes".as_slice().into()))
            .await
            .unwrap();
        let refused = cache
            .fetch(&store, &object, &root.path().join("1"))
            .await
            .unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Damaged);
        assert!(!root.path().join("1").exists());
        store.delete("a").await.unwrap();
        assert_eq!(
            cache
                .fetch(&store, &object, &root.path().join("1"))
                .await
                .unwrap_err()
                .kind,
            StoreErrorKind::Missing
        );
    }

    #[tokio::test]
    async fn it_stays_within_its_bound() {
        let (root, store) = (tempfile::tempdir().unwrap(), RamStore::default());
        let folder = root.path().join("cache");
        let cache = Cache::open(&folder, 25).unwrap();
        for (key, bytes) in [
            ("a", b"0123456789"),
            ("b", b"1234567890"),
            ("c", b"2345678901"),
        ] {
            let object = object(&store, key, bytes).await;
            cache
                .fetch(&store, &object, &root.path().join(key))
                .await
                .unwrap();
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(
            fs::read(root.path().join("a")).unwrap(),
            b"0123456789",
            "an evicted file stays where it was fetched to"
        );
    }
}
