//! Small shared state with compare-and-set: sweeps, workers, leases. All of it can be rebuilt from
//! the store.

use crate::{
    Connection, RuntimeError,
    queue::NatsQueue,
    undecodable::{Place, undecodable},
};
use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use bytes::Bytes;
use cedm_contract::Heartbeat;
use futures::{Stream, StreamExt, TryStreamExt};

/// Name of the bucket of active sweeps.
pub const SWEEPS: &str = "sweeps";
/// Heartbeats of running workers.
pub const WORKERS: &str = "workers";
/// Who holds what for a short while.
pub const LEASES: &str = "leases";

/// What all processes of an installation have to agree on: the coordinator's store.
pub const SYSTEM: &str = "system";

/// Handle of one JetStream key-value bucket.
#[derive(Clone)]
pub struct Bucket {
    name: &'static str,
    kv: kv::Store,
}

/// An entry and the revision that a compare-and-set names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key of the entry in the bucket.
    pub key: String,
    /// Its bytes; `None` after a removal (in a watch only).
    pub value: Option<Bytes>,
    /// Revision of the entry, which an update must name.
    pub revision: u64,
}

impl Bucket {
    /// Opens one of [`SWEEPS`], [`WORKERS`], [`LEASES`], [`SYSTEM`].
    ///
    /// # Errors
    /// When NATS fails or the bucket does not exist.
    pub async fn open(connection: &Connection, name: &'static str) -> Result<Self, RuntimeError> {
        Self::open_in(&connection.queue, name).await
    }

    pub(crate) async fn open_in(
        queue: &NatsQueue,
        name: &'static str,
    ) -> Result<Self, RuntimeError> {
        let bucket = queue.names().bucket(name);
        let kv = queue.context().get_key_value(bucket).await;
        Ok(Self {
            name,
            kv: kv.map_err(|error| RuntimeError::broker(format!("open bucket {name}"), error))?,
        })
    }

    /// The entry, if there is one.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, RuntimeError> {
        let entry = self
            .kv
            .entry(key)
            .await
            .map_err(|error| self.failed("read", key, error))?;
        Ok(entry
            .filter(|entry| entry.operation == kv::Operation::Put)
            .map(convert))
    }

    /// Writes an entry, whatever was there; its revision.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<u64, RuntimeError> {
        self.kv
            .put(key, value.into())
            .await
            .map_err(|error| self.failed("write", key, error))
    }

    /// Writes an entry that must not exist; its revision.
    ///
    /// # Errors
    /// [`RuntimeError::Conflict`] when it exists.
    pub async fn create(&self, key: &str, value: impl Into<Bytes>) -> Result<u64, RuntimeError> {
        match self.kv.create(key, value.into()).await {
            Ok(revision) => Ok(revision),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Err(self.conflict(key)),
            Err(error) => Err(self.failed("create", key, error)),
        }
    }

    /// Writes an entry that must still have this revision; the new one.
    ///
    /// # Errors
    /// [`RuntimeError::Conflict`] when it has another.
    pub async fn update(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        revision: u64,
    ) -> Result<u64, RuntimeError> {
        match self.kv.update(key, value.into(), revision).await {
            Ok(revision) => Ok(revision),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(self.conflict(key))
            }
            Err(error) => Err(self.failed("update", key, error)),
        }
    }

    /// Removes an entry; a missing one is no error.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn remove(&self, key: &str) -> Result<(), RuntimeError> {
        self.kv
            .purge(key)
            .await
            .map_err(|error| self.failed("remove", key, error))
    }

    /// Removes an entry that must still have this revision: it may have expired, and belong to
    /// another process by now.
    ///
    /// # Errors
    /// When NATS fails, or it has another.
    pub(crate) async fn remove_own(&self, key: &str, revision: u64) -> Result<(), RuntimeError> {
        let removed = self.kv.purge_expect_revision(key, Some(revision)).await;
        removed.map_err(|error| self.failed("remove", key, error))
    }

    /// Every entry.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn entries(&self) -> Result<Vec<Entry>, RuntimeError> {
        let keys = self
            .kv
            .keys()
            .await
            .map_err(|error| self.failed("list", "*", error))?;
        let keys: Vec<String> = keys
            .try_collect()
            .await
            .map_err(|error| self.failed("list", "*", error))?;
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            // Below the bucket's subjects anything can be published; the client refuses to ask for
            // it.
            if !is_valid_key(&key) {
                self.undecodable(&key, 0, "its key is not one of this bucket");
                continue;
            }
            entries.extend(self.get(&key).await?);
        }
        Ok(entries)
    }

    /// Says that an entry is not what the bucket holds.
    pub(crate) fn undecodable(&self, key: &str, revision: u64, reason: &str) {
        let place = match self.name {
            SWEEPS => Place::SweepEntries,
            LEASES => Place::Leases,
            _ => Place::Heartbeats,
        };
        undecodable(place, &format!("{key} ({revision})"), reason);
    }

    /// Every change from now on. The stream may end or err when the connection is lost: read the
    /// entries and watch again.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<Entry, RuntimeError>> + Send + Unpin + use<>, RuntimeError>
    {
        let watch = self
            .kv
            .watch_all()
            .await
            .map_err(|error| self.failed("watch", "*", error))?;
        let name = self.name;
        Ok(watch.map(move |entry| {
            entry
                .map(convert)
                .map_err(|error| RuntimeError::broker(format!("watch bucket {name}"), error))
        }))
    }

    fn failed(
        &self,
        action: &str,
        key: &str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> RuntimeError {
        RuntimeError::broker(format!("{action} `{key}` in bucket {}", self.name), error)
    }

    fn conflict(&self, key: &str) -> RuntimeError {
        RuntimeError::Conflict {
            bucket: self.name,
            key: key.to_owned(),
        }
    }
}

/// Whether the client takes this text for the key of an entry.
fn is_valid_key(key: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-/_=.".contains(c);
    !key.is_empty() && !key.starts_with('.') && !key.ends_with('.') && key.chars().all(is_allowed)
}

fn convert(entry: kv::Entry) -> Entry {
    let value = (entry.operation == kv::Operation::Put).then_some(entry.value);
    Entry {
        key: entry.key,
        value,
        revision: entry.revision,
    }
}

/// The last heartbeats of all workers that are up, by worker name.
///
/// # Errors
/// When NATS fails.
pub async fn workers(connection: &Connection) -> Result<Vec<Heartbeat>, RuntimeError> {
    let bucket = Bucket::open(connection, WORKERS).await?;
    let entries = bucket.entries().await?;
    let mut heartbeats: Vec<Heartbeat> = entries
        .iter()
        .filter_map(|entry| {
            heartbeat(entry)
                .inspect_err(|reason| bucket.undecodable(&entry.key, entry.revision, reason))
                .ok()
        })
        .collect();
    heartbeats.sort_by(|a, b| a.worker.cmp(&b.worker));
    Ok(heartbeats)
}

fn heartbeat(entry: &Entry) -> Result<Heartbeat, String> {
    let bytes = entry.value.as_deref().unwrap_or_default();
    let heartbeat: Heartbeat = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
    if heartbeat.worker == entry.key {
        Ok(heartbeat)
    } else {
        Err(format!("the heartbeat is that of `{}`", heartbeat.worker))
    }
}
