//! Several applications, several installations and earlier versions on one NATS account.

use crate::harness::{Harness, JobEvents, eventually, job};
use async_nats::jetstream::{Context, stream::Config};
use cedm_contract::{DeadLetter, EventWhat, FailureKind, Service, dead_subject};
use cedm_runtime::{
    Bucket, ConnectArgs, Connection, DeadLetters, NatsArgs, Submitter, WORKERS, queue_depths,
};

fn stream(name: &str, description: &str, subjects: &[&str]) -> Config {
    Config {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
        ..Default::default()
    }
}

async fn fill(js: &Context, subject: &str, count: u64) {
    for _ in 0..count {
        js.publish(subject.to_owned(), "kept".into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
}

/// Configuration and number of messages, to compare.
async fn state(js: &Context, name: &str) -> (Config, u64) {
    let info = js.get_stream(name).await.unwrap().get_info().await.unwrap();
    (info.config, info.state.messages)
}

async fn exists(js: &Context, name: &str) -> bool {
    js.get_stream(name).await.is_ok()
}

async fn delete_own(js: &Context) {
    for name in ["JOBS", "DELAYS", "EVENTS", "ADVISORIES", "DEAD"] {
        js.delete_stream(format!("CEDM_{name}")).await.unwrap();
    }
    for name in ["sweeps", "workers", "leases", "system"] {
        js.delete_stream(format!("KV_CEDM_{name}")).await.unwrap();
    }
}

/// Streams and buckets of plain names, as other applications have them, keep settings and messages.
#[tokio::test(flavor = "multi_thread")]
async fn plain_names_belong_to_other_applications() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    js.create_stream(stream("EVENTS", "orders", &["orders.>"]))
        .await
        .unwrap();
    fill(&js, "orders.one", 1001).await;
    js.create_stream(stream("KV_leases", "locks", &["$KV.leases.>"]))
        .await
        .unwrap();
    fill(&js, "$KV.leases.one", 3).await;
    // Ours by description alone is not surely ours.
    let description = "Heartbeats of running workers";
    js.create_stream(stream("KV_workers", description, &["staff.>"]))
        .await
        .unwrap();
    let names = ["EVENTS", "KV_leases", "KV_workers"];
    let mut before = Vec::new();
    for name in names {
        before.push(state(&js, name).await);
    }
    assert_eq!((before[0].1, before[1].1), (1001, 3));
    delete_own(&js).await;
    connection.ensure_streams().await.unwrap();
    connection.ensure_streams().await.unwrap();
    for (name, before) in names.iter().zip(before) {
        assert_eq!(state(&js, name).await, before, "{name}");
    }
}

/// A stream that captures our subjects and is not surely ours is named, and stays.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_subjects_that_overlap_are_an_error() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    delete_own(&js).await;
    // Name and description of an earlier version, with a subject more.
    let description = "Work queue: one outstanding job per content key";
    let theirs = stream("JOBS", description, &["cedm.job.>", "print.>"]);
    js.create_stream(theirs).await.unwrap();
    fill(&js, "print.one", 2).await;
    let before = state(&js, "JOBS").await;
    let error = connection.ensure_streams().await.unwrap_err().to_string();
    assert!(error.contains("those of stream JOBS"), "{error}");
    assert!(error.contains("CEDM_NATS_PREFIX"), "{error}");
    assert_eq!(state(&js, "JOBS").await, before);
}

fn letter(name: &str, error: &str) -> DeadLetter {
    let job = job(name);
    DeadLetter {
        schema: cedm_contract::SCHEMA_VERSION,
        kind: job.kind(),
        key: job.key.clone(),
        job: Some(job),
        failure: FailureKind::Reject,
        error: error.to_owned(),
        attempts: 1,
        at_ms: 1,
        worker: String::new(),
        raw: Vec::new(),
    }
}

async fn store(js: &Context, letter: &DeadLetter) {
    let bytes = rmp_serde::to_vec_named(letter).unwrap();
    let subject = dead_subject(letter.kind, &letter.key);
    js.publish(subject, bytes.into())
        .await
        .unwrap()
        .await
        .unwrap();
}

