//! Whether a child is ready: one small HTTP question on loopback.

use crate::up::board::Board;
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
    /// Path asked for.
    pub path: &'static str,
    /// Whether any answer will do (a store refuses strangers, and is ready all the same).
    pub any_status: bool,
}

/// HTTP status of `GET path`; `None` when there is no answer within two seconds.
pub async fn status(address: &str, path: &str) -> Option<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0u8; 12]; // "HTTP/1.1 200"
        stream.read_exact(&mut head).await.ok()?;
        std::str::from_utf8(&head[9..]).ok()?.parse().ok()
    };
    time::timeout(Duration::from_secs(2), ask).await.ok().flatten()
}

/// Waits until every child is ready.
///
/// # Errors
/// When one was started again five times, or is not ready within `patience`; with the end of its log.
pub async fn all_ready(probes: &[Probe], board: &Board, logs: &Path, patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    for probe in probes {
        loop {
            let found = status(&probe.address, probe.path).await;
            if board.runs(&probe.name) && found.is_some_and(|status| probe.any_status || status == 200) {
                break;
            }
            let log = logs.join(format!("{}.log", probe.name));
            if board.restarts(&probe.name) >= 5 {
                bail!("{} ends again and again; the end of {}:\n{}", probe.name, log.display(), tail(&log));
            }
            if Instant::now() > end {
                let answer = found.map_or("nothing".to_owned(), |status| format!("HTTP {status}"));
                let asked = format!("http://{}{}", probe.address, probe.path);
                bail!(
                    "{} was not ready within {} ({asked} answers {answer}); the end of {}:\n{}",
                    probe.name,
                    humantime::format_duration(patience),
                    log.display(),
                    tail(&log)
                );
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The last fifteen lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
