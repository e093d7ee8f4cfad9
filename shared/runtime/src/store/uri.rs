//! `s3://bucket/key`: one object of a store, or everything below a prefix.
//!
//! The endpoint is that of the environment (`CEDM_S3_ENDPOINT`, else AWS), the keys come from
//! the AWS chain.

use super::{S3Settings, S3Store, Store, StoreError, StoreErrorKind};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// An object or a prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUri {
    /// Name of the bucket.
    pub bucket: String,
    /// Key or prefix, without a slash at either end.
    pub key: String,
}

impl fmt::Display for ObjectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl ObjectUri {
    /// The URI in `text`; `None` when it is a plain path.
    ///
    /// # Errors
    /// For a scheme that is not `s3`, and for an `s3` URI without bucket or key.
    pub fn parse(text: &str) -> Result<Option<Self>, StoreError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(None);
        };
        let fail = |reason: &str| Err(StoreError::new("read", text, StoreErrorKind::Local, reason));
        if scheme != "s3" {
            return fail(
                "expected a path or s3://bucket/key; download other URIs and name the file",
            );
        }
        match rest
            .split_once('/')
            .map(|(bucket, key)| (bucket, key.trim_matches('/')))
        {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Some(Self {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            })),
            _ => fail("expected s3://bucket/key"),
        }
    }

    /// Fetches the object, or everything below the prefix, into `folder`; where it is now. A file
    /// that an earlier call has fetched and that has the right size is not fetched again.
    ///
    /// # Errors
    /// When there is nothing of this name, the store cannot be read, or the disk not be written;
    /// the error names the URI.
    pub fn fetch(&self, folder: &Path) -> Result<PathBuf, StoreError> {
        let failed = |error| StoreError::local("get", &self.to_string(), error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        runtime
            .block_on(async {
                let settings = S3Settings {
                    endpoint: std::env::var("CEDM_S3_ENDPOINT").ok(),
                    bucket: self.bucket.clone(),
                    region: std::env::var("CEDM_S3_REGION").ok(),
                    ca_file: std::env::var_os("CEDM_S3_CA_FILE").map(PathBuf::from),
                };
                self.fetch_from(&S3Store::open(&settings).await?, folder)
                    .await
            })
            .map_err(|error| StoreError {
                key: self.to_string(),
                ..error
            })
    }

    async fn fetch_from(&self, store: &dyn Store, folder: &Path) -> Result<PathBuf, StoreError> {
        let to = folder.join(self.key.rsplit('/').next().unwrap_or("object"));
        if let Some(size) = store.size(&self.key).await? {
            fetch_one(store, &self.key, size, &to).await?;
            return Ok(to);
        }
        let prefix = format!("{}/", self.key);
        let below = store.list(&prefix).await?;
        if below.is_empty() {
            let reason = format!(
                "neither an object nor a prefix of this name in bucket `{}`",
                self.bucket
            );
            return Err(StoreError::new(
                "get",
                &self.key,
                StoreErrorKind::Missing,
                reason,
            ));
        }
        for object in below.iter().filter(|object| !object.key.ends_with('/')) {
            let name = object.key.strip_prefix(&prefix).unwrap_or(&object.key);
            if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
                let reason = "this key is not a file name below a folder";
                return Err(StoreError::new(
                    "get",
                    &object.key,
                    StoreErrorKind::Local,
                    reason,
                ));
            }
            fetch_one(store, &object.key, object.size, &to.join(name)).await?;
        }
        Ok(to)
    }
}

/// Fetches one object as a file, which is visible only when it is whole.
async fn fetch_one(store: &dyn Store, key: &str, size: u64, to: &Path) -> Result<(), StoreError> {
    let local = |error: std::io::Error| StoreError::local("get", key, error);
    if std::fs::metadata(to).is_ok_and(|about| about.len() == size) {
        return Ok(());
    }
    let parent = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(local)?;
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    if part.exists() {
        std::fs::remove_file(&part).map_err(local)?;
    }
    match store.download(key, &part).await? {
        Some((found, _)) if found == size => std::fs::rename(&part, to).map_err(local),
        Some((found, _)) => {
            let reason = format!("received {found} bytes, expected {size}");
            Err(StoreError::new(
                "get",
                key,
                StoreErrorKind::Unavailable,
                reason,
            ))
        }
        None => Err(StoreError::new(
            "get",
            key,
            StoreErrorKind::Missing,
            "it was removed meanwhile",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::chain,
        store::{Body, RamStore},
    };

    #[test]
    fn uris_are_distinguished_from_paths() {
        let uri = ObjectUri::parse("s3://data/sets/cifar/").unwrap().unwrap();
        assert_eq!(
            (uri.bucket.as_str(), uri.key.as_str()),
            ("data", "sets/cifar")
        );
        assert_eq!(ObjectUri::parse("/data/s3/x.zip").unwrap(), None);
        for (text, expect) in [
            ("https://host/x.zip", "expected a path or s3://bucket/key"),
            ("s3://data", "expected s3://bucket/key"),
            ("s3:///x", "expected s3://bucket/key"),
        ] {
            let error = chain(&ObjectUri::parse(text).unwrap_err());
            assert!(error.contains(expect) && error.contains(text), "{error}");
        }
    }

    #[tokio::test]
    async fn objects_and_prefixes_are_fetched_whole() {
        let (store, folder) = (RamStore::default(), tempfile::tempdir().unwrap());
        for (key, bytes) in [
            ("sets/a.zip", "zip"),
            ("sets/b/0.png", "zero"),
            ("sets/b/c/1.png", "one"),
            ("bad/../x", "x"),
        ] {
            store.put(key, Body::Bytes(bytes.into())).await.unwrap();
        }
        let uri = |key: &str| ObjectUri {
            bucket: "data".to_owned(),
            key: key.to_owned(),
        };
        let file = uri("sets/a.zip")
            .fetch_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"zip");
        let below = uri("sets/b")
            .fetch_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(below.join("c/1.png")).unwrap(), b"one");
        // What is there with the right size stays; a truncated file is fetched again.
        std::fs::write(below.join("0.png"), "0000").unwrap();
        std::fs::write(below.join("c/1.png"), "on").unwrap();
        std::fs::write(below.join("c/1.png.part"), "o").unwrap();
        uri("sets/b")
            .fetch_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(below.join("0.png")).unwrap(), b"0000");
        assert_eq!(std::fs::read(below.join("c/1.png")).unwrap(), b"one");
        assert!(!below.join("c/1.png.part").exists());
        let missing = uri("sets/d")
            .fetch_from(&store, folder.path())
            .await
            .unwrap_err();
        assert!(
            missing.kind == StoreErrorKind::Missing && missing.to_string().contains("sets/d"),
            "{missing}"
        );
        let error = uri("bad")
            .fetch_from(&store, folder.path())
            .await
            .unwrap_err();
        assert!(chain(&error).contains("not a file name"), "{error:?}");
    }
}
