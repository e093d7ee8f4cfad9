//! Messages that lie: put where permissions allow, about what they do not allow. None of them makes
//! another service work, stops another job, or stays where it cannot be seen.

use crate::harness::{Harness, JobEvents, eventually, job};
use async_nats::HeaderMap;
use cedm_contract::{
    EventWhat, Hints, Job, Priority, Service, delay_subject, due_subject, job_subject, sweep_key,
};
use cedm_runtime::{
    Body, DeadLetters, Outstanding, Redeliverer, Replayed, SubmitOutcome, Submitter,
};

/// A schedule that is due at once.
fn scheduled_onto(target: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
    headers.insert("Nats-Schedule-Target", target);
    headers
}

/// Publishes with the credentials of a service.
async fn publish_as(
    harness: &Harness,
    service: Service,
    subject: String,
    headers: HeaderMap,
    payload: Vec<u8>,
) {
    let client = harness.client(service).await;
    let sent = client.publish_with_headers(subject, headers, payload.into());
    sent.await.unwrap();
    client.flush().await.unwrap();
}

async fn outstanding(submitter: &Submitter, job: &Job) -> Vec<Outstanding> {
    let all = submitter.outstanding(None).await.unwrap();
    all.into_iter()
        .filter(|found| found.key == job.key)
        .collect()
}

/// The broker publishes a scheduled message under any subject of the stream, whoever scheduled it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_scheduled_onto_another_services_lane_is_set_aside() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let (own, smuggled) = (job("own"), job("smuggled"));
    let mut events = JobEvents::of(&connection, &own).await;
    let _worker = harness.worker(&[], &[]);
    publish_as(
        &harness,
        Service::Sampler,
        format!("cedm.delay.sample.p1.{}", smuggled.key),
        scheduled_onto(&due_subject(
            smuggled.kind(),
            smuggled.priority,
            &smuggled.key,
        )),
        smuggled.encode().unwrap(),
    )
    .await;
    let letter = eventually("it is set aside", async || {
        letters.list().await.unwrap().pop()
    })
    .await;
    assert_eq!(
        letter.kind.token(),
        "sample",
        "below the kind of its sender"
    );
    assert_ne!(letter.key, smuggled.key, "in nobody's place");
    assert!(
        letter.error.contains("its own kinds alone"),
        "{}",
        letter.error
    );
    assert_eq!(letter.raw, smuggled.encode().unwrap());

    // The worker is there, and takes what is submitted.
    submitter.submit(&own).await.unwrap();
    events.next(EventWhat::Done).await;
    assert!(outstanding(&submitter, &smuggled).await.is_empty());
    assert!(submitter.manifest(&smuggled.key).await.unwrap().is_none());
    assert!(letters.forget(&letter.key).await.unwrap());
    assert!(letters.list().await.unwrap().is_empty());
}

/// Its own lane does not help: the job in the message is another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_below_the_subject_of_another_is_set_aside() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let (real, other) = (job("real"), job("other"));
    let (lane, key) = ((real.kind(), real.priority), &real.key);
    publish_as(
        &harness,
        Service::Extractor,
        delay_subject(lane.0, lane.1, key),
        scheduled_onto(&due_subject(lane.0, lane.1, key)),
        other.encode().unwrap(),
    )
    .await;
    let letter = eventually("it is set aside", async || {
        letters.list().await.unwrap().pop()
    })
    .await;
    assert!(
        letter.error.contains(other.key.as_str()),
        "{}",
        letter.error
    );
    assert!(matches!(
        submitter.submit(&real).await.unwrap(),
        SubmitOutcome::Queued
    ));

    // A worker looks, too: this message has not come by the delay stream.
    let (decoy, mut events) = (job("decoy"), JobEvents::of(&connection, &real).await);
    let subject = job_subject(decoy.kind(), Priority::P0, &decoy.key);
    harness.publish(subject, other.encode().unwrap()).await;
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let letter = letters.show(&decoy.key).await.unwrap().unwrap();
    assert_eq!(letter.job, None);
    assert!(
        letter.error.contains(other.key.as_str()),
        "{}",
        letter.error
    );
    assert!(submitter.manifest(&other.key).await.unwrap().is_none());
}

