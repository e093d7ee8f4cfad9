//! Supervision of one child: start it, restart it when it exits or is dead, stop it when its stage
//! comes.

use super::liveness::{self, Liveness};
use crate::{
    home::{Child, Process},
    up::process_table::ProcessTable,
};
use anyhow::{Context, Result};
use cedm_runtime::{EXIT_OTHER_STORE, EXIT_STALLED, RetryPolicy};
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

/// A log file above this size is renamed to `<name>.log.1` when its child is first started.
const LOG_LIMIT_BYTES: u64 = 32 << 20;
/// Delays between the restarts of a child that does not stay up.
const RESTARTS: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(200), Duration::from_secs(10));
/// A child that ran this long is stable: its next restart waits only the first delay again.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Stages of a shutdown, in order: services drain while broker and store still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShutdownStage {
    /// The system runs; nothing is stopped.
    Running,
    /// Workers and the coordinator are stopped.
    StopServices,
    /// NATS, the store and Prometheus are stopped too.
    StopInfrastructure,
}

/// How to start a child.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// Its name in the process table; its log is `<name>.log`.
    pub name: String,
    /// Path of the program.
    pub program: PathBuf,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub environment: Vec<(String, String)>,
    /// Address of its metrics and health endpoints, `127.0.0.1:<port>`.
    pub metrics: Option<String>,
    /// How to find out that it is dead, though it has not exited: it is killed and started again
    /// then.
    pub liveness: Option<Liveness>,
    /// The stage at which it is stopped.
    pub stops_at: ShutdownStage,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// Keeps the child running until its stage comes, then stops it.
///
/// # Errors
/// When its log cannot be rotated. A program that fails to start is retried like one that crashed.
pub async fn supervise(
    spec: ProcessSpec,
    logs: PathBuf,
    process_table: Rc<ProcessTable>,
    mut stage: watch::Receiver<ShutdownStage>,
) -> Result<()> {
    let log = logs.join(format!("{}.log", spec.name));
    rotate(&log)?;
    let mut entry = Child {
        name: spec.name.clone(),
        process: None,
        restarts: 0,
        last_exit: None,
        metrics: spec.metrics.clone(),
        log: log.clone(),
    };
    let mut failures = 0;
    loop {
        if *stage.borrow() >= spec.stops_at {
            break;
        }
        let started = Instant::now();
        let exit = match start(&spec, &log) {
            Err(error) => format!("{error:#}"),
            Ok(mut child) => {
                // Held as long as the child runs: end of file on this pipe tells the child that the
                // supervisor is gone.
                let stdin = child.stdin.take();
                entry.process = child.id().and_then(Process::of);
                process_table.update(entry.clone());
                let exit = tokio::select! {
                    status = child.wait() => describe(status),
                    () = reached(&mut stage, spec.stops_at) => {
                        stop(&entry, &mut child, spec.grace, &process_table).await;
                        String::new()
                    }
                    reason = liveness::death(spec.liveness.as_ref()) => {
                        process_table.log(&format!("{} is dead, killing it: {reason}", spec.name));
                        stop(&entry, &mut child, spec.grace, &process_table).await;
                        format!("was killed ({reason})")
                    }
                };
                drop(stdin);
                entry.process = None;
                entry.last_exit = Some(exit.clone()).filter(|exit| !exit.is_empty());
                process_table.update(entry.clone());
                exit
            }
        };
        if *stage.borrow() >= spec.stops_at {
            break;
        }
        failures = if started.elapsed() >= STABLE_AFTER {
            1
        } else {
            failures + 1
        };
        let delay = RESTARTS.delay_with_jitter(failures, spec.name.as_bytes());
        let delay = Duration::from_millis(delay.as_millis() as u64);
        process_table.log(&format!(
            "{} {exit}; restarting in {} (log: {})",
            spec.name,
            humantime::format_duration(delay),
            log.display()
        ));
        tokio::select! {
            () = time::sleep(delay) => {}
            () = reached(&mut stage, spec.stops_at) => break,
        }
        entry.restarts += 1;
    }
    Ok(())
}

