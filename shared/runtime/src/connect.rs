//! The two connections of every process: NATS and the store.

mod auth;
mod link;
mod nats;

pub use nats::NatsArgs;

use crate::{
    RetryPolicy, RuntimeError,
    error::chain,
    queue::NatsQueue,
    store::{Leased, S3Settings, S3Store, Store, StoreError, StoreErrorKind, probe_create_only},
    streams::{self, Delivering, JetStream},
    worker_name,
};
use link::Link;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// At start, while servers and other processes start too: between two looks for a server, for
/// JetStream, for streams that another process creates, and between two tries of what a server that
/// has just started may refuse.
const START: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// How long a server that has just started may be without JetStream.
const JETSTREAM_START: Duration = Duration::from_secs(3);

/// Where NATS and the store are. Passwords and keys come from the environment
/// (`CEDM_NATS_PASSWORD`, the AWS chain), never from arguments, which show in process lists.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectArgs {
    /// Where NATS is and who connects.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// S3 endpoint, for stores other than AWS; keys come from the AWS chain (AWS_ACCESS_KEY_ID,
    /// …).
    #[arg(long, env = "CEDM_S3_ENDPOINT", hide_env_values = true)]
    pub s3_endpoint: Option<String>,
    /// Name of an existing S3 bucket.
    #[arg(long, env = "CEDM_S3_BUCKET", default_value = "cedm")]
    pub s3_bucket: String,
    /// Region of the S3 bucket; without it that of the AWS configuration.
    #[arg(long, env = "CEDM_S3_REGION")]
    pub s3_region: Option<String>,
    /// PEM file with the certificates of the authorities to trust instead of the system's, for an
    /// https endpoint.
    #[arg(long, env = "CEDM_S3_CA_FILE")]
    pub s3_ca_file: Option<PathBuf>,
    /// Access key id and secret of the store, where they do not come from the AWS chain.
    #[arg(skip)]
    pub s3_keys: Option<(String, String)>,
    /// Seconds without a progress acknowledgement after which a job is redelivered to another
    /// worker; the same for all processes.
    #[arg(long, env = "CEDM_ACK_WAIT_S", value_parser = seconds)]
    pub ack_wait_s: Option<Duration>,
    /// Guard commits by a lease in NATS, for a store without an atomic create-only put.
    #[arg(long, env = "CEDM_COMMIT_LEASE")]
    pub commit_lease: bool,
    /// Seconds to wait at start for NATS, the streams and the store.
    #[arg(long, env = "CEDM_CONNECT_TIMEOUT_S", default_value = "60", value_parser = seconds)]
    pub connect_timeout_s: Duration,
}

/// Seconds, with a fraction if need be.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Open connections to NATS and the store. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    pub(crate) queue: NatsQueue,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) delivering: Delivering,
    pub(crate) connected: watch::Receiver<bool>,
    pub(crate) link: Arc<Link>,
    pub(crate) timeout: Duration,
    pub(crate) store_problem: Option<String>,
}

impl Connection {
    /// Connects to both, waiting for them up to the time-out. `name` shows in NATS' monitoring and
    /// prefixes the inbox, which permissions name.
    ///
    /// # Errors
    /// When NATS cannot be reached in time or refuses the credentials, and at once when the
    /// settings of the store are wrong.
    pub async fn open(args: &ConnectArgs, name: &str) -> Result<Self, RuntimeError> {
        let settings = S3Settings {
            endpoint: args.s3_endpoint.clone(),
            bucket: args.s3_bucket.clone(),
            region: args.s3_region.clone(),
            ca_file: args.s3_ca_file.clone(),
        };
        let store = S3Store::open_with(&settings, args.s3_keys.clone()).await?;
        let problem = match store.check().await {
            Err(error) if error.kind == StoreErrorKind::Misconfigured => return Err(error.into()),
            Err(error) => Some(chain(&error)),
            Ok(()) => None,
        };
        if let Some(problem) = &problem {
            tracing::warn!(problem, "the store does not answer yet");
        }
        let connection = Self::with_store(args, name, Arc::new(store)).await?;
        Ok(Self {
            store_problem: problem,
            ..connection
        })
    }

