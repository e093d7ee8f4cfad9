//! A job that cannot be done stays in the dead letters, with its reason, until it is replayed.

use crate::harness::{Harness, JobEvents, assert_no_dead_letters, eventually, job, leaves_queue};
use cedm_contract::{
    DeadLetter, Digest, EventWhat, FailureKind, Hints, Input, Job, JobKey, MAX_MESSAGE_BYTES,
    Priority, Service, numbered_role,
};
use cedm_runtime::{DeadLetters, Redeliverer, Replayed, SubmitOutcome, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_and_replayed() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let cure = harness.root.path().join("cure");
    let job = job(&format!("fail_until:{}", cure.display()));
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Dead).await;
    leaves_queue(&submitter, &job).await;

    let listed = letters.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (
            listed[0].failure,
            listed[0].error.as_str(),
            listed[0].attempts
        ),
        (FailureKind::Reject, "not yet", 1)
    );
    assert!(
        matches!(
            submitter.submit(&job).await.unwrap(),
            SubmitOutcome::Dead(_)
        ),
        "a dead job is not retried by itself"
    );
    assert_eq!(
        letters.show(&job.key).await.unwrap().unwrap().job,
        Some(job.clone())
    );

    std::fs::write(&cure, "").unwrap();
    assert_eq!(letters.replay(&job.key).await.unwrap(), Replayed::Queued);
    events.next(EventWhat::Done).await;
    assert!(letters.list().await.unwrap().is_empty());
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::Cached(_)
    ));
}

