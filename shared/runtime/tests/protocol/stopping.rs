//! SIGTERM ends a process whatever it waits for: at start or in the middle of a job, with a broker
//! or a store that is gone or that accepts connections and never answers.

use crate::{
    harness::{Harness, JobEvents, WorkerProcess, eventually, job},
    process::{address, get},
};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::Submitter;
use nix::sys::signal::Signal;
use tokio::net::{TcpListener, TcpStream};

/// The grace period is over at once: what is tested are the waits beside it.
const NO_GRACE: [&str; 2] = ["--grace-s", "0"];

/// Accepts connections and never answers.
struct Silent(TcpListener);

impl Silent {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.0.local_addr().unwrap())
    }

    /// Waits for a process to connect; the connection, which has to be kept.
    async fn connected(&self) -> TcpStream {
        let accepted = tokio::time::timeout(crate::harness::PATIENCE, self.0.accept()).await;
        accepted.expect("a process connects").unwrap().0
    }
}

async fn ends_on_sigterm(mut worker: WorkerProcess) {
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0), "it was asked to stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_start_without_a_broker() {
    let mut harness = Harness::start().await;
    harness.kill_nats();
    let worker = harness.worker(&NO_GRACE, &[]);
    eventually("it handles signals", async || worker.handles_sigterm()).await;
    ends_on_sigterm(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_start_with_a_silent_broker() {
    let (harness, silent) = (Harness::start().await, Silent::new().await);
    let worker = harness.worker(&NO_GRACE, &[("CEDM_NATS_URL", &silent.url("nats"))]);
    let _connection = silent.connected().await;
    ends_on_sigterm(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_start_without_a_store() {
    let mut harness = Harness::start().await;
    harness.stop_store().await;
    let worker = harness.worker(&NO_GRACE, &[]);
    eventually("it handles signals", async || worker.handles_sigterm()).await;
    ends_on_sigterm(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_start_with_a_silent_store() {
    let (harness, silent) = (Harness::start().await, Silent::new().await);
    let worker = harness.worker(&NO_GRACE, &[("CEDM_S3_ENDPOINT", &silent.url("http"))]);
    let _connection = silent.connected().await;
    ends_on_sigterm(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_after_the_broker_has_gone() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let worker = harness.worker(&NO_GRACE, &[]);
    let address = address(&connection).await;
    harness.kill_nats();
    eventually("it has noticed", async || {
        let (_, why) = get(&address, "/readyz").await;
        why.contains("NATS is not connected").then_some(())
    })
    .await;
    ends_on_sigterm(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_job_after_the_broker_has_gone() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let worker = harness.worker(&NO_GRACE, &[]);
    events.next(EventWhat::Started).await;
    harness.kill_nats();
    ends_on_sigterm(worker).await;
}

/// The broker is there and does not answer: its process is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_job_while_the_broker_is_frozen() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let worker = harness.worker(&NO_GRACE, &[]);
    events.next(EventWhat::Started).await;
    harness.signal_nats(Signal::SIGSTOP);
    ends_on_sigterm(worker).await;
}

/// Its job waits for inputs from a store that has stopped answering.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_job_after_the_store_has_gone() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (ready, job) = (job("ready"), job("waits"));
    let mut events = JobEvents::of(&connection, &ready).await;
    let worker = harness.worker(&NO_GRACE, &[]);
    Submitter::new(&connection).submit(&ready).await.unwrap();
    events.next(EventWhat::Done).await;
    let address = address(&connection).await;
    harness.stop_store().await;
    harness.publish_job(&job).await;
    eventually("it waits for the store", async || {
        let (status, why) = get(&address, "/readyz").await;
        (status == 503 && why.contains("store")).then_some(())
    })
    .await;
    ends_on_sigterm(worker).await;
}
