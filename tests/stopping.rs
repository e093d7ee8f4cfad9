//! Every service program ends after SIGTERM in a bounded time, whatever it waits for, and says in
//! `/readyz` what is missing.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Names, Service};
use cedm_runtime::deploy::{Credentials, NatsSettings, render_nats, render_store_policy};
use cedm_tests::{http, program};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for anything; reached only when the test fails.
const TIMEOUT: Duration = Duration::from_secs(180);

/// A process that is killed when it goes out of scope.
struct Running(Child);

impl Running {
    fn signal(&self, wanted: Signal) -> Result<()> {
        Ok(signal::kill(Pid::from_raw(self.0.id() as i32), wanted)?)
    }
    /// Whether it has installed a handler of SIGTERM.
    fn handles_sigterm(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let caught = status.unwrap_or_default();
        let caught = caught.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask >> (Signal::SIGTERM as u64 - 1) & 1 == 1)
    }
    /// Its exit code; a signal that killed it is an error.
    fn ended(&mut self, name: &str) -> Result<i32> {
        let mut status = None;
        eventually(&format!("the end of {name}"), || {
            status = self.0.try_wait().ok().flatten();
            status.is_some()
        })?;
        let status = status.context("invariant: it has ended")?;
        status.code().with_context(|| format!("{name}: {status}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        ensure!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(50)); // nothing reports it
    }
    Ok(())
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A broker and a store without a supervisor, so that they stay away when they are stopped.
struct Parts {
    folder: TempDir,
    credentials: Credentials,
    nats_address: SocketAddr,
    store_address: SocketAddr,
    nats: Running,
    store: Running,
}

impl Parts {
    fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let credentials = Credentials::generate();
        let (nats_address, store_address) = (free_address()?, free_address()?);
        let nats = start_nats(folder.path(), &credentials, nats_address)?;
        let store = start_store(folder.path(), &credentials, store_address)?;
        for address in [nats_address, store_address] {
            eventually(&format!("{address} accepts connections"), || {
                TcpStream::connect(address).is_ok()
            })?;
        }
        Ok(Self {
            folder,
            credentials,
            nats_address,
            store_address,
            nats,
            store,
        })
    }

    /// A service with these addresses of broker and store.
    fn service(
        &self,
        service: Service,
        nats: SocketAddr,
        store: SocketAddr,
        listen: SocketAddr,
    ) -> Result<Running> {
        started(self.command(service, nats, store, listen)?)
    }

    fn command(
        &self,
        service: Service,
        nats: SocketAddr,
        store: SocketAddr,
        listen: SocketAddr,
    ) -> Result<Command> {
        let (nats, store) = (format!("nats://{nats}"), format!("http://{store}"));
        let environment = self.credentials.environment(service, &nats, &store, "cedm");
        let mut command = Command::new(program(&format!("cedm-{service}"))?);
        command
            .args([
                "serve",
                "--exit-with-parent",
                "--grace-s",
                "1",
                "--log",
                "json",
            ])
            .args(["--listen", &listen.to_string()])
            .envs(environment)
            .env("CEDM_CACHE_DIR", self.folder.path().join("cache"))
            .env("CEDM_THREADS", "1")
            .stdin(Stdio::piped());
        Ok(command)
    }

    /// A service that is connected to this broker and to the store of another installation.
    fn with_store_of(&self, other: &Self, service: Service) -> Result<Running> {
        let (access_key, secret_key) = other.credentials.s3_keys(service);
        let mut command = self.command(
            service,
            self.nats_address,
            other.store_address,
            "127.0.0.1:0".parse()?,
        )?;
        command
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key);
        started(command)
    }

    /// One process of every service, each ready.
    fn ready_services(&self) -> Result<Vec<(Service, SocketAddr, Running)>> {
        let mut running = Vec::new();
        for service in Service::RUNNING {
            let listen = free_address()?;
            let started = self.service(*service, self.nats_address, self.store_address, listen)?;
            running.push((*service, listen, started));
        }
        for (service, listen, _) in &running {
            eventually(&format!("{service} is ready"), || {
                readiness(*listen).0 == 200
            })?;
        }
        Ok(running)
    }
}

fn started(mut command: Command) -> Result<Running> {
    let program = command.get_program().to_owned();
    let child = command.spawn();
    Ok(Running(
        child.with_context(|| format!("start {}", program.display()))?,
    ))
}

