//! Looks at the store of a running process from time to time: whether it answers, and whether it is
//! the coordinator's. Both show in `/readyz`; a process with another store ends.

use crate::{
    Bucket, Connection, Health, RuntimeError, SYSTEM,
    drain::Drain,
    error::chain,
    store::{StoreError, StoreErrorKind, ensure_identity, identity},
};
use cedm_contract::IDENTITY_KEY;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use ulid::Ulid;

/// Between two looks: one small object each.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the store may take to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take to say which store is the coordinator's.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// The entry of the bucket [`SYSTEM`] that holds the id of the coordinator's store.
const STORE_ENTRY: &str = "store";

/// What is known about the store of this process.
pub(crate) struct StoreWatch {
    connection: Connection,
    health: Health,
    drain: Drain,
    /// Whether this process says which store is the right one.
    is_bootstrap: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The id of this process's store, once it was read; a store may have none.
    own: Option<Option<Ulid>>,
    /// The coordinator's, once it was read.
    expected: Option<Ulid>,
    /// Why this process must not go on.
    refusal: Option<RuntimeError>,
}

impl StoreWatch {
    pub(crate) fn new(
        connection: Connection,
        health: Health,
        drain: Drain,
        is_bootstrap: bool,
    ) -> Self {
        Self {
            connection,
            health,
            drain,
            is_bootstrap,
            known: Mutex::default(),
        }
    }

    /// The id of this process's store as it was last read; `None` while it was not, or has none.
    pub(crate) fn own(&self) -> Option<Ulid> {
        self.known().own.flatten()
    }

    /// Why the process must not go on, if there is a reason; to be taken once.
    pub(crate) fn refusal(&self) -> Option<RuntimeError> {
        self.known().refusal.take()
    }

    /// Reads the id of the store and that of the coordinator's store; the coordinator itself sets
    /// the latter where it is not set.
    ///
    /// # Errors
    /// [`RuntimeError::OtherStore`] when they differ; otherwise when store or broker do not answer.
    pub(crate) async fn check(&self) -> Result<(), RuntimeError> {
        let own = self.read_own().await?;
        if self.is_bootstrap
            && let Some(own) = own
        {
            let bucket = Bucket::open(&self.connection, SYSTEM).await?;
            match bucket.create(STORE_ENTRY, own.to_string()).await {
                Err(RuntimeError::Conflict { .. }) => {}
                set => return set.map(|_| ()),
            }
        }
        // While nobody has said which store is the right one, any is. A broker that does not answer
        // takes nothing back.
        match self.read_expected().await {
            Some(expected) if own != Some(expected) => {
                // The coordinator may have started between the two looks: it writes the id into the
                // store first.
                let found = self.read_own().await?;
                if found == Some(expected) {
                    return Ok(());
                }
                Err(RuntimeError::OtherStore { found, expected })
            }
            _ => Ok(()),
        }
    }

    /// The same, with what follows: its result shows in `/readyz`, and another store than the
    /// coordinator's begins the drain. Whether the store answered.
    pub(crate) async fn look(&self) -> bool {
        let checked = self.check().await;
        let reason = match &checked {
            Ok(()) => None,
            Err(RuntimeError::Store(error)) => Some(chain(error)),
            Err(error @ RuntimeError::OtherStore { .. }) => Some(chain(error)),
            // Readiness shows the broker by itself.
            Err(_) => None,
        };
        self.health.set_reason("store look", reason);
        let has_answered = !matches!(checked, Err(RuntimeError::Store(_)));
        if let Err(error @ RuntimeError::OtherStore { .. }) = checked {
            tracing::error!(error = %chain(&error), "no job is performed any more");
            self.known().refusal = Some(error);
            self.drain.begin();
        }
        has_answered
    }

    /// Looks again and again until the drain begins.
    pub(crate) async fn watch(&self) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looking = async {
            loop {
                tick.tick().await;
                self.look().await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.drain.begun() => {}
        }
    }

    async fn read_own(&self) -> Result<Option<Ulid>, RuntimeError> {
        let store = self.connection.store.as_ref();
        let read = async {
            match self.is_bootstrap {
                true => ensure_identity(store).await,
                false => identity(store).await,
            }
        };
        let own = timeout(LOOK_TIMEOUT, read).await.unwrap_or_else(|_| {
            let waited = LOOK_TIMEOUT.as_secs();
            let reason = format!("no answer within {waited} s");
            Err(StoreError::new(
                "get",
                IDENTITY_KEY,
                StoreErrorKind::Unavailable,
                reason,
            ))
        })?;
        self.known().own = Some(own);
        Ok(own)
    }

    /// The coordinator's store, as it is now or was last known.
    async fn read_expected(&self) -> Option<Ulid> {
        let read = async {
            let bucket = Bucket::open(&self.connection, SYSTEM).await?;
            bucket.get(STORE_ENTRY).await
        };
        let mut expected = self.known().expected;
        if let Ok(Ok(entry)) = timeout(ASK_TIMEOUT, read).await {
            let text = entry.and_then(|entry| entry.value);
            let text = text.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
            expected = text.and_then(|text| text.parse().ok());
        }
        self.known().expected = expected;
        expected
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
