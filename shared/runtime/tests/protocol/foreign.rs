//! Messages that this version cannot read are never lost: newer jobs wait, anything else is a dead
//! letter.

use crate::harness::{Harness, eventually, job};
use cedm_contract::{FailureKind, Service, delay_subject, job_subject};
use cedm_runtime::{DeadLetters, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_newer_program_waits_for_a_newer_worker() {
    let harness = Harness::start().await;
    let submitter = Submitter::new(&harness.connect(Service::Coordinator).await);
    let mut newer = job("from the future");
    newer.schema = 99;
    let payload = newer.encode().unwrap();
    harness
        .publish(
            job_subject(newer.kind(), newer.priority, &newer.key),
            payload.clone(),
        )
        .await;
    let _worker = harness.worker(&[], &[]);
    let stored = eventually("it waits as a delayed job", async || {
        let stored = submitter.look_up(newer.kind(), &newer.key).await.unwrap()?;
        (stored.subject == delay_subject(newer.kind(), newer.priority, &newer.key))
            .then_some(stored)
    })
    .await;
    assert_eq!(stored.payload, payload, "unchanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_becomes_a_dead_letter_with_its_bytes() {
    let harness = Harness::start().await;
    let letters = DeadLetters::new(&harness.connect(Service::Coordinator).await);
    let job = job("garbage");
    harness
        .publish(
            job_subject(job.kind(), job.priority, &job.key),
            b"no job at all".to_vec(),
        )
        .await;
    let _worker = harness.worker(&[], &[]);
    let letter = eventually("a dead letter", async || {
        letters.show(&job.key).await.unwrap()
    })
    .await;
    assert_eq!(
        (letter.failure, letter.job, letter.raw.as_slice()),
        (FailureKind::Reject, None, b"no job at all".as_slice())
    );
}

/// The account holds a stream and a bucket of our names without our mark: they keep their settings
/// and messages, and the error names them.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_another_application_are_left_alone() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    let theirs = |name: &str, subjects: &[&str]| async_nats::jetstream::stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
        max_messages_per_subject: 5,
        ..Default::default()
    };
    for (name, subjects) in [
        ("CEDM_EVENTS", ["orders.>"].as_slice()),
        ("KV_CEDM_leases", ["$KV.CEDM_leases.>"].as_slice()),
    ] {
        connection.ensure_streams().await.unwrap();
        js.delete_stream(name).await.unwrap();
        let stream = js.create_stream(theirs(name, subjects)).await.unwrap();
        let subject = subjects[0].replace('>', "one");
        js.publish(subject, "kept".into())
            .await
            .unwrap()
            .await
            .unwrap();
        let before = stream.get_info().await.unwrap();

        let error = connection.ensure_streams().await.unwrap_err().to_string();
        assert!(error.contains("belongs to another application"), "{error}");
        assert!(error.contains(name), "{error}");
        let after = js.get_stream(name).await.unwrap().get_info().await.unwrap();
        assert_eq!(after.config, before.config);
        assert_eq!(after.state.messages, 1);
        js.delete_stream(name).await.unwrap();
    }
    connection.ensure_streams().await.unwrap();
}
