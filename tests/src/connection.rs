//! Connections to a system's broker and store, as its own programs have them.

use crate::System;
use anyhow::{Context, Result};
use cedm_contract::{Event, Kind, MANIFEST_PREFIX, Manifest};
use cedm_runtime::{ConnectArgs, Connection, EventFilter, NatsArgs, past_events};
use std::time::Duration;

impl System {
    /// Runs `work` with a connection to the system.
    ///
    /// # Errors
    /// When the connection cannot be opened, or `work` fails.
    pub fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let environment = self.run_json(&["up"])?["environment"].clone();
        let variable = |name: &str| {
            let value = environment[name].as_str();
            value
                .map(str::to_owned)
                .with_context(|| format!("`cedm up` does not print {name}"))
        };
        let args = ConnectArgs {
            nats: NatsArgs {
                url: variable("CEDM_NATS_URL")?,
                user: Some(variable("CEDM_NATS_USER")?),
                password: Some(variable("CEDM_NATS_PASSWORD")?),
                ..NatsArgs::default()
            },
            s3_endpoint: Some(variable("CEDM_S3_ENDPOINT")?),
            s3_bucket: variable("CEDM_S3_BUCKET")?,
            s3_region: Some(variable("CEDM_S3_REGION")?),
            s3_ca_file: None,
            s3_keys: Some((
                variable("AWS_ACCESS_KEY_ID")?,
                variable("AWS_SECRET_ACCESS_KEY")?,
            )),
            ack_wait_s: None,
            commit_lease: false,
            connect_timeout_s: Duration::from_secs(60),
        };
        let runtime = tokio::runtime::Runtime::new().context("start an async runtime")?;
        runtime.block_on(async {
            let connection = Connection::open(&args, "cli").await?;
            work(&connection).await
        })
    }

    /// The manifests of one kind of job that can be read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn manifests(&self, kind: Kind) -> Result<Vec<Manifest>> {
        self.with_connection(async |connection| manifests(connection, Some(kind)).await)
    }

    /// Every event in the broker's stream, oldest first.
    ///
    /// # Errors
    /// When the broker cannot be read.
    pub fn events(&self) -> Result<Vec<Event>> {
        self.with_connection(async |connection| {
            Ok(past_events(connection, &EventFilter::default()).await?)
        })
    }
}

/// The manifests of one kind of job, or of all, that can be read.
///
/// # Errors
/// When the store cannot be read.
pub async fn manifests(connection: &Connection, kind: Option<Kind>) -> Result<Vec<Manifest>> {
    let (store, mut found) = (connection.store(), Vec::new());
    for listed in store.list(MANIFEST_PREFIX).await? {
        let bytes = store.get(&listed.key).await?;
        let bytes = bytes.with_context(|| format!("{} is listed, and missing", listed.key))?;
        found.extend(Manifest::decode(&bytes));
    }
    found.retain(|manifest| kind.is_none_or(|kind| manifest.kind() == kind));
    Ok(found)
}