fn start(spec: &ProcessSpec, log: &Path) -> Result<tokio::process::Child> {
    let out = open_log(log)?;
    let err = out.try_clone().context("duplicate the log's handle")?;
    let mut command = Command::new(&spec.program);
    for name in super::REMOVED_VARIABLES {
        command.env_remove(name);
    }
    command
        .args(&spec.arguments)
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err)
        // Ctrl-C at the terminal reaches only the supervisor, which stops its children in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {}", spec.program.display()))
}

/// Sends SIGTERM, and SIGKILL after the grace period.
async fn stop(
    entry: &Child,
    child: &mut tokio::process::Child,
    grace: Duration,
    process_table: &ProcessTable,
) {
    if let Some(process) = &entry.process {
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGCONT);
    }
    if time::timeout(grace, child.wait()).await.is_err() {
        process_table.log(&format!(
            "{} did not stop within {}; killing it",
            entry.name,
            humantime::format_duration(grace)
        ));
        if let Err(error) = child.kill().await {
            process_table.log(&format!("kill {}: {error}", entry.name));
        }
    }
}

async fn reached(stage: &mut watch::Receiver<ShutdownStage>, wanted: ShutdownStage) {
    // The sender lives as long as the supervisor, which outlives every child.
    stage
        .wait_for(|now| *now >= wanted)
        .await
        .map(|_| ())
        .unwrap_or(());
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match status.code().and_then(meaning) {
            Some(meaning) => format!("exited ({status}: {meaning})"),
            None => format!("exited ({status})"),
        },
        Err(error) => format!("cannot be watched ({error})"),
    }
}

/// What the exit codes of our own services say.
fn meaning(code: i32) -> Option<&'static str> {
    match code {
        EXIT_STALLED => {
            Some("its job showed no progress, or its accelerator failed; another attempt follows")
        }
        EXIT_OTHER_STORE => Some("its store is not the coordinator's"),
        _ => None,
    }
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn rotate(log: &Path) -> Result<()> {
    if fs::metadata(log).is_ok_and(|file| file.len() > LOG_LIMIT_BYTES) {
        fs::rename(log, log.with_extension("log.1"))
            .with_context(|| format!("rename {}", log.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Home, State};
    use nix::unistd::Pid;

    async fn child(home: &Home, fits: impl Fn(&Child) -> bool) -> Child {
        let found = async {
            loop {
                let State { children, .. } = home.state().unwrap().unwrap_or_default();
                if let Some(child) = children.into_iter().find(&fits) {
                    return child;
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(Duration::from_secs(30), found).await.unwrap()
    }

    /// One that is dead by its endpoint and ignores SIGTERM is killed, and another is started.
    #[tokio::test]
    async fn a_dead_child_is_killed_even_if_it_ignores_sigterm() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        home.create().unwrap();
        let process_table = Rc::new(ProcessTable::new(home.clone()).unwrap());
        // Nobody listens there any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let spec = ProcessSpec {
            name: "deaf".to_owned(),
            program: "/bin/sh".into(),
            arguments: ["-c", "trap '' TERM; while :; do sleep 0.05; done"]
                .map(OsString::from)
                .to_vec(),
            environment: Vec::new(),
            metrics: None,
            liveness: Some(Liveness {
                address,
                start: Duration::from_millis(300),
                silence: Duration::from_millis(300),
            }),
            stops_at: ShutdownStage::StopServices,
            grace: Duration::from_millis(200),
        };
        let (stage, stages) = watch::channel(ShutdownStage::Running);
        let supervised = supervise(spec, home.logs(), process_table, stages);
        let watched = async {
            let first = child(&home, |child| child.process.is_some()).await;
            let second = child(&home, |child| {
                child.process.is_some() && child.process != first.process
            });
            let second = second.await;
            let why = second.last_exit.unwrap();
            assert!(why.contains("was killed (http://127.0.0.1:"), "{why}");
            assert!(why.contains("has not answered for"), "{why}");
            let pid = Pid::from_raw(first.process.unwrap().pid);
            assert!(nix::sys::signal::kill(pid, None).is_err(), "it still runs");
            stage.send_replace(ShutdownStage::StopServices);
        };
        let (ended, ()) = tokio::join!(supervised, watched);
        ended.unwrap();
    }
}
