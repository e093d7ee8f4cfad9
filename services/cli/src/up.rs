//! `cedm up`: a whole system on this machine, as child processes on loopback.

pub mod access;
pub mod child;
pub mod guard;
pub mod health;
pub mod ports;
pub mod process;
pub mod process_table;
pub mod programs;
pub mod recipes;

use crate::{
    args::Output,
    home::{Access, Home, Phase, State},
};
use anyhow::{Context, Result, bail};
use cedm_contract::Service;
use child::{Recipe, Stage, supervise};
use health::Probe;
use nix::sys::signal::Signal;
use ports::Ports;
use process_table::ProcessTable;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    process::{ChildStdin, Command, Stdio},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    sync::{oneshot, watch},
    task::{JoinSet, LocalSet},
};

/// How long broker and store may take to be ready.
const GROUND_PATIENCE: Duration = Duration::from_secs(60);
/// How long services may take: loading libtorch from a cold disk is slow.
const SERVICES_PATIENCE: Duration = Duration::from_secs(180);

/// Variables that name another system than the local one, or how to reach it: its programs and
/// commands must not inherit them.
pub const FOREIGN: [&str; 6] = [
    "CEDM_NATS_URL",
    "CEDM_NATS_CREDS",
    "CEDM_COMMIT_LEASE",
    "CEDM_LISTEN",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
];

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Processes of each service; one where it is absent.
    pub workers: BTreeMap<Service, u32>,
    /// Whether to start Prometheus too.
    pub prometheus: bool,
}

/// What became of `up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was up already.
    Attached,
    /// It was started by this call.
    Started,
}

/// Supervises a system in this process until SIGTERM, SIGINT or (where asked for) the end of stdin,
/// or returns at once when one is up already. `ready` is called when every child is ready.
///
/// # Errors
/// When a program is missing or a child is not ready in time; everything is stopped again then.
pub fn foreground(
    home: &Home,
    wish: &Wish,
    exit_with_parent: bool,
    ready: impl FnOnce(Came, &Access) -> Result<()>,
) -> Result<()> {
    home.create()?;
    match settle(home)? {
        Standing::Up(access) => ready(Came::Attached, &access),
        Standing::Free(lock) => {
            // One thread: the kernel signals a guarded child when the thread that started it ends,
            // and this one ends last.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("start the async runtime")?;
            let result = LocalSet::new().block_on(
                &runtime,
                run(home, wish, exit_with_parent, |access| {
                    ready(Came::Started, access)
                }),
            );
            drop(lock);
            result
        }
    }
}

/// Whether a supervisor in the background outlives the one who started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tether {
    /// It does, until `cedm down`.
    Free,
    /// It stops when [`Background`] is dropped, or its holder dies.
    Held,
}

/// A system that runs in the background.
#[derive(Debug)]
pub struct Background {
    /// What became of the call.
    pub came: Came,
    /// How to reach it.
    pub access: Access,
    /// Its end of file stops a supervisor that is [`Tether::Held`].
    _lifeline: Option<ChildStdin>,
}

