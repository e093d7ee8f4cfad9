//! An input named on a command line: a path, or an object or prefix of a store.

use super::{ObjectUri, StoreError};
use crate::error::chain;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser, ValueParserFactory};
use serde::{Serialize, Serializer};
use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// A file or folder to read, given as a path or as `s3://bucket/key`. What a URI names is fetched
/// once, into a temporary folder that is removed with the last clone of this value.
///
/// It displays and serialises as the user wrote it. clap parses options of this type.
#[derive(Debug, Clone)]
pub struct InputPath {
    given: PathBuf,
    remote: Option<Remote>,
}

#[derive(Debug, Clone)]
struct Remote {
    uri: ObjectUri,
    fetched: Arc<OnceLock<Fetched>>,
}

#[derive(Debug)]
struct Fetched {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl InputPath {
    /// Understands what the user wrote; nothing is read yet.
    ///
    /// # Errors
    /// For a URI of another scheme than `s3`, and for an `s3` URI without bucket or key.
    pub fn parse(given: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let given = given.into();
        // A URI is text; a path need not be.
        let uri = given.to_str().map(ObjectUri::parse).transpose()?.flatten();
        let remote = uri.map(|uri| Remote {
            uri,
            fetched: Arc::default(),
        });
        Ok(Self { given, remote })
    }

    /// Its path on this machine; an object of a store is fetched by the first call.
    ///
    /// # Errors
    /// When there is nothing of this name in the store, the store cannot be read, or the disk not
    /// be written. A path is returned as it is, whether it exists or not.
    pub fn path(&self) -> Result<&Path, StoreError> {
        self.path_by(&|uri, folder| uri.fetch(folder))
    }

    fn path_by(
        &self,
        fetch: &dyn Fn(&ObjectUri, &Path) -> Result<PathBuf, StoreError>,
    ) -> Result<&Path, StoreError> {
        let Some(Remote { uri, fetched }) = &self.remote else {
            return Ok(&self.given);
        };
        if let Some(fetched) = fetched.get() {
            return Ok(&fetched.path);
        }
        let folder = tempfile::tempdir()
            .map_err(|error| StoreError::local("get", &uri.to_string(), error))?;
        let path = fetch(uri, folder.path())?;
        let made = Fetched {
            path,
            _folder: folder,
        };
        Ok(&fetched.get_or_init(|| made).path)
    }

    /// Whether it names something in a store, which is fetched anew by every process.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// What `read` makes of the local file. An error names what the user wrote, not the temporary
    /// file.
    ///
    /// # Errors
    /// As [`InputPath::path`] and as `read`.
    pub fn read<T, E>(&self, read: impl FnOnce(&Path) -> Result<T, E>) -> anyhow::Result<T>
    where
        anyhow::Error: From<E>,
    {
        read(self.path()?).map_err(|error| match self.remote {
            Some(_) => anyhow::Error::from(error).context(self.to_string()),
            None => error.into(),
        })
    }

    /// Fetches the objects into `folder`, where a later call finds them again; where they are.
    ///
    /// # Errors
    /// As [`InputPath::path`].
    pub fn fetch_into(&self, folder: &Path) -> Result<PathBuf, StoreError> {
        match &self.remote {
            None => Ok(self.given.clone()),
            Some(remote) => remote.uri.fetch(folder),
        }
    }

    /// Fetches all of these that are in a store, so that a missing one is known before hours of
    /// computing.
    ///
    /// # Errors
    /// As [`InputPath::path`].
    pub fn fetch_all<'a>(inputs: impl IntoIterator<Item = &'a Self>) -> Result<(), StoreError> {
        inputs
            .into_iter()
            .try_for_each(|input| input.path().map(|_| ()))
    }
}

impl fmt::Display for InputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.given.display().fmt(f)
    }
}

impl Serialize for InputPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.given.serialize(serializer)
    }
}

/// Two are equal when the user wrote the same.
impl PartialEq for InputPath {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl ValueParserFactory for InputPath {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        OsStringValueParser::new()
            // clap shows the error alone, not its causes.
            .try_map(|given: OsString| InputPath::parse(given).map_err(|error| chain(&error)))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::cell::Cell;

    #[derive(Parser)]
    struct Args {
        #[arg(long)]
        features: InputPath,
        #[arg(long)]
        also: Vec<InputPath>,
    }

    fn parse(words: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(words.split(' '))
    }

    #[test]
    fn a_path_is_used_as_it_is() {
        let args = parse("x --features plain.npy").unwrap();
        assert_eq!(args.features.path().unwrap(), Path::new("plain.npy"));
        let error = args
            .features
            .read(|path| std::fs::read(path.join("missing")))
            .unwrap_err();
        assert!(
            !format!("{error:#}").starts_with("plain.npy"),
            "{error:#}: the reader names the path itself"
        );
    }

    #[test]
    fn an_object_is_fetched_once_and_removed_with_the_last_clone() {
        let args =
            parse("x --features s3://data/sets/f.npy --also=s3://data/f.npy --also a.npy").unwrap();
        let calls = Cell::new(0);
        let fetch = |uri: &ObjectUri, folder: &Path| {
            calls.set(calls.get() + 1);
            let path = folder.join(uri.key.rsplit('/').next().unwrap());
            std::fs::write(&path, "bytes").unwrap();
            Ok(path)
        };
        let clone = args.features.clone();
        let first = args.features.path_by(&fetch).unwrap().to_owned();
        assert_eq!(clone.path_by(&fetch).unwrap(), first);
        assert_eq!(calls.get(), 1);
        // Two objects of the same last name do not meet.
        assert_ne!(args.also[0].path_by(&fetch).unwrap(), first);
        drop(clone);
        assert!(first.exists());
        drop(args);
        assert!(!first.exists());
    }

    #[test]
    fn errors_and_results_name_what_the_user_wrote() {
        let input = parse("x --features s3://data/f.npy").unwrap().features;
        let fetched = |_: &ObjectUri, folder: &Path| Ok(folder.join("f.npy"));
        input.path_by(&fetched).unwrap();
        let error = input.read(|path| std::fs::read(path)).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("s3://data/f.npy: "),
            "{error:#}"
        );
        assert_eq!(
            serde_json::to_string(&input).unwrap(),
            r#""s3://data/f.npy""#
        );
    }

    #[test]
    fn a_wrong_uri_is_refused_while_parsing() {
        for (uri, expected) in [
            ("s3://data", "expected s3://bucket/key"),
            ("https://host/f.npy", "expected a path or s3://bucket/key"),
        ] {
            let error = parse(&format!("x --features {uri}")).err().unwrap();
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains(uri), "{text}");
        }
    }
}
