//! Garbage in every stream, bucket and prefix is skipped, counted, shown, and can be removed.

use crate::harness::{Harness, JobEvents, eventually, job};
use cedm_contract::{
    DeadLetter, Event, EventWhat, FailureKind, Service, dead_subject, event_subject, manifest_key,
};
use cedm_runtime::{
    Body, DeadLetters, EventFilter, Metrics, Place, Redeliverer, SubmitOutcome, Submitter,
    forget_event, past_events, unreadable_events, workers,
};

/// How much this process has skipped at a place, as its metrics say.
fn counted(place: Place) -> u64 {
    let metrics = Metrics::new("coordinator", &[]).unwrap().render();
    let label = place.label();
    let series =
        format!(r#"cedm_undecodable_messages_total{{place="{label}",service="coordinator"}} "#);
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no series {series}"))
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_work_queue_becomes_letters() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let own = job("own");
    let mut events = JobEvents::of(&connection, &own).await;
    for subject in [
        "cedm.job.fit.p1.no-key",
        "cedm.job.fit.p1.more.than.a.key",
        "cedm.job.nothing.p1.x",
        "cedm.job.fit.p9.x",
        "cedm.job.x",
        "cedm.due.fit.p1.no-key",
    ] {
        harness.publish(subject.to_owned(), b"x".to_vec()).await;
    }
    assert_eq!(submitter.outstanding(None).await.unwrap().len(), 0);
    submitter.submit(&own).await.unwrap();
    let worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let redeliverer = Redeliverer::new(&connection);
    redeliverer.sweep().await.unwrap();
    let listed = eventually("each is a letter", async || {
        let listed = letters.list().await.unwrap();
        (listed.len() == 6).then_some(listed)
    })
    .await;
    assert!(counted(Place::Jobs) >= 3 && counted(Place::Delays) >= 1);
    for letter in listed {
        assert_eq!((letter.job, letter.raw), (None, b"x".to_vec()));
        assert!(letters.forget(&letter.key).await.unwrap());
    }
    assert_eq!(letters.count().await.unwrap(), 0);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_among_events_and_advisories_is_skipped() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, job) = (Submitter::new(&connection), job("own"));
    let mut events = JobEvents::of(&connection, &job).await;
    let lie = Event {
        schema: cedm_contract::SCHEMA_VERSION,
        key: job.key.clone(),
        kind: job.kind(),
        what: EventWhat::Done,
        attempt: None,
        worker: String::new(),
        at_ms: 1,
        cached: false,
        done: 0,
        total: 0,
        unit: String::new(),
        message: "a lie".to_owned(),
    };
    let (kind, key) = (job.kind(), &job.key);
    for (subject, payload) in [
        (format!("cedm.evt.{kind}.done.{key}"), b"x".to_vec()),
        // Below the subject of another kind.
        (
            format!("cedm.evt.sample.done.{key}"),
            rmp_serde::to_vec_named(&lie).unwrap(),
        ),
        (
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CEDM_JOBS.fit-p1".to_owned(),
            b"x".to_vec(),
        ),
    ] {
        harness.publish(subject, payload).await;
    }
    let redeliverer = Redeliverer::new(&connection);
    assert_eq!(redeliverer.drain_advisories().await.unwrap(), 0);
    let filter = EventFilter {
        key: Some(key.clone()),
        ..EventFilter::default()
    };
    assert!(past_events(&connection, &filter).await.unwrap().is_empty());
    assert!(counted(Place::Events) >= 2 && counted(Place::Advisories) >= 1);
    let listed = unreadable_events(&connection).await.unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    submitter.submit(&job).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    let done = events.next(EventWhat::Done).await;
    assert_ne!(done.message, "a lie");
    // Each is removed by its name, and nothing else is.
    for event in &listed {
        let (subject, sequence) = (event.subject.as_str(), event.sequence);
        let forget = async |sequence| forget_event(&connection, subject, sequence).await;
        assert!(!forget(sequence + 1000).await.unwrap());
        assert!(forget(sequence).await.unwrap());
        assert!(!forget(sequence).await.unwrap());
    }
    assert_eq!(unreadable_events(&connection).await.unwrap(), []);
    let subject = event_subject(done.kind, done.what, &done.key);
    let places = listed[1].sequence..listed[1].sequence + 10;
    let (mut refused, mut absent) = (0, 0);
    for sequence in places {
        match forget_event(&connection, &subject, sequence).await {
            Err(error) => {
                assert!(error.to_string().contains("is an event"), "{error}");
                refused += 1;
            }
            Ok(removed) => {
                assert!(!removed);
                absent += 1;
            }
        }
    }
    assert_eq!((refused, absent), (1, 9));
}