/// Starts a supervisor in the background and waits until its system is ready.
///
/// # Errors
/// As [`foreground`]; with the end of the supervisor's log.
pub fn background(home: &Home, wish: &Wish, tether: Tether) -> Result<Background> {
    home.create()?;
    // The lock is given back at once: the supervisor takes it for itself.
    if let Standing::Up(access) = settle(home)? {
        return Ok(Background {
            came: Came::Attached,
            access: *access,
            _lifeline: None,
        });
    }
    let log = home.logs().join("up.log");
    let out = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&log);
    let out = out.with_context(|| format!("open {}", log.display()))?;
    let mut command =
        Command::new(std::env::current_exe().context("find this program's own path")?);
    command
        .arg("--home")
        .arg(home.path())
        .args(["up", "--own-session"]);
    for (service, count) in &wish.workers {
        command.args(["--workers", &format!("{service}={count}")]);
    }
    if wish.prometheus {
        command.arg("--prometheus");
    }
    let stdin = match tether {
        Tether::Free => Stdio::null(),
        Tether::Held => {
            command.arg("--exit-with-parent");
            Stdio::piped()
        }
    };
    command
        .stdin(stdin)
        .stdout(out.try_clone().context("share the log")?)
        .stderr(out);
    let mut supervisor = command.spawn().context("start the supervisor")?;
    let end = Instant::now() + SERVICES_PATIENCE + GROUND_PATIENCE;
    loop {
        if let Some(access) = ready_now(home)? {
            return Ok(Background {
                came: Came::Started,
                access,
                _lifeline: supervisor.stdin.take(),
            });
        }
        if let Some(status) = supervisor.try_wait().context("watch the supervisor")? {
            if status.success() && home.is_up() {
                continue; // another `up` was faster
            }
            let words = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the supervisor ended ({status}):\n{}", words.trim_end());
        }
        anyhow::ensure!(
            Instant::now() < end,
            "the system was not ready in time; see {}",
            log.display()
        );
        thread::sleep(Duration::from_millis(50));
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
    let was_up = state.supervisor.is_alive();
    if was_up {
        state.supervisor.signal(Signal::SIGTERM);
        let patience = Duration::from_secs(120);
        if !state.supervisor.wait_gone(patience) {
            bail!(
                "the supervisor, process {}, did not stop within {}",
                state.supervisor.pid,
                humantime::format_duration(patience)
            );
        }
    }
    let left = leftovers(home)?;
    home.forget_state()?;
    Ok(was_up || left > 0)
}

/// What a home is like once nothing changes in it.
enum Standing {
    /// A system is ready there.
    Up(Box<Access>),
    /// Nothing runs, and the lock is ours.
    Free(File),
}