/// The streams of an earlier version make room, and no dead letter is lost, whether the migration
/// begins or goes on after a crash in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_an_earlier_version_are_taken_over() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    let dead = "Dead letters: jobs that failed for good, with the reason; `cedm dead replay` submits them again with fresh attempts";
    let letters = DeadLetters::new(&connection);

    delete_own(&js).await;
    let jobs = "Work queue: one outstanding job per content key";
    let events = "Job events: started, progress, done, failed, superseded, dead; hints only, manifests in the store are authoritative";
    for config in [
        stream("JOBS", jobs, &["cedm.job.>"]),
        stream("EVENTS", events, &["cedm.evt.>"]),
        stream("DEAD", dead, &["cedm.dead.>"]),
        stream(
            "KV_leases",
            "Short-lived locks on commits (CEDM_COMMIT_LEASE)",
            &["$KV.leases.>"],
        ),
    ] {
        js.create_stream(config).await.unwrap();
    }
    fill(&js, "cedm.job.fit.p1.x", 1).await;
    let (one, two) = (letter("one", "first"), letter("two", "second"));
    store(&js, &one).await;
    store(&js, &two).await;
    connection.ensure_streams().await.unwrap();
    for gone in ["JOBS", "EVENTS", "DEAD", "KV_leases"] {
        assert!(!exists(&js, gone).await, "{gone}");
    }
    assert_eq!(letters.list().await.unwrap().len(), 2);
    assert_eq!(letters.show(&two.key).await.unwrap(), Some(two.clone()));

    // A crash after the letters' stream has given up its subjects; one job has failed anew since.
    js.delete_stream("CEDM_DEAD").await.unwrap();
    js.create_stream(stream("DEAD", dead, &["cedm.dead.>"]))
        .await
        .unwrap();
    store(&js, &one).await;
    store(&js, &letter("two", "long ago")).await;
    let retired = Config {
        metadata: [("cedm.owner".to_owned(), "cedm".to_owned())].into(),
        ..stream("DEAD", dead, &["cedm-retired.dead"])
    };
    js.update_stream(retired).await.unwrap();
    js.create_stream(Config {
        metadata: [("cedm.owner".to_owned(), "cedm".to_owned())].into(),
        max_messages_per_subject: 1,
        ..stream("CEDM_DEAD", dead, &["cedm.dead.>"])
    })
    .await
    .unwrap();
    store(&js, &two).await;
    connection.ensure_streams().await.unwrap();
    assert!(!exists(&js, "DEAD").await);
    assert_eq!(letters.show(&one.key).await.unwrap(), Some(one));
    assert_eq!(
        letters.show(&two.key).await.unwrap(),
        Some(two),
        "the newer one stays"
    );
}

/// Two installations on one account, with different prefixes: the worker of one, its delayed
/// retries and its heartbeat are none of the other's business.
#[tokio::test(flavor = "multi_thread")]
async fn two_prefixes_share_an_account() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let args = harness.args(Service::Coordinator);
    let nats = NatsArgs {
        names: "second-1".parse().unwrap(),
        ..args.nats.clone()
    };
    let password = args.nats.password.clone().unwrap();
    let other = Connection::open(&ConnectArgs { nats, ..args }, "coordinator")
        .await
        .unwrap();
    other.ensure_streams().await.unwrap();
    let redeliverer = cedm_runtime::Redeliverer::new(&other);
    let forwarding = tokio::spawn(async move { while redeliverer.forward_due().await.is_ok() {} });
    let marker = harness.root.path().join("failed-once");
    let retried = job(&format!("retry:{}", marker.display()));
    let mut events = JobEvents::of(&other, &retried).await;
    let bystander = job("hello");
    Submitter::new(&connection)
        .submit(&bystander)
        .await
        .unwrap();
    Submitter::new(&other).submit(&retried).await.unwrap();
    let _worker = harness.worker(
        &[],
        &[
            ("CEDM_NATS_PREFIX", "second-1"),
            ("CEDM_NATS_USER", "coordinator"),
            ("CEDM_NATS_PASSWORD", &password),
        ],
    );
    events.next(EventWhat::Failed).await;
    events.next(EventWhat::Done).await;
    let workers = async |connection| {
        let bucket = Bucket::open(connection, WORKERS).await.unwrap();
        bucket.entries().await.unwrap().len()
    };
    eventually("a heartbeat", async || {
        (workers(&other).await == 1).then_some(())
    })
    .await;
    assert_eq!(workers(&connection).await, 0);
    let pending = queue_depths(&connection).await.unwrap();
    assert_eq!(
        pending.iter().map(|depth| depth.pending).sum::<u64>(),
        1,
        "nobody's yet"
    );
    forwarding.abort();
}
