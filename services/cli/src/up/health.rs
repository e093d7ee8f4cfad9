//! Whether a child is ready: one small HTTP question on loopback.

use crate::up::process_table::ProcessTable;
use anyhow::{Result, bail};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// What a ready child answers.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The child.
    pub name: String,
    /// `127.0.0.1:<port>`.
    pub address: String,
    /// Path asked for; for a child without one (the store refuses strangers, loudly) a connection
    /// will do.
    pub path: Option<&'static str>,
}

/// Whether the child answers as it should; what it answered otherwise.
async fn ask(probe: &Probe) -> Result<(), String> {
    match probe.path {
        Some(path) => match status(&probe.address, path).await {
            Some(200) => Ok(()),
            Some(other) => Err(format!(
                "http://{}{path} answers HTTP {other}",
                probe.address
            )),
            None => Err(format!("http://{}{path} answers nothing", probe.address)),
        },
        None => {
            match time::timeout(Duration::from_secs(2), TcpStream::connect(&probe.address)).await {
                Ok(Ok(_)) => Ok(()),
                _ => Err(format!("{} takes no connection", probe.address)),
            }
        }
    }
}

/// HTTP status of `GET path`; `None` when there is no answer within two seconds.
pub async fn status(address: &str, path: &str) -> Option<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0u8; 12]; // "HTTP/1.1 200"
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head[9..]).ok()?.parse().ok()
    };
    time::timeout(Duration::from_secs(2), ask)
        .await
        .ok()
        .flatten()
}

/// Waits until every child is ready.
///
/// # Errors
/// When one was started again five times, or is not ready within `patience`; with the end of its
/// log.
pub async fn all_ready(
    probes: &[Probe],
    process_table: &ProcessTable,
    logs: &Path,
    patience: Duration,
) -> Result<()> {
    let end = Instant::now() + patience;
    for probe in probes {
        loop {
            let answer = ask(probe).await;
            if process_table.runs(&probe.name) && answer.is_ok() {
                break;
            }
            let log = logs.join(format!("{}.log", probe.name));
            if process_table.restarts(&probe.name) >= 5 {
                bail!(
                    "{} ends again and again; the end of {}:\n{}",
                    probe.name,
                    log.display(),
                    tail(&log)
                );
            }
            if Instant::now() > end {
                let (patience, answer) = (
                    humantime::format_duration(patience),
                    answer.err().unwrap_or_default(),
                );
                bail!(
                    "{} was not ready within {patience} ({answer}); the end of {}:\n{}",
                    probe.name,
                    log.display(),
                    tail(&log)
                );
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The last lines of a log, without backtraces.
fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.is_empty()
            || line.starts_with("at ")
            || line.starts_with("Stack backtrace")
            || line
                .split_once(':')
                .is_some_and(|(n, _)| n.parse::<u32>().is_ok())
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_frame(line)).collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
