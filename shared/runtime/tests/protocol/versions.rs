//! Jobs for another version than the worker's wait for a worker that can; letters whose job cannot
//! be read do not stand in the way.

use crate::harness::{Harness, JobEvents, eventually, job};
use async_nats::HeaderMap;
use cedm_contract::{
    DeadLetter, EventWhat, FailureKind, Job, JobKey, SCHEMA_VERSION, Service, dead_subject,
    job_subject,
};
use cedm_runtime::{DeadLetters, Replayed, Stored, SubmitOutcome, Submitter};

/// The job as a program submits it whose algorithm has another version.
fn in_version(job: Job, version: u32) -> Job {
    let roles: Vec<(&str, &str)> = Vec::new();
    let hashed = (
        SCHEMA_VERSION,
        job.kind().token(),
        version,
        &job.spec,
        roles,
    );
    let key = JobKey::of(&rmp_serde::to_vec_named(&hashed).unwrap());
    Job { key, ..job }
}

/// The job once a worker has given it back.
async fn returned(submitter: &Submitter, job: &Job) -> Stored {
    eventually("a worker gives it back", async || {
        let stored = submitter.look_up(job.kind(), &job.key).await.unwrap()?;
        (stored.envelope.returns > 0).then_some(stored)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_another_version_waits_for_a_worker_that_can() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let version = job("newer").kind().algorithm_version() + 1;
    let newer = in_version(job("newer"), version);
    let subject = job_subject(newer.kind(), newer.priority, &newer.key);
    harness.publish(subject, newer.encode().unwrap()).await;

    // One whose parameters this build does not know: its headers say what it is for.
    let unknown = job("unknown");
    let mut headers = HeaderMap::new();
    headers.insert("Cedm-Algorithm", version.to_string());
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    let subject = job_subject(unknown.kind(), unknown.priority, &unknown.key);
    let payload = rmp_serde::to_vec_named(
        &serde_json::json!({"schema": 1, "key": unknown.key, "spec": {"kind": "fit", "basis": 7}}),
    )
    .unwrap();
    let sent = js.publish_with_headers(subject, headers, payload.into());
    sent.await.unwrap().await.unwrap();

    let own = job("own");
    let mut events = JobEvents::of(&connection, &own).await;
    let worker = harness.worker(&[], &[]);
    for job in [&newer, &unknown] {
        let stored = returned(&submitter, job).await;
        assert_eq!(stored.envelope.algorithm, Some(version));
        assert!(
            stored.subject.starts_with("cedm.delay."),
            "{}",
            stored.subject
        );
        assert!(matches!(
            submitter.submit(job).await.unwrap(),
            SubmitOutcome::AlreadyQueued
        ));
    }
    submitter.submit(&own).await.unwrap();
    events.next(EventWhat::Done).await;
    assert!(letters.list().await.unwrap().is_empty());
    assert_eq!(letters.count().await.unwrap(), 0);
    let heartbeat = eventually("a heartbeat", async || {
        cedm_runtime::workers(&connection).await.unwrap().pop()
    })
    .await;
    let address = heartbeat.metrics.trim_start_matches("http://");
    let address = address.trim_end_matches("/metrics").to_owned();
    let (_, metrics) = crate::process::get(&address, "/metrics").await;
    let counted = r#"cedm_jobs_total{kind="fit",outcome="other_version",service="extractor"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
    drop(worker);
}

/// Bytes that are no job below the subject of a real one: a letter at once, which says so, and
/// which the job as it is planned now replaces.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_without_a_readable_job_is_replaced_by_the_job() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let job = job("real");
    let mut events = JobEvents::of(&connection, &job).await;
    let subject = job_subject(job.kind(), job.priority, &job.key);
    harness.publish(subject, b"no job".to_vec()).await;
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Dead).await;
    let letter = letters.show(&job.key).await.unwrap().unwrap();
    assert_eq!((letter.job, letter.raw), (None, b"no job".to_vec()));
    let error = letters.replay(&job.key).await.unwrap_err().to_string();
    assert!(error.contains("cedm dead forget"), "{error}");
    let SubmitOutcome::Dead(letter) = submitter.submit(&job).await.unwrap() else {
        panic!("the letter is shown to whoever submits");
    };
    assert_eq!(letter.job, None);
    assert_eq!(letters.renew(&job).await.unwrap(), Replayed::Queued);
    events.next(EventWhat::Done).await;
    assert_eq!(letters.count().await.unwrap(), 0);
}

/// A letter of a newer program, with a job that this one cannot read: it is listed and shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_with_a_job_of_another_version_is_a_letter() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let letters = DeadLetters::new(&connection);
    let version = job("newer").kind().algorithm_version() + 1;
    let newer = in_version(job("newer"), version);
    let letter = DeadLetter {
        schema: SCHEMA_VERSION,
        kind: newer.kind(),
        key: newer.key.clone(),
        job: Some(newer.clone()),
        failure: FailureKind::Reject,
        error: "refused".to_owned(),
        attempts: 1,
        at_ms: 1,
        worker: String::new(),
        raw: Vec::new(),
    };
    let unknown = job("unknown");
    let mut with_unknown = serde_json::to_value(&letter).unwrap();
    with_unknown["key"] = serde_json::json!(unknown.key);
    with_unknown["job"]["spec"] = serde_json::json!({"kind": "fit", "basis": 7});
    for (key, payload) in [
        (&newer.key, rmp_serde::to_vec_named(&letter).unwrap()),
        (
            &unknown.key,
            rmp_serde::to_vec_named(&with_unknown).unwrap(),
        ),
    ] {
        harness
            .publish(dead_subject(newer.kind(), key), payload)
            .await;
        let shown = letters.show(key).await.unwrap().unwrap();
        assert_eq!((shown.error.as_str(), shown.job), ("refused", None));
    }
    assert_eq!(letters.list().await.unwrap().len(), 2);
    assert!(letters.unreadable().await.unwrap().is_empty());

    // Another job's in its place is none.
    let lying = DeadLetter {
        job: Some(job("third")),
        ..letter
    };
    let payload = rmp_serde::to_vec_named(&lying).unwrap();
    harness
        .publish(dead_subject(newer.kind(), &newer.key), payload)
        .await;
    let unreadable = letters.unreadable().await.unwrap();
    assert_eq!(unreadable.len(), 1);
    assert!(
        unreadable[0].reason.contains("carries"),
        "{}",
        unreadable[0].reason
    );
}
