//! The surroundings of one test: a real nats-server, a real embedded store on free ports, and real
//! worker processes.

use cedm_contract::{
    Event, EventWhat, ExtractorSpec, Hints, Job, JobSpec, Manifest, Names, OutputName, Precision,
    Priority, Service, kinds::fit::FitParams,
};
use cedm_runtime::{
    ConnectArgs, Connection, DeadLetters, EventFilter, NatsArgs, Redeliverer, Submitter,
    deploy::{Credentials, NatsSettings, render_nats},
    live_events,
};
use futures::{StreamExt, stream::BoxStream};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// What the echo worker writes.
pub const ECHO: OutputName = OutputName::stable("echo.txt");
/// The first step that its last attempt counted.
pub const FIRST_STEP: OutputName = OutputName::volatile("first-step.txt");

/// Longest wait for anything; reached only when the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Harness {
    pub root: tempfile::TempDir,
    pub credentials: Credentials,
    nats_address: SocketAddr,
    nats: Option<Child>,
    s3_address: SocketAddr,
    store: tokio::task::JoinHandle<()>,
    forwarding: Option<tokio::task::JoinHandle<()>>,
    pub ack_wait_s: f64,
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn serve_store(
    root: &Path,
    credentials: &Credentials,
    listener: tokio::net::TcpListener,
) -> tokio::task::JoinHandle<()> {
    let folder = cedm_store::Folder::open(root).unwrap();
    folder.create_bucket("cedm").unwrap();
    let keys = cedm_store::Keys {
        access: credentials.s3_access_key.clone(),
        secret: credentials.s3_secret_key.clone(),
    };
    tokio::spawn(async move { cedm_store::serve(folder, keys, listener).await.unwrap() })
}

pub fn nats_server() -> PathBuf {
    match std::env::var_os("CEDM_NATS_SERVER") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/bin/nats-server"),
    }
}

impl Harness {
    pub async fn start() -> Self {
        Self::with_ack_wait(10.0).await
    }

