//! Connections to a system: the one named by the environment, else the one that runs in the home.

use crate::home::Home;
use anyhow::{Context, Result};
use cedm_contract::{Manifest, Service, manifest_key};
use cedm_runtime::{ConnectArgs, Connection, Written, create_only};
use clap::Parser;
use std::{os::unix::process::CommandExt, process::Command};

/// The variable that names a system.
const SYSTEM_VARIABLE: &str = "CEDM_NATS_URL";

/// Makes sure that the environment names a system. Credentials are passed only by the environment,
/// so that every program reads them in one way; a command that finds its system in a home therefore
/// executes itself again with the variables of `cedm env`.
///
/// # Errors
/// When no system is running.
pub fn ensure_system(home: &Home) -> Result<()> {
    if std::env::var_os(SYSTEM_VARIABLE).is_some() {
        return Ok(());
    }
    let endpoints = home.endpoints()?.filter(|_| home.is_up());
    let endpoints = endpoints.with_context(|| {
        let folder = home.path().display();
        format!(
            "no system is running in {folder}: start one with `cedm up`, name its folder with \
             --home, or set {SYSTEM_VARIABLE} (see `cedm env --help`)"
        )
    })?;
    let program = std::env::current_exe().context("find this program's own path")?;
    Err(Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(endpoints.environment(Service::Cli))
        .exec())
    .context("restart with the system's environment")
}

#[derive(Parser)]
struct Environment {
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Connects to the system that the environment names.
///
/// # Errors
/// When it cannot be reached.
pub async fn connect() -> Result<Connection> {
    let Environment { connect } = Environment::try_parse_from(["cedm"])
        .context("the environment does not name a complete system")?;
    let connection = Connection::open(&connect, "cli").await?;
    if let Some(problem) = connection.store_problem() {
        cedm_terminal::errln!("the store does not answer yet: {problem}");
    }
    Ok(connection)
}

/// Runs an async command to completion.
///
/// # Errors
/// Those of the command.
pub fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(command)
}

/// Commits a manifest by a create-only put; returns the manifest that is stored now, which may be
/// that of a concurrent writer.
///
/// # Errors
/// When the store fails.
pub async fn commit(connection: &Connection, manifest: Manifest) -> Result<Manifest> {
    let (store, key) = (connection.store(), manifest_key(&manifest.key));
    match create_only(store.as_ref(), &key, manifest.encode().into()).await? {
        Written::Ours => Ok(manifest),
        Written::Exists { bytes, .. } => {
            Manifest::decode(&bytes).with_context(|| format!("decode {key}"))
        }
    }
}