/// Scheduled onto a delay subject it would lie there for ever, and its job would count as queued.
#[tokio::test(flavor = "multi_thread")]
async fn what_will_never_be_due_is_swept_out_of_the_delays() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let redeliverer = Redeliverer::new(&connection);
    let (blocked, endless) = (job("blocked"), job("endless"));
    let delayed = delay_subject(blocked.kind(), blocked.priority, &blocked.key);
    publish_as(
        &harness,
        Service::Sampler,
        format!("cedm.delay.sample.p1.{}", blocked.key),
        scheduled_onto(&delayed),
        b"x".to_vec(),
    )
    .await;
    let lane = delay_subject(endless.kind(), endless.priority, &endless.key);
    publish_as(
        &harness,
        Service::Extractor,
        lane,
        HeaderMap::new(),
        b"y".to_vec(),
    )
    .await;
    eventually("both block a job", async || {
        let mut blocks = true;
        for job in [&blocked, &endless] {
            // The sender's own subject has the same key, until the broker has published it.
            let found = outstanding(&submitter, job).await;
            blocks &= found.iter().any(|found| found.kind == job.kind());
        }
        blocks.then_some(())
    })
    .await;
    assert_eq!(redeliverer.sweep().await.unwrap(), 2);
    assert_eq!(letters.list().await.unwrap().len(), 2);
    for job in [&blocked, &endless] {
        assert!(matches!(
            submitter.submit(job).await.unwrap(),
            SubmitOutcome::Queued
        ));
    }
    assert_eq!(redeliverer.sweep().await.unwrap(), 0);
}

/// A retry of a cancelled sweep's job comes back into the queue after the queue was cleared.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_cancelled_sweep_is_not_performed() {
    the_job_of_a_held_sweep_is_not_performed("cancelled").await;
}

/// So does that of a paused one; when it is resumed, the coordinator submits the job again.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_paused_sweep_is_not_performed() {
    the_job_of_a_held_sweep_is_not_performed("paused").await;
}

async fn the_job_of_a_held_sweep_is_not_performed(state: &str) {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let job = Job {
        hints: Hints {
            sweep: Some("gone".parse().unwrap()),
            ..Hints::default()
        },
        ..job(state)
    };
    let mark = sweep_key(job.hints.sweep.as_ref().unwrap(), state);
    let store = connection.store();
    store.put(&mark, Body::Bytes("{}".into())).await.unwrap();
    let mut events = JobEvents::of(&connection, &job).await;
    let lane = (job.kind(), job.priority);
    publish_as(
        &harness,
        Service::Extractor,
        delay_subject(lane.0, lane.1, &job.key),
        scheduled_onto(&due_subject(lane.0, lane.1, &job.key)),
        job.encode().unwrap(),
    )
    .await;
    let _worker = harness.worker(&[], &[]);
    let dropped = events.next(EventWhat::Failed).await;
    assert!(
        dropped.message.contains(&format!("sweep gone is {state}")),
        "{}",
        dropped.message
    );
    assert!(
        outstanding(&submitter, &job).await.is_empty(),
        "the event comes last"
    );
    assert!(submitter.manifest(&job.key).await.unwrap().is_none());
    assert!(letters.list().await.unwrap().is_empty());

    // A person who replays a letter wants the job done, whatever became of its sweep.
    let letter = cedm_contract::DeadLetter {
        schema: cedm_contract::SCHEMA_VERSION,
        kind: job.kind(),
        key: job.key.clone(),
        job: Some(job.clone()),
        failure: cedm_contract::FailureKind::Bug,
        error: "died before".to_owned(),
        attempts: 5,
        at_ms: 1,
        worker: String::new(),
        raw: Vec::new(),
    };
    let subject = cedm_contract::dead_subject(job.kind(), &job.key);
    let payload = rmp_serde::to_vec_named(&letter).unwrap();
    harness.publish(subject, payload).await;
    assert_eq!(letters.replay(&job.key).await.unwrap(), Replayed::Queued);
    events.next(EventWhat::Done).await;
}