    pub async fn with_ack_wait(ack_wait_s: f64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let credentials = Credentials::generate();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let s3_address = listener.local_addr().unwrap();
        let store = serve_store(&root.path().join("store"), &credentials, listener);
        let mut harness = Self {
            root,
            credentials,
            nats_address: free_address(),
            nats: None,
            s3_address,
            store,
            forwarding: None,
            ack_wait_s,
        };
        harness.start_nats();
        let coordinator = harness.connect(Service::Coordinator).await;
        coordinator.ensure_streams().await.unwrap();
        // The coordinator's part in retries; dead letters are left to the tests that check them.
        harness.forwarding = Some(tokio::spawn(async move {
            let redeliverer = Redeliverer::new(&coordinator);
            loop {
                if redeliverer.forward_due().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }));
        harness
    }

    pub fn start_nats(&mut self) {
        let store_dir = self.root.path().join("nats");
        let settings = NatsSettings {
            listen: self.nats_address,
            monitor: None,
            store_dir: &store_dir,
            credentials: &self.credentials,
            names: &Names::default(),
        };
        let config = self.root.path().join("nats.conf");
        std::fs::write(&config, render_nats(&settings)).unwrap();
        let log = std::fs::File::create(self.root.path().join("nats.log")).unwrap();
        let program = nats_server();
        let child = Command::new(&program)
            .arg("-c")
            .arg(&config)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn();
        self.nats = Some(child.unwrap_or_else(|error| {
            panic!("{}: {error}; run `cargo xtask setup`", program.display())
        }));
    }

    /// Ends the NATS server by SIGKILL, as a crash would.
    pub fn kill_nats(&mut self) {
        let mut child = self.nats.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to the NATS server: SIGSTOP makes one that does not answer.
    pub fn signal_nats(&self, signal: nix::sys::signal::Signal) {
        let pid = self.nats.as_ref().unwrap().id();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn delete_nats_data(&self) {
        std::fs::remove_dir_all(self.root.path().join("nats")).unwrap();
    }

    /// Closes every connection to the store and accepts no more.
    pub async fn stop_store(&mut self) {
        self.store.abort();
        // Its folder and its port are free when it has ended.
        let _ = (&mut self.store).await;
    }

    pub async fn start_store(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.s3_address)
            .await
            .unwrap();
        let root = self.root.path().join("store");
        // Running requests keep the folder open until they have ended.
        eventually("the store's folder is free", async || {
            std::fs::File::open(root.join("lock"))
                .unwrap()
                .try_lock()
                .is_ok()
                .then_some(())
        })
        .await;
        self.store = serve_store(&self.root.path().join("store"), &self.credentials, listener);
    }

    /// A plain NATS client, to do what the library does not.
    pub async fn client(&self, service: Service) -> async_nats::Client {
        let args = self.args(service);
        let options = async_nats::ConnectOptions::with_user_and_password(
            args.nats.user.unwrap(),
            args.nats.password.unwrap(),
        );
        options.connect(args.nats.url).await.unwrap()
    }

    /// Publishes a message as it is, without the submitter.
    pub async fn publish(&self, subject: String, payload: Vec<u8>) {
        let js = async_nats::jetstream::new(self.client(Service::Coordinator).await);
        js.publish(subject, payload.into())
            .await
            .unwrap()
            .await
            .unwrap();
    }

    /// Publishes a job without looking for its result first.
    pub async fn publish_job(&self, job: &Job) {
        let subject = cedm_contract::job_subject(job.kind(), job.priority, &job.key);
        self.publish(subject, job.encode().unwrap()).await;
    }

    pub fn args(&self, service: Service) -> ConnectArgs {
        ConnectArgs {
            nats: NatsArgs {
                url: format!("nats://{}", self.nats_address),
                user: Some(service.name().to_owned()),
                password: Some(self.credentials.nats_password(service).to_owned()),
                ..NatsArgs::default()
            },
            s3_endpoint: Some(format!("http://{}", self.s3_address)),
            s3_bucket: "cedm".to_owned(),
            s3_region: None,
            s3_ca_file: None,
            s3_keys: Some((
                self.credentials.s3_access_key.clone(),
                self.credentials.s3_secret_key.clone(),
            )),
            ack_wait_s: Some(Duration::from_secs_f64(self.ack_wait_s)),
            commit_lease: false,
            connect_timeout_s: PATIENCE,
        }
    }

    pub async fn connect(&self, service: Service) -> Connection {
        Connection::open(&self.args(service), service.name())
            .await
            .unwrap()
    }

    pub fn nats_address(&self) -> SocketAddr {
        self.nats_address
    }

    pub fn s3_address(&self) -> SocketAddr {
        self.s3_address
    }
    /// The result of a job, computed by a worker that has ended.
    pub async fn result_of(&self, connection: &Connection, job: &Job) -> Manifest {
        let submitter = Submitter::new(connection);
        let mut events = JobEvents::of(connection, job).await;
        submitter.submit(job).await.unwrap();
        let mut worker = self.worker(&["--max-jobs", "1"], &[]);
        events.next(EventWhat::Done).await;
        assert_eq!(worker.ended().await, Some(0), "its heartbeat is gone, too");
        submitter.manifest(&job.key).await.unwrap().unwrap()
    }

    pub async fn submitter(&self) -> Submitter {
        Submitter::new(&self.connect(Service::Coordinator).await)
    }

    /// A worker process with these extra arguments and environment.
    pub fn worker(&self, arguments: &[&str], environment: &[(&str, &str)]) -> WorkerProcess {
        let exe = std::env::current_exe().unwrap();
        let program = exe
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/echo_worker");
        let endpoint = format!("http://{}", self.s3_address);
        let url = format!("nats://{}", self.nats_address);
        let mut command = Command::new(&program);
        command
            .envs(
                self.credentials
                    .environment(Service::Extractor, &url, &endpoint, "cedm"),
            )
            // This store has one key pair.
            .env("AWS_ACCESS_KEY_ID", &self.credentials.s3_access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.credentials.s3_secret_key)
            .env("CEDM_ACK_WAIT_S", self.ack_wait_s.to_string())
            .env("CEDM_CACHE_DIR", self.root.path().join("cache"))
            .envs(environment.iter().copied())
            .args(["--log", "json", "--exit-with-parent"])
            .args(arguments)
            .stdin(Stdio::piped());
        WorkerProcess(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", program.display())),
        )
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.store.abort();
        if let Some(forwarding) = &self.forwarding {
            forwarding.abort();
        }
        if let Some(mut child) = self.nats.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Killed when it goes out of scope.
pub struct WorkerProcess(Child);

impl WorkerProcess {
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Once it has installed a handler of SIGTERM.
    pub fn handles_sigterm(&self) -> Option<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        let bit = nix::sys::signal::Signal::SIGTERM as u64 - 1;
        (caught >> bit & 1 == 1).then_some(())
    }

    /// What happens when its parent dies.
    pub fn close_stdin(&mut self) {
        drop(self.0.stdin.take());
    }

    /// `Some` once it has ended.
    pub fn has_ended(&mut self) -> Option<()> {
        self.0.try_wait().unwrap().map(|_| ())
    }

    /// Waits for its end; its exit code, if it was not killed.
    pub async fn ended(&mut self) -> Option<i32> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the worker does not end"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A job for the echo worker.
pub fn job(name: &str) -> Job {
    job_after(name, &[])
}

/// A job that reads the results of others.
pub fn job_after(name: &str, previous: &[&Manifest]) -> Job {
    let extractor = ExtractorSpec {
        name: name.to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    };
    let inputs = previous
        .iter()
        .map(|manifest| manifest.as_input("images"))
        .collect();
    Job::new(
        JobSpec::Fit(FitParams { extractor }),
        inputs,
        Priority::P1,
        Hints::default(),
    )
}

/// Live events of one job.
pub struct JobEvents(BoxStream<'static, Event>);

impl JobEvents {
    pub async fn of(connection: &Connection, job: &Job) -> Self {
        let filter = EventFilter {
            key: Some(job.key.clone()),
            ..EventFilter::default()
        };
        Self(live_events(connection, &filter).await.unwrap().boxed())
    }

    /// The next event of this kind; others are skipped.
    pub async fn next(&mut self, what: EventWhat) -> Event {
        let wait = async {
            loop {
                let event = self.0.next().await.expect("the connection is open");
                if event.what == what {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no {what} event"))
    }
}

/// Waits until `condition` returns `Some`; for states that no event reports.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a job is neither queued nor performed: its event comes before its acknowledgement.
pub async fn leaves_queue(submitter: &Submitter, job: &Job) {
    eventually("the job leaves the queue", async || {
        let outstanding = submitter.is_outstanding(job.kind(), &job.key).await;
        (!outstanding.unwrap()).then_some(())
    })
    .await;
}

/// Fails where any job is dead.
pub async fn assert_no_dead_letters(connection: &Connection) {
    let letters = DeadLetters::new(connection).list().await.unwrap();
    assert!(letters.is_empty(), "{letters:?}");
}

/// The result of an undisturbed `slow:<steps>`.
pub fn counted(steps: u64) -> String {
    (0..steps).fold(String::new(), |state, step| {
        blake3::hash(format!("{state}{step}").as_bytes()).to_string()
    })
}
