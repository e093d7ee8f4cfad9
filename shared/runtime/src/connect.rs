//! The two connections of every process: NATS and the store.

use crate::{
    RetryPolicy, RuntimeError,
    error::chain,
    queue::NatsQueue,
    store::{Leased, S3Settings, S3Store, Store, StoreError, StoreErrorKind, probe_create_only},
    streams::{self, Delivering},
};
use anyhow::Context as _;
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, Event};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Between two looks for a server, or for streams that another process creates.
const CONNECT: RetryPolicy = RetryPolicy::every(Duration::from_millis(200));
/// Between two tries of what a server that has just started may refuse.
const SET_UP: RetryPolicy = RetryPolicy::every(Duration::from_millis(500));

/// Where NATS and the store are. Passwords and keys come from the environment
/// (`CEDM_NATS_PASSWORD`, the AWS chain), never from arguments, which show in process lists.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectArgs {
    /// NATS server.
    #[arg(long, env = "CEDM_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    pub nats_url: String,
    /// NATS user; its password is read from CEDM_NATS_PASSWORD.
    #[arg(long, env = "CEDM_NATS_USER")]
    pub nats_user: Option<String>,
    /// The password, where it does not come from the environment.
    #[arg(skip)]
    pub nats_password: Option<String>,
    /// NATS credentials file (JWT and seed), instead of a user.
    #[arg(long, env = "CEDM_NATS_CREDS")]
    pub nats_creds: Option<PathBuf>,
    /// S3 endpoint, for stores other than AWS; keys come from the AWS chain (AWS_ACCESS_KEY_ID,
    /// …).
    #[arg(long, env = "CEDM_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// S3 bucket.
    #[arg(long, env = "CEDM_S3_BUCKET", default_value = "cedm")]
    pub s3_bucket: String,
    /// S3 region.
    #[arg(long, env = "CEDM_S3_REGION")]
    pub s3_region: Option<String>,
    /// Access key id and secret of the store, where they do not come from the AWS chain.
    #[arg(skip)]
    pub s3_keys: Option<(String, String)>,
    /// Seconds without a progress acknowledgement after which a job is redelivered to another
    /// worker; the same for all processes.
    #[arg(long, env = "CEDM_ACK_WAIT_S", value_parser = seconds)]
    pub ack_wait_s: Option<Duration>,
    /// Guards commits by a lease in NATS, for a store without an atomic create-only put.
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

/// What is known about the connection to NATS.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Permission violations since the start: they show as time-outs elsewhere, and here by name.
    pub denied: AtomicU64,
    /// The last of them.
    pub last_denied: std::sync::Mutex<Option<(std::time::Instant, String)>>,
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
}

impl Connection {
    /// Connects to both, waiting for them up to the time-out. `name` shows in NATS' monitoring and
    /// prefixes the inbox, which permissions name.
    ///
    /// # Errors
    /// When NATS cannot be reached in time or refuses the credentials.
    pub async fn open(args: &ConnectArgs, name: &str) -> Result<Self, RuntimeError> {
        let settings = S3Settings {
            endpoint: args.s3_endpoint.clone(),
            bucket: args.s3_bucket.clone(),
            region: args.s3_region.clone(),
        };
        Self::with_store(
            args,
            name,
            Arc::new(S3Store::open_with(&settings, args.s3_keys.clone()).await),
        )
        .await
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
        let watched = link.clone();
        let mut options = ConnectOptions::new()
            .name(format!("cedm-{name}"))
            .custom_inbox_prefix(format!("_INBOX_{name}"))
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(10)))
            .ping_interval(Duration::from_secs(10))
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis((100 * attempt as u64).min(1000))
            })
            .event_callback(move |event| {
                note(&watched, &is_connected, &event);
                std::future::ready(())
            });
        if let Some(file) = &args.nats_creds {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read NATS credentials {}", file.display()))?;
            options = options
                .credentials(&text)
                .with_context(|| format!("NATS credentials {}", file.display()))?;
        } else if let Some(user) = &args.nats_user {
            let password = match &args.nats_password {
                Some(password) => password.clone(),
                None => std::env::var("CEDM_NATS_PASSWORD")
                    .context("a NATS user is given, but CEDM_NATS_PASSWORD is not set")?,
            };
            options = options.user_and_password(user.clone(), password);
        }
        let action = format!("connect to {}", args.nats_url);
        let client = CONNECT
            .within(args.connect_timeout_s)
            .retry(
                &action,
                |error: &ConnectError| error.kind() != ConnectErrorKind::AuthorizationViolation,
                || options.clone().connect(args.nats_url.as_str()),
            )
            .await
            .map_err(|error| RuntimeError::broker(action, error))?;
        let js = async_nats::jetstream::new(client.clone());
        let delivering = Delivering::with_ack_wait(args.ack_wait_s);
        let store = if args.commit_lease {
            Arc::new(Leased::new(store, js.clone()))
        } else {
            store
        };
        Ok(Self {
            queue: NatsQueue::new(client, js, connected.clone()),
            store,
            delivering,
            connected,
            link,
            timeout: args.connect_timeout_s,
        })
    }

    /// The object store of the installation.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
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
    /// When the server refuses one of them or cannot schedule messages, or when one of them belongs to
    /// another application; nothing is altered then.
    pub async fn ensure_streams(&self) -> Result<(), RuntimeError> {
        streams::ensure(self.queue.context(), self.delivering).await
    }

    /// The same at the start of a process, when JetStream may not be ready yet.
    ///
    /// # Errors
    /// When the server still refuses after the time-out.
    pub(crate) async fn ensure_streams_in_time(&self) -> Result<(), RuntimeError> {
        SET_UP
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
                if let Err(error) = SET_UP
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
            if streams::exist(self.queue.context()).await {
                return Ok(());
            }
            Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "the JetStream streams do not exist",
            ))
        };
        let policy = CONNECT.within(self.timeout);
        let found = policy.retry("find the streams", |_| true, exist).await;
        found.map_err(|_| {
            let waited = self.timeout.as_secs();
            RuntimeError::Other(anyhow::anyhow!(
                "the JetStream streams are still missing after {waited} s: is a coordinator \
                 running?"
            ))
        })
    }

    /// Checks that the store answers and that exactly one of eight concurrent create-only writers
    /// wins.
    ///
    /// # Errors
    /// When it does not answer in time, or does not support what the protocol needs.
    pub async fn probe_store(&self) -> Result<(), RuntimeError> {
        let is_retryable = |error: &StoreError| error.kind == StoreErrorKind::Unavailable;
        let probe = || probe_create_only(&self.store);
        let policy = SET_UP.within(self.timeout);
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
        let last = self
            .link
            .last_denied
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let recent = last
            .as_ref()
            .filter(|(at, _)| at.elapsed() < Duration::from_secs(60))
            .map(|(_, text)| text.clone());
        (self.link.denied.load(Ordering::Relaxed), recent)
    }
}

fn note(link: &Link, is_connected: &watch::Sender<bool>, event: &Event) {
    match event {
        Event::Connected => {
            is_connected.send_replace(true);
        }
        Event::Disconnected | Event::Closed => {
            is_connected.send_replace(false);
        }
        _ => {}
    }
    let text = event.to_string();
    if text.to_lowercase().contains("permissions violation") {
        link.denied.fetch_add(1, Ordering::Relaxed);
        *link
            .last_denied
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some((std::time::Instant::now(), text.clone()));
        tracing::error!(event = %text, "NATS denies a permission; the request that needed it will \
            time out");
    } else {
        tracing::info!(event = %text, "NATS connection");
    }
}