/// A readable letter below one kind, and garbage below others of the same key.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_found_beside_garbage_of_its_key() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (letters, job) = (DeadLetters::new(&connection), job("dead"));
    let letter = DeadLetter {
        schema: cedm_contract::SCHEMA_VERSION,
        kind: job.kind(),
        key: job.key.clone(),
        job: Some(job.clone()),
        failure: FailureKind::Bug,
        error: "died".to_owned(),
        attempts: 5,
        at_ms: 1,
        worker: String::new(),
        raw: Vec::new(),
    };
    let own = dead_subject(job.kind(), &job.key);
    let payload = rmp_serde::to_vec_named(&letter).unwrap();
    for (subject, payload) in [
        (format!("cedm.dead.adapt.{}", job.key), b"x".to_vec()),
        (own, payload),
        (format!("cedm.dead.train.{}", job.key), b"x".to_vec()),
    ] {
        harness.publish(subject, payload).await;
    }
    assert_eq!(letters.show(&job.key).await.unwrap().unwrap().error, "died");
    assert_eq!(letters.unreadable().await.unwrap().len(), 2);
    assert!(counted(Place::Dead) >= 2);
    assert!(letters.forget(&job.key).await.unwrap());
    assert_eq!(letters.count().await.unwrap(), 0, "all of its key are gone");
}

/// What workers may write into the buckets: entries that are none, below keys that are none.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_buckets_hides_no_worker() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let _worker = harness.worker(&[], &[]);
    let heartbeat = eventually("a heartbeat", async || {
        workers(&connection).await.unwrap().pop()
    });
    let heartbeat = heartbeat.await;
    let client = harness.client(Service::Sampler).await;
    let copied = rmp_serde::to_vec_named(&heartbeat).unwrap();
    for (key, payload) in [
        ("garbage", b"x".to_vec()),
        ("a$b", b"x".to_vec()),
        ("other", copied),
    ] {
        let subject = format!("$KV.CEDM_workers.{key}");
        client.publish(subject, payload.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    eventually("it is counted", async || {
        let found = workers(&connection).await.unwrap();
        assert!(found.iter().all(|found| found.worker == heartbeat.worker));
        (found.len() == 1 && counted(Place::Heartbeats) >= 3).then_some(())
    })
    .await;
}

/// A manifest that claims to be a newer program's must not stop those who look at other jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_newer_program_stops_nobody_else() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters) = (Submitter::new(&connection), DeadLetters::new(&connection));
    let (dead, damaged) = (job("reject"), job("damaged"));
    let mut events = JobEvents::of(&connection, &dead).await;
    submitter.submit(&dead).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Dead).await;
    let store = connection.store();
    for (key, text) in [(&dead.key, r#"{"schema": 999}"#), (&damaged.key, "x")] {
        let bytes = Body::Bytes(text.into());
        store.put(&manifest_key(key), bytes).await.unwrap();
    }
    assert_eq!(letters.list().await.unwrap().len(), 1);
    assert!(submitter.manifest(&dead.key).await.unwrap().is_none());
    assert!(counted(Place::Manifests) >= 1);
    let mut events = JobEvents::of(&connection, &damaged).await;
    assert!(matches!(
        submitter.submit(&damaged).await.unwrap(),
        SubmitOutcome::Queued
    ));
    assert!(counted(Place::Manifests) >= 2);
    events.next(EventWhat::Done).await;
    // By the name that its metric and its log give it, whoever runs the store removes it.
    store.delete(&manifest_key(&dead.key)).await.unwrap();
    assert!(letters.forget(&dead.key).await.unwrap());
}