/// Waits for a system that is starting or stopping; takes the lock when there is none.
fn settle(home: &Home) -> Result<Standing> {
    let end = Instant::now() + GROUND_PATIENCE + SERVICES_PATIENCE;
    loop {
        if let Some(lock) = home.lock()? {
            return Ok(Standing::Free(lock));
        }
        if let Some(access) = ready_now(home)? {
            return Ok(Standing::Up(Box::new(access)));
        }
        anyhow::ensure!(
            Instant::now() < end,
            "the system in {} neither starts nor stops; its logs are in {}",
            home.path().display(),
            home.logs().display()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn ready_now(home: &Home) -> Result<Option<Access>> {
    let ready = home
        .state()?
        .is_some_and(|state| state.phase == Phase::Ready && state.supervisor.is_alive());
    if ready { home.access() } else { Ok(None) }
}

/// Ends what a killed supervisor left behind.
fn leftovers(home: &Home) -> Result<usize> {
    let State { children, .. } = home.state()?.unwrap_or_default();
    let left: Vec<_> = children
        .into_iter()
        .filter_map(|child| child.process)
        .collect();
    Ok(process::reap(&left))
}

/// Ends when the process is asked to stop: by a signal, or by the end of stdin.
struct Stop {
    interrupt: Signals,
    terminate: Signals,
    parent: Option<oneshot::Receiver<()>>,
}

impl Stop {
    fn listen(exit_with_parent: bool) -> Result<Self> {
        let parent = exit_with_parent.then(|| {
            let (gone, parent) = oneshot::channel();
            thread::spawn(move || {
                // Whatever ends the read, nobody is there any more.
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
                gone.send(()).ok();
            });
            parent
        });
        let interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        Ok(Self {
            interrupt,
            terminate,
            parent,
        })
    }
    async fn asked(&mut self) {
        let parent = async {
            match &mut self.parent {
                Some(parent) => drop(parent.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = parent => self.parent = None,
        }
    }
}

async fn run(
    home: &Home,
    wish: &Wish,
    exit_with_parent: bool,
    ready: impl FnOnce(&Access) -> Result<()>,
) -> Result<()> {
    let mut stop = Stop::listen(exit_with_parent)?;
    let last = home.state()?.unwrap_or_default();
    let left = leftovers(home)?;
    let mut ports = Ports::default();
    let access = Access::renew(home.access()?, &mut ports, wish.prometheus)?;
    let ground = vec![
        recipes::nats(home, &access)?,
        recipes::store(home, &access)?,
    ];
    let services = recipes::services(home, &access, &wish.workers, &mut ports, &last.children)?;
    let prometheus = access
        .prometheus_port
        .map(|port| recipes::prometheus(home, port, &services))
        .transpose()?;
    home.keep_access(&access)?;
    let process_table = Rc::new(ProcessTable::new(home.clone())?);
    if left > 0 {
        process_table.say(&format!(
            "ended {left} processes that a killed supervisor had left"
        ));
    }
    let (stage, stages) = watch::channel(Stage::Run);
    let mut family = Family {
        home,
        process_table: process_table.clone(),
        stages,
        services: JoinSet::new(),
        ground: JoinSet::new(),
    };

    let start = async {
        family.start(ground, GROUND_PATIENCE).await?;
        family.start(services, SERVICES_PATIENCE).await?;
        family
            .start(prometheus.into_iter().collect(), GROUND_PATIENCE)
            .await?;
        process_table.enter(Phase::Ready);
        ready(&access)
    };
    let started = tokio::select! {
        started = start => started.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    if matches!(started, Ok(true)) {
        stop.asked().await;
    }
    process_table.enter(Phase::Stopping);
    process_table.say("stopping: workers finish or write a checkpoint (once more to stop now)");
    let orderly = async {
        stage.send_replace(Stage::Services);
        while family.services.join_next().await.is_some() {}
        stage.send_replace(Stage::Ground);
        while family.ground.join_next().await.is_some() {}
    };
    tokio::select! {
        () = orderly => {}
        () = stop.asked() => {}
    }
    leftovers(home)?; // after a second signal: the children that are still there
    home.forget_state()?;
    started.map(|_| ())
}

/// The children by the stage at which they stop.
struct Family<'a> {
    home: &'a Home,
    process_table: Rc<ProcessTable>,
    stages: watch::Receiver<Stage>,
    services: JoinSet<Result<()>>,
    ground: JoinSet<Result<()>>,
}

impl Family<'_> {
    async fn start(&mut self, members: Vec<(Recipe, Probe)>, patience: Duration) -> Result<()> {
        let mut probes = Vec::new();
        for (recipe, probe) in members {
            let tasks = if recipe.stops_at == Stage::Services {
                &mut self.services
            } else {
                &mut self.ground
            };
            tasks.spawn_local(supervise(
                recipe,
                self.home.logs(),
                self.process_table.clone(),
                self.stages.clone(),
            ));
            probes.push(probe);
        }
        health::all_ready(&probes, &self.process_table, &self.home.logs(), patience).await
    }
}

/// Says how to reach the system.
///
/// # Errors
/// Never now; kept for output that can fail.
pub fn announce(home: &Home, came: Came, access: &Access, output: Output) -> Result<()> {
    match output {
        Output::Json => {
            let environment: BTreeMap<String, String> =
                access.environment(Service::Cli).into_iter().collect();
            crate::say!(
                "{}",
                serde_json::json!({"home": home.path(), "attached": came == Came::Attached, "environment": environment})
            );
        }
        Output::Text => {
            crate::say!(
                "{} in {}",
                if came == Came::Attached {
                    "already up"
                } else {
                    "up"
                },
                home.path().display()
            );
            crate::say!(
                "  nats   {}   monitor http://127.0.0.1:{}",
                access.nats_url(),
                access.nats_monitor_port
            );
            crate::say!("  store  {}   bucket {}", access.s3_url(), access.bucket);
            if let Some(port) = access.prometheus_port {
                crate::say!("  prometheus  http://127.0.0.1:{port}");
            }
            crate::say!("  logs   {}", home.logs().display());
            crate::say!(
                "commands in this folder find it; elsewhere: eval \"$(cedm --home {} env)\"",
                home.path().display()
            );
        }
    }
    Ok(())
}
