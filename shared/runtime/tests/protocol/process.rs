//! A worker process from outside: endpoints, heartbeat, signals, the end of its parent.

use crate::harness::{Harness, JobEvents, eventually, job};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{Connection, Submitter, workers};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Status and body of a GET.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    get_as(address, "localhost", path).await
}

/// As [`get`], under a name for the host.
async fn get_as(address: &str, host: &str, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// Where the only worker's endpoints are, once it has sent a heartbeat.
pub async fn address(connection: &Connection) -> String {
    let heartbeat = eventually("a heartbeat", async || {
        workers(connection).await.unwrap().pop()
    })
    .await;
    let address = heartbeat.metrics.strip_prefix("http://").unwrap();
    address.strip_suffix("/metrics").unwrap().to_owned()
}

/// Readiness looks at the store too, and says so, whether it refuses connections or never answers.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_store() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let _worker = harness.worker(&[], &[]);
    let address = address(&connection).await;
    let is_ready = async || {
        let (status, body) = get(&address, "/readyz").await;
        (status == 200 && body.contains("the store answers")).then_some(())
    };
    eventually("it is ready", is_ready).await;
    harness.stop_store().await;
    let why = eventually("it is not ready", async || {
        let (status, why) = get(&address, "/readyz").await;
        (status == 503).then_some(why)
    })
    .await;
    assert!(why.starts_with("store: get `system/identity`: "), "{why}");
    assert_eq!(
        get(&address, "/livez").await.0,
        200,
        "no restart would help"
    );
    let silent = tokio::net::TcpListener::bind(harness.s3_address())
        .await
        .unwrap();
    eventually("it says that nobody answers", async || {
        let (_, why) = get(&address, "/readyz").await;
        why.contains("no answer within 10 s").then_some(())
    })
    .await;
    drop(silent);
    harness.start_store().await;
    eventually("it is ready again", is_ready).await;
}

/// Answers every request with an error that quotes what a stranger may have chosen.
async fn hostile_store(listener: tokio::net::TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 16 << 10];
        let _ = stream.read(&mut head).await;
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>\u{202e}gnp.\u{9b}2J\nok</Message></Error>";
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// Whoever reads it in a terminal sees lines of ours alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_readiness_quotes_is_escaped() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let _worker = harness.worker(&[], &[]);
    let address = address(&connection).await;
    harness.stop_store().await;
    let listener = tokio::net::TcpListener::bind(harness.s3_address()).await;
    let store = tokio::spawn(hostile_store(listener.unwrap()));
    let why = eventually("it says what the store says", async || {
        let (_, why) = get(&address, "/readyz").await;
        why.contains("gnp.").then_some(why)
    })
    .await;
    assert!(why.contains("\\u{202e}gnp.\\u{9b}2J"), "{why:?}");
    let is_plain = |character: char| character == '\n' || !character.is_control();
    assert!(why.chars().all(is_plain), "{why:?}");
    assert!(!why.contains("\nok"), "{why:?}");
    store.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_endpoints_follow_the_worker() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("hello");
    let mut events = JobEvents::of(&connection, &job).await;
    let worker = harness.worker(&[], &[]);
    let heartbeat = eventually("a heartbeat", async || {
        workers(&connection).await.unwrap().pop()
    })
    .await;
    assert_eq!(
        (heartbeat.service.as_str(), heartbeat.job),
        ("extractor", None)
    );
    let address = heartbeat
        .metrics
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap()
        .to_owned();
    assert_eq!(get(&address, "/livez").await.0, 200);
    eventually("it is ready", async || {
        (get(&address, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    // A page whose name resolves to this machine reads nothing through a visitor's browser.
    let foreign = get_as(&address, "attacker.example", "/metrics").await;
    assert_eq!(foreign.0, 421, "{foreign:?}");
    let (_, before) = get(&address, "/metrics").await;
    assert!(
        before.contains(r#"cedm_jobs_total{kind="fit",outcome="done",service="extractor"} 0"#),
        "{before}"
    );
    assert!(
        before.contains(r#"cedm_echo_steps_total{service="extractor"} 0"#),
        "a service's own series exist from the start"
    );

    Submitter::new(&connection).submit(&job).await.unwrap();
    events.next(EventWhat::Done).await;
    eventually("it is counted", async || {
        get(&address, "/metrics")
            .await
            .1
            .contains(r#"cedm_jobs_total{kind="fit",outcome="done",service="extractor"} 1"#)
            .then_some(())
    })
    .await;

    harness.kill_nats();
    let (status, why) = eventually("it is not ready", async || {
        Some(get(&address, "/readyz").await).filter(|(status, _)| *status != 200)
    })
    .await;
    assert_eq!(
        (status, why.lines().next()),
        (503, Some("NATS is not connected"))
    );
    assert_eq!(
        get(&address, "/livez").await.0,
        200,
        "the process is live while a dependency is down"
    );
    harness.start_nats();
    eventually("it is ready again", async || {
        (get(&address, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_with_its_parent() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let mut worker = harness.worker(&[], &[]);
    eventually("a heartbeat", async || {
        workers(&connection).await.unwrap().pop()
    })
    .await;
    worker.close_stdin();
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_worker_at_once() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let mut worker = harness.worker(&["--grace-s", "600"], &[]);
    events.next(EventWhat::Started).await;
    worker.signal(Signal::SIGTERM);
    eventually("the second signal ends it", async || {
        worker.signal(Signal::SIGINT);
        worker.has_ended()
    })
    .await;
    assert_eq!(worker.ended().await, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_not_performed() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let (cancelled, other) = (job("cancelled"), job("other"));
    let mut events = JobEvents::of(&connection, &other).await;
    submitter.submit(&cancelled).await.unwrap();
    submitter.submit(&other).await.unwrap();
    assert!(
        submitter
            .cancel(cancelled.kind(), &cancelled.key)
            .await
            .unwrap()
    );
    assert!(
        !submitter
            .cancel(cancelled.kind(), &cancelled.key)
            .await
            .unwrap()
    );
    let mut worker = harness.worker(&["--exit-when-idle", "0.5"], &[]);
    events.next(EventWhat::Done).await;
    assert_eq!(worker.ended().await, Some(0), "it leaves when idle");
    assert!(submitter.manifest(&cancelled.key).await.unwrap().is_none());
}
