//! `cedm-store`: the embedded object store for one machine.

#![forbid(unsafe_code)]

use anyhow::Context;
use cedm_store::{Folder, Keys, Policy, serve};
use clap::{Parser, Subcommand};
use std::{io::Read, net::SocketAddr, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// An S3-compatible object store in a folder, for one machine. It supports put (with If-None-Match:
/// *), get, head, delete, list and multipart upload; puts are atomic.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Serve a folder until SIGTERM or Ctrl-C.
    Serve {
        /// Folder of the store; created when it does not exist.
        #[arg(long)]
        root: PathBuf,
        /// Address to listen on; port 0 chooses a free port. The first line on stdout is the URL.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Buckets to create at start.
        #[arg(long = "bucket", env = "CEDM_S3_BUCKET", value_delimiter = ',')]
        buckets: Vec<String>,
        /// Identities with their keys and rights: a JSON file of mode 0600.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// Without a policy: the access key id that clients must use, with all rights; its secret
        /// is read from AWS_SECRET_ACCESS_KEY.
        #[arg(
            long,
            env = "AWS_ACCESS_KEY_ID",
            hide_env_values = true,
            required_unless_present = "policy"
        )]
        access_key: Option<String>,
        /// The secret is read from AWS_SECRET_ACCESS_KEY only: arguments are visible in process
        /// lists.
        #[arg(skip)]
        secret_key: (),
        /// Refuse objects that would leave less than this many bytes free on the disk.
        #[arg(long, default_value = "0")]
        reserve_bytes: u64,
        /// Exit when standard input closes, that is, with the process that started this one.
        #[arg(long)]
        exit_with_parent: bool,
    },
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-store", outcome)
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("CEDM_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(cedm_terminal::LogLines::json)
        .init();
    let Mode::Serve {
        root,
        listen,
        buckets,
        policy,
        access_key,
        secret_key: (),
        reserve_bytes,
        exit_with_parent,
    } = cedm_terminal::arguments::<Args>().mode;
    let policy = match policy {
        Some(file) => Policy::load(&file)?,
        None => one_key_pair(access_key)?,
    };
    let folder = Folder::open(&root)
        .with_context(|| format!("open the store in {}", root.display()))?
        .with_reserve(reserve_bytes);
    for bucket in &buckets {
        folder
            .create_bucket(bucket)
            .map_err(|error| anyhow::anyhow!("create bucket `{bucket}`: {error}"))?;
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    cedm_terminal::outln!("http://{}", listener.local_addr()?);
    tracing::info!(service = "store", address = %listener.local_addr()?, root = %root.display(), "serving");
    if exit_with_parent {
        std::thread::spawn(|| {
            // However the read ends, the parent is gone.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
    }
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        served = serve(folder, policy, listener) => served.context("serve"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// The policy of a store with one key pair.
fn one_key_pair(access_key: Option<String>) -> anyhow::Result<Policy> {
    let access = access_key.context("neither a policy nor an access key is given")?;
    let secret = std::env::var("AWS_SECRET_ACCESS_KEY").context(
        "AWS_SECRET_ACCESS_KEY is not set: it must hold the secret that belongs to the access key",
    )?;
    Ok(Keys { access, secret }.into())
}