/// A job that no message can hold: it is nowhere in the queue, so only its letter can show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_queued_is_a_dead_letter() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    // The second is too large for a letter too, which is then without it.
    for (inputs, is_held) in [(700, true), (5_000, false)] {
        let inputs = (0..inputs).map(|index| Input {
            role: numbered_role("shard", index),
            key: JobKey::of(b"shard"),
            digest: Digest::of(b"shard"),
        });
        let (spec, hints) = (job("large").spec, Hints::default());
        let large = Job::new(spec, inputs.collect(), Priority::P1, hints);
        let mut events = JobEvents::of(&connection, &large).await;
        let refused = submitter.submit(&large).await.unwrap_err().to_string();
        let limit = MAX_MESSAGE_BYTES.to_string();
        assert!(refused.contains(&limit), "{refused}");

        letters.give_up(&large, &refused).await.unwrap();
        events.next(EventWhat::Dead).await;
        let letter = letters.show(&large.key).await.unwrap().unwrap();
        assert_eq!((letter.failure, letter.attempts), (FailureKind::Reject, 0));
        assert_eq!(letter.error, refused);
        assert_eq!(letter.job, is_held.then(|| large.clone()));
        let listed = letters.list().await.unwrap();
        assert!(listed.iter().any(|letter| letter.key == large.key));
        // It is as large when it is replayed, and the letter stays.
        assert!(letters.replay(&large.key).await.is_err());
        assert!(letters.show(&large.key).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_retried_and_then_becomes_a_dead_letter() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("panic");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let _worker = harness.worker(&["--max-attempts", "2"], &[]);
    events.next(EventWhat::Failed).await;
    events.next(EventWhat::Dead).await;
    let letter = DeadLetters::new(&connection)
        .show(&job.key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(letter.failure, FailureKind::Bug);
    assert!(
        letter.error.contains("panic: on request"),
        "{}",
        letter.error
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_is_moved_by_advisory() {
    let harness = Harness::with_ack_wait(1.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters, redeliverer) = (
        Submitter::new(&connection),
        DeadLetters::new(&connection),
        Redeliverer::new(&connection),
    );
    let job = job("abort");
    submitter.submit(&job).await.unwrap();
    let mut deaths = 0;
    while deaths < 5 {
        let mut worker = harness.worker(&["--exit-when-idle", "20"], &[]);
        match worker.ended().await {
            None => deaths += 1,
            Some(code) => panic!("the worker did not crash and ended with {code}"),
        }
    }
    // The broker checks its delivery budget at the next pull.
    let _worker = harness.worker(&[], &[]);
    let moved = eventually("an advisory arrives", async || {
        let moved = redeliverer.drain_advisories().await.unwrap();
        (moved > 0).then_some(moved)
    })
    .await;
    assert_eq!(moved, 1);
    let letter = letters.show(&job.key).await.unwrap().unwrap();
    assert!(
        letter.error.contains("gave up after 5 deliveries"),
        "{}",
        letter.error
    );
    assert!(
        !submitter
            .is_outstanding(job.kind(), &job.key)
            .await
            .unwrap()
    );
    assert_eq!(letters.replay(&job.key).await.unwrap(), Replayed::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_job_without_an_advisory_is_found_by_the_sweep() {
    let harness = Harness::with_ack_wait(1.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let redeliverer = Redeliverer::new(&connection);
    let job = job("abort");
    Submitter::new(&connection).submit(&job).await.unwrap();
    for _ in 0..5 {
        assert_eq!(harness.worker(&[], &[]).ended().await, None);
    }
    let _worker = harness.worker(&[], &[]);
    eventually("the sweep finds it", async || {
        (redeliverer.sweep().await.unwrap() > 0).then_some(())
    })
    .await;
    assert!(
        DeadLetters::new(&connection)
            .show(&job.key)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_advances_with_every_crash_is_not_dead() {
    let harness = Harness::with_ack_wait(1.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let redeliverer = Redeliverer::new(&connection);
    // More crashes than the broker's delivery budget, each at another checkpoint.
    let job = job("climb:8");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let moving = tokio::spawn(async move { redeliverer.run().await });
    for _ in 0..7 {
        assert_eq!(harness.worker(&[], &[]).ended().await, None);
    }
    let _last = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    moving.abort();
    assert_no_dead_letters(&connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_letter_and_its_acknowledgement_leaves_one_letter() {
    let harness = Harness::with_ack_wait(1.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let job = job("reject");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let mut worker = harness.worker(&[], &[("CEDM_FAILPOINT", "after-letter")]);
    assert_eq!(worker.ended().await, None);
    assert!(
        submitter
            .is_outstanding(job.kind(), &job.key)
            .await
            .unwrap(),
        "not acknowledged yet"
    );
    let _second = harness.worker(&[], &[]);
    events.next(EventWhat::Dead).await;
    assert_eq!(letters.list().await.unwrap().len(), 1);
    assert!(
        !submitter
            .is_outstanding(job.kind(), &job.key)
            .await
            .unwrap(),
        "the event comes last"
    );
}

/// One byte in place of a letter, as whoever may publish letters may publish it: it is listed
/// apart, blocks neither the other letters nor its own job, and can be removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_letter_stops_nothing() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let job = job("done");
    let own = cedm_contract::dead_subject(job.kind(), &job.key);
    for subject in [own.clone(), "cedm.dead.nothing.at-all".to_owned()] {
        harness.publish(subject, b"x".to_vec()).await;
    }
    let unreadable = eventually("both are stored", async || {
        let found = letters.unreadable().await.unwrap();
        (found.len() == 2).then_some(found)
    })
    .await;
    assert!(unreadable.iter().all(|message| message.bytes == 1));
    assert!(letters.list().await.unwrap().is_empty());
    assert_eq!(letters.count().await.unwrap(), 2, "they are counted");
    let error = letters.show(&job.key).await.unwrap_err().to_string();
    assert!(error.contains("is not a dead letter"), "{error}");
    assert!(letters.replay(&job.key).await.is_err());
    assert_eq!(letters.readable(&job.key).await.unwrap(), None);

    let mut events = JobEvents::of(&connection, &job).await;
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::Queued
    ));
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;

    assert!(letters.forget_subject("cedm.dead.>").await.is_err());
    for subject in [own.as_str(), "cedm.dead.nothing.at-all"] {
        assert!(letters.forget_subject(subject).await.unwrap());
        assert!(!letters.forget_subject(subject).await.unwrap());
    }
    assert!(letters.unreadable().await.unwrap().is_empty());
}

/// A letter of one job below the subject of another: neither job is stopped, and none is replayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_under_another_subject_stops_no_job() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let (stopped, other) = (job("done"), job("other"));
    let letter = DeadLetter {
        schema: cedm_contract::SCHEMA_VERSION,
        kind: other.kind(),
        key: other.key.clone(),
        job: Some(other),
        failure: FailureKind::Reject,
        error: "forged".to_owned(),
        attempts: 1,
        at_ms: 1,
        worker: String::new(),
        raw: Vec::new(),
    };
    let subject = cedm_contract::dead_subject(stopped.kind(), &stopped.key);
    harness
        .publish(subject.clone(), rmp_serde::to_vec_named(&letter).unwrap())
        .await;
    let unreadable = letters.unreadable().await.unwrap();
    assert_eq!(unreadable.len(), 1);
    assert!(
        unreadable[0].reason.contains(letter.key.as_str()),
        "{}",
        unreadable[0].reason
    );
    assert!(letters.list().await.unwrap().is_empty());
    assert_eq!(letters.readable(&stopped.key).await.unwrap(), None);
    assert!(letters.replay(&stopped.key).await.is_err());
    assert!(matches!(
        submitter.submit(&stopped).await.unwrap(),
        SubmitOutcome::Queued
    ));
    assert!(letters.forget_subject(&subject).await.unwrap());
}
