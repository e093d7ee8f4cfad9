//! The way to a system: the environment when it names one, else the one in the home.

use crate::home::Home;
use anyhow::{Context, Result};
use cedm_contract::{Manifest, Service, manifest_key};
use cedm_runtime::{ConnectArgs, Connection, store::Created};
use clap::Parser;
use std::{os::unix::process::CommandExt, process::Command};

/// The variable that says where a system is.
const WHERE: &str = "CEDM_NATS_URL";

/// Makes sure that the environment names a system. Credentials travel in the environment alone, so
/// that they are read in one way everywhere; a command in a home therefore becomes itself once
/// more, with the variables of `cedm env`.
///
/// # Errors
/// When there is no system to talk to.
pub fn find_system(home: &Home) -> Result<()> {
    if std::env::var_os(WHERE).is_some() {
        return Ok(());
    }
    let access = home.access()?.filter(|_| home.is_up());
    let access = access.with_context(|| {
        let folder = home.path().display();
        format!(
            "nothing runs in {folder}: start a system with `cedm up`, name its folder with \
             --home, or set {WHERE} (see `cedm env --help`)"
        )
    })?;
    let program = std::env::current_exe().context("find this program's own path")?;
    Err(Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(access.environment(Service::Cli))
        .exec())
    .context("start again with the system's environment")
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
    let Environment { connect } =
        Environment::try_parse_from(["cedm"]).context("the environment does not name a system")?;
    Ok(Connection::open(&connect, "cli").await?)
}

/// Runs an async command to its end.
///
/// # Errors
/// The command's.
pub fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(command)
}

/// Commits a manifest by a create-only put; returns whichever manifest stands there now.
///
/// # Errors
/// When the store fails.
pub async fn commit(connection: &Connection, manifest: Manifest) -> Result<Manifest> {
    let (store, key) = (connection.store(), manifest_key(&manifest.key));
    loop {
        match store.put_if_absent(&key, manifest.encode().into()).await? {
            Created::Yes => return Ok(manifest),
            Created::Conflict => continue,
            Created::Exists | Created::Unknown(_) => {
                if let Some(bytes) = store.get(&key).await? {
                    return Manifest::decode(&bytes).with_context(|| format!("read back {key}"));
                }
            }
        }
    }
}
