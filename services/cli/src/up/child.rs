//! One supervised child: started, watched, started again, stopped.

use crate::{
    home::{Child, Process},
    up::process_table::ProcessTable,
};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{process::Command, sync::watch, time};

/// Log files above this are set aside once, as `<name>.log.1`, when their child is first started.
const LOG_LIMIT_BYTES: u64 = 32 << 20;
/// First delay before a restart; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest delay before a restart.
const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// A child that ran this long starts its delays anew.
const STEADY: Duration = Duration::from_secs(30);

/// When a child is stopped, counted down: workers drain while broker and store are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing stops.
    Run,
    /// Workers and the coordinator.
    Services,
    /// NATS, the store, Prometheus.
    Ground,
}

/// How to start a child.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name in `cedm status` and of its log.
    pub name: String,
    /// Program.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// Environment beside the inherited one.
    pub environment: Vec<(String, String)>,
    /// Where its health can be asked.
    pub metrics: Option<String>,
    /// At which stage it stops.
    pub stops_at: Stage,
    /// How long it may take to stop.
    pub grace: Duration,
}

/// Keeps the child running until its stage comes, then stops it.
///
/// # Errors
/// When its log cannot be opened; a program that fails to start is retried like one that crashed.
pub async fn supervise(
    recipe: Recipe,
    logs: PathBuf,
    process_table: Rc<ProcessTable>,
    mut stage: watch::Receiver<Stage>,
) -> Result<()> {
    let log = logs.join(format!("{}.log", recipe.name));
    set_aside(&log)?;
    let mut entry = Child {
        name: recipe.name.clone(),
        process: None,
        restarts: 0,
        metrics: recipe.metrics.clone(),
        log: log.clone(),
    };
    let mut delay = BACKOFF_FIRST;
    loop {
        if *stage.borrow() >= recipe.stops_at {
            break;
        }
        let began = Instant::now();
        let end = match start(&recipe, &log) {
            Err(error) => format!("{error:#}"),
            Ok(mut child) => {
                // Held for the child's whole life: its end of file tells the child that the
                // supervisor is gone.
                let lifeline = child.stdin.take();
                entry.process = child.id().and_then(Process::of);
                process_table.show(entry.clone());
                let end = tokio::select! {
                    status = child.wait() => describe(status),
                    () = reached(&mut stage, recipe.stops_at) => {
                        stop(&entry, &mut child, recipe.grace).await;
                        String::new()
                    }
                };
                drop(lifeline);
                entry.process = None;
                process_table.show(entry.clone());
                end
            }
        };
        if *stage.borrow() >= recipe.stops_at {
            break;
        }
        delay = if began.elapsed() >= STEADY {
            BACKOFF_FIRST
        } else {
            delay
        };
        process_table.say(&format!(
            "{} {end}; again in {} (log: {})",
            recipe.name,
            humantime::format_duration(delay),
            log.display()
        ));
        tokio::select! {
            () = time::sleep(delay) => {}
            () = reached(&mut stage, recipe.stops_at) => break,
        }
        delay = (delay * 2).min(BACKOFF_MOST);
        entry.restarts += 1;
    }
    Ok(())
}

fn start(recipe: &Recipe, log: &Path) -> Result<tokio::process::Child> {
    let out = open_log(log)?;
    let err = out.try_clone().context("share the log file")?;
    let mut command = Command::new(&recipe.program);
    for name in super::FOREIGN {
        command.env_remove(name);
    }
    command
        .args(&recipe.arguments)
        .envs(recipe.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err)
        .process_group(0) // a Ctrl-C at the terminal reaches the supervisor alone, which stops its children in order
        .spawn()
        .with_context(|| format!("could not start {}", recipe.program.display()))
}

/// SIGTERM, then SIGKILL after the grace.
async fn stop(entry: &Child, child: &mut tokio::process::Child, grace: Duration) {
    if let Some(process) = &entry.process {
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGCONT);
    }
    if time::timeout(grace, child.wait()).await.is_err() {
        tracing::warn!(
            "{} did not stop within {}; killing it",
            entry.name,
            humantime::format_duration(grace)
        );
        if let Err(error) = child.kill().await {
            tracing::warn!("kill {}: {error}", entry.name);
        }
    }
}

async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // The sender lives as long as the supervisor, which outlives every child.
    stage
        .wait_for(|now| *now >= wanted)
        .await
        .map(|_| ())
        .unwrap_or(());
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("is lost ({error})"),
    }
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn set_aside(log: &Path) -> Result<()> {
    if fs::metadata(log).is_ok_and(|file| file.len() > LOG_LIMIT_BYTES) {
        fs::rename(log, log.with_extension("log.1"))
            .with_context(|| format!("set {} aside", log.display()))?;
    }
    Ok(())
}
