//! A supervisor in the background: started by `cedm up --detach` and by `cedm demo`.

use super::{
    HomeStatus, INFRASTRUCTURE_READY_TIMEOUT, SERVICES_READY_TIMEOUT, UpOutcome, UpRequest,
    endpoints::Endpoints, endpoints_if_ready, wait_until_settled,
};
use crate::home::Home;
use anyhow::{Context, Result, bail};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a supervisor in the background runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until `cedm down` stops it.
    UntilDown,
    /// Until [`BackgroundSystem`] is dropped, or the process that holds it dies.
    WithCaller,
}

/// A system that runs in the background.
#[derive(Debug)]
pub struct BackgroundSystem {
    /// Whether this call started it.
    pub outcome: UpOutcome,
    /// How to reach it.
    pub endpoints: Endpoints,
    /// End of file on this pipe stops a supervisor started with [`Lifetime::WithCaller`].
    _stdin: Option<ChildStdin>,
}

/// Starts a supervisor in the background and waits until its system is ready.
///
/// # Errors
/// As [`super::foreground`]; with the supervisor's log.
pub fn start(home: &Home, request: &UpRequest, lifetime: Lifetime) -> Result<BackgroundSystem> {
    home.create()?;
    // The lock is released at once: the supervisor takes it for itself.
    if let HomeStatus::Running(endpoints) = wait_until_settled(home)? {
        request.require_met(home, &endpoints)?;
        return Ok(BackgroundSystem {
            outcome: UpOutcome::Attached,
            endpoints: *endpoints,
            _stdin: None,
        });
    }
    let log = home.logs().join("up.log");
    let mut supervisor = command(home, request, lifetime, &log)?
        .spawn()
        .context("start the supervisor")?;
    let deadline = Instant::now() + SERVICES_READY_TIMEOUT + INFRASTRUCTURE_READY_TIMEOUT;
    loop {
        if let Some(endpoints) = endpoints_if_ready(home)? {
            return Ok(BackgroundSystem {
                outcome: UpOutcome::Started,
                endpoints,
                _stdin: supervisor.stdin.take(),
            });
        }
        if let Some(status) = supervisor.try_wait().context("watch the supervisor")? {
            if status.success() && home.is_up() {
                continue; // a concurrent `up` took the lock first
            }
            let output = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the supervisor exited ({status}):\n{}", output.trim_end());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the system was not ready in time; see {}",
            log.display()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn command(home: &Home, request: &UpRequest, lifetime: Lifetime, log: &Path) -> Result<Command> {
    let out = private_log(log).with_context(|| format!("open {}", log.display()))?;
    let mut command =
        Command::new(std::env::current_exe().context("find this program's own path")?);
    command
        .arg("--home")
        .arg(home.path())
        .args(["up", "--own-session"]);
    for (service, count) in &request.workers {
        command.args(["--workers", &format!("{service}={count}")]);
    }
    if let Some(dead_after) = request.dead_after {
        command.args(["--dead-after", &dead_after.as_secs().to_string()]);
    }
    if request.prometheus {
        command.arg("--prometheus");
    }
    let stdin = match lifetime {
        Lifetime::UntilDown => Stdio::null(),
        Lifetime::WithCaller => {
            command.arg("--exit-with-parent");
            Stdio::piped()
        }
    };
    command
        .stdin(stdin)
        .stdout(out.try_clone().context("duplicate the log's handle")?)
        .stderr(out);
    Ok(command)
}

fn private_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}
