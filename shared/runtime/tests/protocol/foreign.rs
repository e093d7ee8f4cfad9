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