    /// The same with another store.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn with_store(
        args: &ConnectArgs,
        name: &str,
        store: Arc<dyn Store>,
    ) -> Result<Self, RuntimeError> {
        let link = Arc::new(Link::default());
        let (is_connected, connected) = watch::channel(false);
        let (refusing, watched) = (link.clone(), link.clone());
        let client = args.nats.connect(
            name,
            args.connect_timeout_s,
            move |reason| refusing.refuse(reason),
            move |event| watched.note(&is_connected, event),
        );
        let client = client.await?;
        let delivering = Delivering::with_ack_wait(args.ack_wait_s);
        let queue = NatsQueue::new(
            client,
            &args.nats.api(),
            args.nats.names.clone(),
            delivering,
            connected.clone(),
        );
        check_jetstream(&queue, &args.nats).await?;
        let store = if args.commit_lease {
            Arc::new(Leased::new(store, queue.clone()))
        } else {
            store
        };
        Ok(Self {
            queue,
            store,
            delivering,
            connected,
            link,
            timeout: args.connect_timeout_s,
            store_problem: None,
        })
    }

    /// The object store of the installation.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Version of the NATS server that this process is connected to.
    pub fn server_version(&self) -> String {
        self.queue.client().server_info().version
    }

    /// Why the store did not answer when the connection was opened, for a person who waits.
    pub fn store_problem(&self) -> Option<&str> {
        self.store_problem.as_deref()
    }

    /// Whether NATS is connected; the receiver is notified of changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Creates the streams, buckets and consumers of `deploy/jetstream.toml`, or brings them up to
    /// date. Only a bootstrap identity may; safe to repeat and to run from several processes at
    /// once.
    ///
    /// # Errors
    /// When the server refuses one of them or cannot schedule messages, or when one of them belongs
    /// to another application; nothing is altered then.
    pub async fn ensure_streams(&self) -> Result<(), RuntimeError> {
        streams::ensure(&self.queue, self.delivering).await
    }

    /// The same at the start of a process, when JetStream may not be ready yet.
    ///
    /// # Errors
    /// When the server still refuses after the time-out.
    pub(crate) async fn ensure_streams_in_time(&self) -> Result<(), RuntimeError> {
        START
            .within(self.timeout)
            .retry(
                "create the streams",
                // Another application's streams and an old server stay what they are.
                |error: &RuntimeError| !matches!(error, RuntimeError::Other(_)),
                || self.ensure_streams(),
            )
            .await
    }

    /// Creates the streams again whenever the broker comes back, which may have lost everything;
    /// ends with the connection.
    pub(crate) async fn keep_streams(self) {
        let mut connected = self.connected();
        while connected.changed().await.is_ok() {
            if *connected.borrow_and_update() {
                // Without a connection it cannot succeed; the next connection starts another round.
                let is_connected = |_: &RuntimeError| *connected.borrow();
                let create = || self.ensure_streams();
                if let Err(error) = START
                    .retry("create the streams", is_connected, create)
                    .await
                {
                    tracing::debug!(error = %chain(&error), "the connection was lost before the \
                        streams were there");
                }
            }
        }
    }

    /// Waits until another process has created the streams.
    ///
    /// # Errors
    /// When they do not exist in time.
    pub async fn await_streams(&self) -> Result<(), RuntimeError> {
        let exist = || async {
            match streams::exist(&self.queue).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(RuntimeError::broker(
                    "find the streams",
                    std::io::Error::from(std::io::ErrorKind::NotFound),
                )),
                Err(error) => Err(error),
            }
        };
        let policy = START.within(self.timeout);
        let is_missing = |error: &RuntimeError| !matches!(error, RuntimeError::Other(_));
        match policy.retry("find the streams", is_missing, exist).await {
            Err(error) if is_missing(&error) => Err(anyhow::anyhow!(
                "the JetStream streams ({}, …) are still missing after {} s: is a coordinator running?",
                self.queue.names().stream(cedm_contract::JOBS_STREAM),
                self.timeout.as_secs()
            )
            .into()),
            found => found,
        }
    }

    /// Checks that the store answers and that exactly one of eight concurrent create-only writers
    /// wins.
    ///
    /// # Errors
    /// When it does not answer in time, or does not support what the protocol needs.
    pub async fn probe_store(&self) -> Result<(), RuntimeError> {
        let is_retryable = |error: &StoreError| error.kind == StoreErrorKind::Unavailable;
        let probe = || probe_create_only(&self.store);
        let policy = START.within(self.timeout);
        Ok(policy.retry("probe the store", is_retryable, probe).await?)
    }

    /// Sends what is buffered.
    pub async fn flush(&self) {
        if let Err(error) = self.queue.client().flush().await {
            tracing::warn!(error = %chain(&error), "NATS connection not flushed");
        }
    }

    /// Permission violations seen since the start, and the last one if it is younger than a minute.
    pub fn denied(&self) -> (u64, Option<String>) {
        self.link.denied()
    }

    /// For how long NATS has been refusing this process's credentials, and why; `None` while it
    /// does not.
    pub fn refusal(&self) -> Option<(Duration, String)> {
        self.link.refusal()
    }

    /// The same where it has lasted longer than a start would wait: the process cannot come back by
    /// itself.
    pub(crate) fn lasting_refusal(&self) -> Option<String> {
        let (since, reason) = self.refusal()?;
        (since >= self.timeout)
            .then(|| format!("no connection to NATS for {} s: {reason}", since.as_secs()))
    }
}

/// Fails where no JetStream answers; a server that has just started gets a moment.
async fn check_jetstream(queue: &NatsQueue, args: &NatsArgs) -> Result<(), RuntimeError> {
    let begun = Instant::now();
    let mut delays = START.delays(worker_name().as_bytes());
    loop {
        let reason = match streams::probe(queue).await {
            JetStream::Answers => return Ok(()),
            JetStream::Nobody if begun.elapsed() < JETSTREAM_START => {
                tokio::time::sleep(delays.next().unwrap_or_default()).await;
                continue;
            }
            JetStream::Nobody => format!("nobody answers at {}", args.api()),
            JetStream::Disabled(reason) => reason,
        };
        return Err(anyhow::anyhow!(
            "the NATS server at {} has no JetStream for this account ({reason}): start it with JetStream (`-js`, \
             or `jetstream` in its configuration), or set CEDM_NATS_DOMAIN where it is another server's",
            args.servers()
        )
        .into());
    }
}
