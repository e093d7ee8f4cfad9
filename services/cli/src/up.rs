//! `cedm up` and `cedm down`: a whole system on this machine, as child processes on loopback.
//!
//! One supervisor per home holds a lock, starts nats-server, the object store and one or more
//! processes of every service, restarts those that exit, and stops them in order: services first,
//! while the broker and the store still answer.

pub mod args;
pub mod background;
pub mod endpoints;
pub mod guard;
pub mod health;
pub mod liveness;
pub mod ports;
pub mod process;
pub mod process_specs;
pub mod process_table;
pub mod programs;
mod stop_signals;
pub mod supervise;
mod supervisor;

use crate::{
    args::Output,
    home::{Home, Phase, State},
};
use anyhow::{Context, Result, bail};
use cedm_contract::Service;
use cedm_terminal::{outjson, outln};
use endpoints::Endpoints;
use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    fs::File,
    thread,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

/// How long the broker and the store may take to become ready.
const INFRASTRUCTURE_READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the services may take: loading libtorch from a cold disk is slow.
const SERVICES_READY_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a service may be without a good answer at `/livez` before it is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(60);
/// How long `cedm down` waits: longer than the grace periods of services and infrastructure.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// Environment variables that may name another system, or another way to reach it. They are removed
/// from the environment of everything that belongs to a local system.
pub const REMOVED_VARIABLES: [&str; 6] = [
    "CEDM_NATS_URL",
    "CEDM_NATS_CREDS",
    "CEDM_COMMIT_LEASE",
    "CEDM_LISTEN",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
];

/// Which processes `cedm up` starts.
#[derive(Clone, Debug, Default)]
pub struct UpRequest {
    /// Processes of each service; one where a service is absent.
    pub workers: BTreeMap<Service, u32>,
    /// Whether to start Prometheus too.
    pub prometheus: bool,
    /// How long a service may be without a good answer at `/livez` before it is killed and started
    /// again; [`DEAD_AFTER`] when absent.
    pub dead_after: Option<Duration>,
}

impl UpRequest {
    /// Fails where a running system is not as this request wants it.
    ///
    /// # Errors
    /// With every difference, and how the system becomes as wanted.
    fn require_met(&self, home: &Home, endpoints: &Endpoints) -> Result<()> {
        let State { children, .. } = home.state()?.unwrap_or_default();
        let (mut differences, mut options) = (Vec::new(), Vec::new());
        for (service, wanted) in &self.workers {
            let prefix = format!("{service}-");
            let of_service = children.iter().filter(|child| {
                let number = child.name.strip_prefix(&prefix);
                number.is_some_and(|number| number.parse::<u32>().is_ok())
            });
            let running = of_service.count();
            if running as u64 != u64::from(*wanted) {
                differences.push(format!("{running} of {service} instead of {wanted}"));
            }
            options.push(format!("{service}={wanted}"));
        }
        let mut command = match options.as_slice() {
            [] => "cedm up".to_owned(),
            options => format!("cedm up --workers {}", options.join(",")),
        };
        if self.prometheus {
            command.push_str(" --prometheus");
            if endpoints.prometheus_port.is_none() {
                differences.push("no Prometheus".to_owned());
            }
        }
        anyhow::ensure!(
            differences.is_empty(),
            "a system is already running in {} with {}: `cedm down`, then `{command}`. Results are \
             kept, and running jobs go on from their checkpoints",
            home.path().display(),
            differences.join(", ")
        );
        Ok(())
    }
}

/// Whether `up` started a system or found one running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpOutcome {
    /// A system was already running in this home.
    Attached,
    /// This call started it.
    Started,
}

