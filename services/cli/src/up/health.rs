//! Readiness of children: one small HTTP request on loopback each.

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

/// How to find out whether a child is ready.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The child's name in the process table.
    pub name: String,
    /// Where its health endpoint listens, `127.0.0.1:<port>`.
    pub address: String,
    /// Path that answers 200 once the child is ready. `None` for the store, which logs a warning
    /// for every request without credentials: there, an accepted connection is enough.
    pub path: Option<&'static str>,
}

/// Ok when the child is ready, else a description of its answer.
async fn check(probe: &Probe) -> Result<(), String> {
    match probe.path {
        Some(path) => match answer(&probe.address, path).await {
            Some((200, _)) => Ok(()),
            Some((other, _)) => Err(format!(
                "http://{}{path} answers with HTTP status {other}",
                probe.address
            )),
            None => Err(format!("http://{}{path} does not answer", probe.address)),
        },
        None => {
            match time::timeout(Duration::from_secs(2), TcpStream::connect(&probe.address)).await {
                Ok(Ok(_)) => Ok(()),
                _ => Err(format!("{} does not accept connections", probe.address)),
            }
        }
    }
}

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 4096;

/// HTTP status and body of `GET path`; `None` when there is no answer within two seconds.
pub async fn answer(address: &str, path: &str) -> Option<(u16, String)> {
    let request = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // What came before the connection broke off may be enough.
        let _ = stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Some((status, body.to_owned()))
    };
    time::timeout(Duration::from_secs(2), request)
        .await
        .ok()
        .flatten()
}

/// Waits until every child is ready.
///
/// # Errors
/// When a child was restarted five times, or is not ready within `timeout`; with the end of its
/// log.
pub async fn all_ready(
    probes: &[Probe],
    process_table: &ProcessTable,
    logs: &Path,
    timeout: Duration,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    for probe in probes {
        loop {
            let answer = check(probe).await;
            if process_table.is_running(&probe.name) && answer.is_ok() {
                break;
            }
            let log = logs.join(format!("{}.log", probe.name));
            if process_table.restarts(&probe.name) >= 5 {
                bail!(
                    "{} exits repeatedly; the end of {}:\n{}",
                    probe.name,
                    log.display(),
                    tail(&log)
                );
            }
            if Instant::now() > deadline {
                let (timeout, answer) = (
                    humantime::format_duration(timeout),
                    answer.err().unwrap_or_default(),
                );
                bail!(
                    "{} was not ready within {timeout} ({answer}); the end of {}:\n{}",
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
