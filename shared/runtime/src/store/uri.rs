//! What a user names by URI: `s3://bucket/key`, one object or everything below a prefix.
//!
//! The endpoint is that of the environment (`CEDM_S3_ENDPOINT`, else AWS), the keys are those of
//! the AWS chain.

use super::{S3Settings, S3Store, Store, StoreError, StoreErrorKind};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// An object or a prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUri {
    /// The bucket.
    pub bucket: String,
    /// Key or prefix, without a slash at either end.
    pub key: String,
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

    /// Brings the object, or everything below the prefix, into `folder`; where it is now. What an
    /// earlier call has brought and what has the same size is not brought again.
    ///
    /// # Errors
    /// When there is nothing of this name, the store cannot be read, or the disk not be written.
    pub fn bring(&self, folder: &Path) -> Result<PathBuf, StoreError> {
        let failed = |error| StoreError::local("get", &self.key, &error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        runtime.block_on(async {
            let settings = S3Settings {
                endpoint: std::env::var("CEDM_S3_ENDPOINT").ok(),
                bucket: self.bucket.clone(),
                region: std::env::var("CEDM_S3_REGION").ok(),
            };
            self.bring_from(&S3Store::open(&settings).await, folder)
                .await
        })
    }

    async fn bring_from(&self, store: &dyn Store, folder: &Path) -> Result<PathBuf, StoreError> {
        let to = folder.join(self.key.rsplit('/').next().unwrap_or("object"));
        if let Some(size) = store.size(&self.key).await? {
            bring_one(store, &self.key, size, &to).await?;
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
                let reason = "this key makes no file name below a folder";
                return Err(StoreError::new(
                    "get",
                    &object.key,
                    StoreErrorKind::Local,
                    reason,
                ));
            }
            bring_one(store, &object.key, object.size, &to.join(name)).await?;
        }
        Ok(to)
    }
}

/// One object as a file; visible only when whole.
async fn bring_one(store: &dyn Store, key: &str, size: u64, to: &Path) -> Result<(), StoreError> {
    let local = |error: std::io::Error| StoreError::local("get", key, &error);
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
            let reason = format!("{found} bytes came, expected {size}");
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
            "it is gone",
        )),
    }
}

/// The arguments of this process, those of `run` that are `s3://` URIs replaced by paths of what
/// they name. The files are removed with the value.
#[derive(Debug)]
pub struct LocalArgs {
    args: Vec<OsString>,
    _folder: Option<tempfile::TempDir>,
}

impl LocalArgs {
    /// Brings every object that the command line names, whole, before anything is computed.
    ///
    /// # Errors
    /// As [`ObjectUri::bring`].
    pub fn gather() -> Result<Self, StoreError> {
        Self::replaced(std::env::args_os().collect(), &|object, folder| {
            object.bring(folder)
        })
    }

    fn replaced(
        mut args: Vec<OsString>,
        bring: &dyn Fn(&ObjectUri, &Path) -> Result<PathBuf, StoreError>,
    ) -> Result<Self, StoreError> {
        let is_uri = |text: &str| text.starts_with("s3://") || text.contains("=s3://");
        if args.get(1).is_none_or(|mode| mode != "run")
            || !args.iter().any(|arg| arg.to_str().is_some_and(is_uri))
        {
            return Ok(Self {
                args,
                _folder: None,
            });
        }
        let folder = tempfile::tempdir()
            .map_err(|error| StoreError::local("get", "a temporary folder", &error))?;
        for (index, arg) in args.iter_mut().enumerate() {
            let Some(text) = arg.to_str().filter(|text| is_uri(text)) else {
                continue;
            };
            let (option, uri) = text.split_at(text.find("s3://").unwrap_or(0));
            let Some(object) = ObjectUri::parse(uri)? else {
                continue;
            };
            // A folder each: two objects may share their last name.
            let path = bring(&object, &folder.path().join(index.to_string()))?;
            let mut local = OsString::from(option);
            local.push(path);
            *arg = local;
        }
        Ok(Self {
            args,
            _folder: Some(folder),
        })
    }

    /// The arguments, the program's name first.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Body, RamStore};

    #[test]
    fn uris_are_told_from_paths() {
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
            let error = ObjectUri::parse(text).unwrap_err().to_string();
            assert!(error.contains(expect) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn files_of_run_that_lie_in_a_store_become_local_ones() {
        let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        let bring =
            |object: &ObjectUri, folder: &Path| Ok(folder.join(&object.bucket).join(&object.key));
        let given = line("x run --a s3://b/sets/f.npy --c=s3://b/f.npy plain.npy s3://b/f.npy");
        let found = LocalArgs::replaced(given, &bring).unwrap();
        let folder = found._folder.as_ref().unwrap().path().display().to_string();
        let expected = format!(
            "x run --a {folder}/3/b/sets/f.npy --c={folder}/4/b/f.npy plain.npy {folder}/6/b/f.npy"
        );
        assert_eq!(found.args(), line(&expected));
        for untouched in ["x serve --store s3://b/k", "x run --a plain.npy", "x"] {
            let never = |_: &ObjectUri, _: &Path| panic!("nothing is brought for {untouched}");
            assert_eq!(
                LocalArgs::replaced(line(untouched), &never).unwrap().args(),
                line(untouched)
            );
        }
        let error = LocalArgs::replaced(line("x run --a s3://b"), &bring)
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected s3://bucket/key"), "{error}");
    }

    #[tokio::test]
    async fn objects_and_prefixes_come_whole() {
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
            .bring_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"zip");
        let below = uri("sets/b")
            .bring_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(below.join("c/1.png")).unwrap(), b"one");
        // What is there with the right size stays; a torn part is brought again.
        std::fs::write(below.join("0.png"), "0000").unwrap();
        std::fs::write(below.join("c/1.png"), "on").unwrap();
        std::fs::write(below.join("c/1.png.part"), "o").unwrap();
        uri("sets/b")
            .bring_from(&store, folder.path())
            .await
            .unwrap();
        assert_eq!(std::fs::read(below.join("0.png")).unwrap(), b"0000");
        assert_eq!(std::fs::read(below.join("c/1.png")).unwrap(), b"one");
        assert!(!below.join("c/1.png.part").exists());
        let missing = uri("sets/d")
            .bring_from(&store, folder.path())
            .await
            .unwrap_err();
        assert!(
            missing.kind == StoreErrorKind::Missing && missing.to_string().contains("sets/d"),
            "{missing}"
        );
        assert!(
            uri("bad")
                .bring_from(&store, folder.path())
                .await
                .unwrap_err()
                .to_string()
                .contains("no file name")
        );
    }
}