/// Supervises a system in this process until SIGTERM, SIGINT or (with `exit_with_parent`) the end
/// of stdin; returns at once when one is already running. `ready` is called when every child is
/// ready.
///
/// # Errors
/// When a program is missing or a child is not ready in time; everything is stopped again then. Or
/// when one is running already that is not as requested.
pub fn foreground(
    home: &Home,
    request: &UpRequest,
    exit_with_parent: bool,
    ready: impl FnOnce(UpOutcome, &Endpoints) -> Result<()>,
) -> Result<()> {
    home.create()?;
    match wait_until_settled(home)? {
        HomeStatus::Running(endpoints) => {
            request.require_met(home, &endpoints)?;
            ready(UpOutcome::Attached, &endpoints)
        }
        HomeStatus::Stopped(lock) => {
            // One thread: the kernel signals a guarded child when the thread that started it ends,
            // and this one ends last.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("start the async runtime")?;
            let result = LocalSet::new().block_on(
                &runtime,
                supervisor::run(home, request, exit_with_parent, |endpoints| {
                    ready(UpOutcome::Started, endpoints)
                }),
            );
            drop(lock);
            result
        }
    }
}

/// Stops the system in `home`; returns whether one was running.
///
/// # Errors
/// When its state cannot be read, or it does not stop.
pub fn down(home: &Home) -> Result<bool> {
    let Some(state) = home.state()? else {
        return Ok(false);
    };
    let was_running = state.supervisor.is_alive();
    if was_running {
        state.supervisor.signal(Signal::SIGTERM);
        if !state.supervisor.wait_gone(STOP_TIMEOUT) {
            bail!(
                "the supervisor, process {}, did not stop within {}",
                state.supervisor.pid,
                humantime::format_duration(STOP_TIMEOUT)
            );
        }
    }
    let stopped = stop_leftovers(home)?;
    home.remove_state()?;
    Ok(was_running || stopped > 0)
}

/// The state of a home that is neither starting nor stopping.
enum HomeStatus {
    /// A system is ready there.
    Running(Box<Endpoints>),
    /// Nothing runs, and this process holds the lock.
    Stopped(File),
}

/// Waits for a system that is starting or stopping; takes the lock when there is none.
fn wait_until_settled(home: &Home) -> Result<HomeStatus> {
    let deadline = Instant::now() + INFRASTRUCTURE_READY_TIMEOUT + SERVICES_READY_TIMEOUT;
    loop {
        if let Some(lock) = home.lock()? {
            return Ok(HomeStatus::Stopped(lock));
        }
        if let Some(endpoints) = endpoints_if_ready(home)? {
            return Ok(HomeStatus::Running(Box::new(endpoints)));
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the system in {} neither finished starting nor stopped; its logs are in {}",
            home.path().display(),
            home.logs().display()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn endpoints_if_ready(home: &Home) -> Result<Option<Endpoints>> {
    let ready = home
        .state()?
        .is_some_and(|state| state.phase == Phase::Ready && state.supervisor.is_alive());
    if ready { home.endpoints() } else { Ok(None) }
}

/// Stops children of a supervisor that was killed; returns how many there were.
fn stop_leftovers(home: &Home) -> Result<usize> {
    let State { children, .. } = home.state()?.unwrap_or_default();
    let processes: Vec<_> = children
        .into_iter()
        .filter_map(|child| child.process)
        .collect();
    Ok(process::stop_all(&processes))
}

/// Prints how to reach the system.
///
/// # Errors
/// None at present; the signature allows for output that can fail.
pub fn print_endpoints(
    home: &Home,
    outcome: UpOutcome,
    endpoints: &Endpoints,
    output: Output,
) -> Result<()> {
    let attached = outcome == UpOutcome::Attached;
    match output {
        Output::Json => {
            let environment: BTreeMap<String, String> =
                endpoints.environment(Service::Cli).into_iter().collect();
            outjson!(
                serde_json::json!({"home": home.path(), "attached": attached, "environment": environment})
            );
        }
        Output::Text => {
            let state = if attached {
                "already running"
            } else {
                "running"
            };
            outln!("{state} in {}", home.path().display());
            outln!(
                "  nats   {}   monitor http://127.0.0.1:{}",
                endpoints.nats_url(),
                endpoints.nats_monitor_port
            );
            outln!(
                "  store  {}   bucket {}",
                endpoints.s3_url(),
                endpoints.bucket
            );
            if let Some(port) = endpoints.prometheus_port {
                outln!("  prometheus  http://127.0.0.1:{port}");
            }
            outln!("  logs   {}", home.logs().display());
            outln!(
                "commands run in this folder find it; elsewhere: eval \"$(cedm --home {} env)\"",
                home.path().display()
            );
        }
    }
    Ok(())
}