fn start_nats(folder: &Path, credentials: &Credentials, listen: SocketAddr) -> Result<Running> {
    let settings = NatsSettings {
        listen,
        monitor: None,
        store_dir: &folder.join("nats"),
        credentials,
        names: &Names::default(),
    };
    let config = folder.join("nats.conf");
    fs::write(&config, render_nats(&settings))?;
    let server = match std::env::var_os("CEDM_NATS_SERVER") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin/nats-server"),
    };
    let mut command = Command::new(&server);
    command.arg("-c").arg(&config);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    started(command).context("run `cargo xtask setup` first")
}

fn start_store(folder: &Path, credentials: &Credentials, listen: SocketAddr) -> Result<Running> {
    let policy = folder.join("policy.json");
    fs::write(&policy, render_store_policy(credentials))?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o600))?; // it holds secrets
    let mut command = Command::new(program("cedm-store")?);
    command.args(["serve", "--bucket", "cedm", "--listen", &listen.to_string()]);
    command.arg("--root").arg(folder.join("objects"));
    command.arg("--policy").arg(&policy);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    started(command)
}

/// Status and body of `/readyz`; 0 while nobody listens.
fn readiness(address: SocketAddr) -> (u16, String) {
    http::get(address, "/readyz").unwrap_or_default()
}

fn all_end(mut running: Vec<(Service, SocketAddr, Running)>) -> Result<()> {
    for (_, _, process) in &running {
        process.signal(Signal::SIGTERM)?;
    }
    for (service, _, process) in &mut running {
        let code = process.ended(service.name())?;
        ensure!(
            code == 0,
            "{service} exited with {code}: it was asked to stop"
        );
    }
    Ok(())
}

#[test]
fn services_that_wait_for_a_broker_end_on_sigterm() -> Result<()> {
    let parts = Parts::start()?;
    let (nobody, any) = (free_address()?, "127.0.0.1:0".parse()?);
    let mut running = Vec::new();
    for service in Service::RUNNING {
        let process = parts.service(*service, nobody, parts.store_address, any)?;
        running.push((*service, any, process));
    }
    for (service, _, process) in &running {
        eventually(&format!("{service} handles signals"), || {
            process.handles_sigterm()
        })?;
    }
    all_end(running)
}

/// The store accepts connections and never answers. The coordinator comes first: it makes the
/// streams that the others wait for.
#[test]
fn services_that_wait_for_a_store_end_on_sigterm() -> Result<()> {
    let parts = Parts::start()?;
    let any = "127.0.0.1:0".parse()?;
    // What is accepted and who accepts it are kept: connections stay open, and further ones wait.
    let (mut running, mut kept) = (Vec::new(), Vec::new());
    for service in Service::RUNNING {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        silent.set_nonblocking(true)?;
        let process = parts.service(*service, parts.nats_address, silent.local_addr()?, any)?;
        let mut connection = None;
        eventually(&format!("{service} asks the store"), || {
            connection = silent.accept().ok();
            connection.is_some()
        })?;
        kept.push((silent, connection));
        running.push((*service, any, process));
    }
    all_end(running)
}

#[test]
fn services_end_on_sigterm_after_the_broker_has_gone() -> Result<()> {
    let parts = Parts::start()?;
    let running = parts.ready_services()?;
    parts.nats.signal(Signal::SIGKILL)?;
    for (service, listen, _) in &running {
        eventually(&format!("{service} has noticed"), || {
            readiness(*listen).1.contains("NATS is not connected")
        })?;
    }
    all_end(running)
}

#[test]
fn services_say_that_the_store_is_silent_and_end_on_sigterm() -> Result<()> {
    let parts = Parts::start()?;
    let running = parts.ready_services()?;
    parts.store.signal(Signal::SIGSTOP)?;
    for (service, listen, _) in &running {
        eventually(&format!("{service} is not ready"), || {
            let (status, why) = readiness(*listen);
            status == 503 && why.contains("store: get `system/identity`: no answer")
        })?;
    }
    all_end(running)
}

/// The bucket exists and is not the coordinator's.
#[test]
fn workers_with_another_bucket_refuse_to_start() -> Result<()> {
    let parts = Parts::start()?;
    let listen = free_address()?;
    let nats = parts.nats_address;
    let _coordinator = parts.service(Service::Coordinator, nats, parts.store_address, listen)?;
    eventually("the coordinator is ready", || readiness(listen).0 == 200)?;
    let second = Parts::start()?;
    for service in Service::RUNNING {
        let mut stray = parts.with_store_of(&second, *service)?;
        let code = stray.ended(service.name())?;
        ensure!(
            code == cedm_runtime::EXIT_OTHER_STORE,
            "{service} with another store exited with {code}"
        );
    }
    Ok(())
}
