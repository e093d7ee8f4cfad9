//! `cedm-store`: the embedded S3 store of one machine.

#![forbid(unsafe_code)]

use anyhow::Context;
use cedm_store::{Folder, Keys, serve};
use clap::{Parser, Subcommand};
use std::{io::Read, net::SocketAddr, path::PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// A small S3 store over a folder, for one machine. It knows put (also create-only), get, head,
/// delete, list and multipart uploads; every object appears whole or not at all.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Serves a folder until SIGTERM or Ctrl-C.
    Serve {
        /// Folder of the store; created when missing.
        #[arg(long)]
        root: PathBuf,
        /// Address to listen on; port 0 takes a free one. The first line on stdout names the
        /// address.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Buckets to create at the start.
        #[arg(long = "bucket", env = "CEDM_S3_BUCKET", value_delimiter = ',')]
        buckets: Vec<String>,
        /// Access key of the only client let in.
        #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
        access_key: String,
        /// Its secret, from the environment only: arguments show in process lists.
        #[arg(skip)]
        secret_key: (),
        /// Ends when standard input closes, that is, with the process that started this one.
        #[arg(long)]
        exit_with_parent: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("CEDM_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let Mode::Serve {
        root,
        listen,
        buckets,
        access_key,
        secret_key: (),
        exit_with_parent,
    } = Args::parse().mode;
    let secret = std::env::var("AWS_SECRET_ACCESS_KEY")
        .context("AWS_SECRET_ACCESS_KEY must hold the secret of the only client")?;
    let folder =
        Folder::open(&root).with_context(|| format!("open store in {}", root.display()))?;
    for bucket in &buckets {
        folder
            .create_bucket(bucket)
            .map_err(|error| anyhow::anyhow!("create bucket `{bucket}`: {error}"))?;
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}"))?;
    println!("http://{}", listener.local_addr()?);
    tracing::info!(service = "store", address = %listener.local_addr()?, root = %root.display(), "serving");
    if exit_with_parent {
        std::thread::spawn(|| {
            // Whatever ends the read, the parent is gone.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
    }
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        served = serve(folder, Keys { access: access_key, secret }, listener) => served.context("serve"),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
