//! What grows with the number of jobs, letters and workers must not: requests per job, and what is read
//! again and again.

use crate::harness::{Harness, JobEvents, job};
use cedm_contract::{EventWhat, Job, Priority, Service};
use cedm_runtime::{DeadLetters, LetterBook, SubmitOutcome, Submitter};
use futures::{FutureExt, StreamExt, TryStreamExt};

/// Counts what is published below a subject.
struct Counter(async_nats::Subscriber);

impl Counter {
    async fn of(harness: &Harness, subject: &'static str) -> Self {
        let client = harness.client(Service::Coordinator).await;
        let messages = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        Self(messages)
    }

    /// How many since it was last asked.
    fn count(&mut self) -> usize {
        let mut count = 0;
        while let Some(Some(_)) = self.0.next().now_or_never() {
            count += 1;
        }
        count
    }
}

/// Four idle workers, and a job for one of them at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_wakes_one_of_the_workers_that_wait() {
    const JOBS: usize = 40;
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let mut pulls = Counter::of(&harness, "$JS.API.CONSUMER.MSG.NEXT.>").await;
    let workers = [0; 4].map(|_| harness.worker(&[], &[]));
    let mut ready = JobEvents::of(&connection, &job("first")).await;
    submitter.submit(&job("first")).await.unwrap();
    ready.next(EventWhat::Done).await;
    // Until all of them wait.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        if pulls.count() == 0 {
            break;
        }
    }
    for index in 0..JOBS {
        let job = job(&format!("next {index}"));
        let mut events = JobEvents::of(&connection, &job).await;
        submitter.submit(&job).await.unwrap();
        events.next(EventWhat::Done).await;
    }
    let per_job = pulls.count() as f64 / JOBS as f64;
    // Of an extractor: four kinds under three priorities, once to look and once to wait; and now and then a
    // wait of the others ends.
    println!("{per_job} pulls per job");
    assert!(per_job < 40.0, "{per_job} pulls per job");
    drop(workers);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_sweep_raises_a_job_that_waits_and_it_runs_once() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let later = Job {
        priority: Priority::P2,
        ..job("raised")
    };
    let urgent = Job {
        priority: Priority::P0,
        ..later.clone()
    };
    submitter.submit(&later).await.unwrap();
    // Nothing becomes less urgent.
    let raised = submitter.submit(&urgent).await.unwrap();
    assert!(matches!(raised, SubmitOutcome::Queued), "{raised:?}");
    for job in [&later, &urgent] {
        let again = submitter.submit(job).await.unwrap();
        assert!(matches!(again, SubmitOutcome::AlreadyQueued), "{again:?}");
    }
    let queued = submitter.outstanding(Some(later.kind())).await.unwrap();
    assert_eq!(queued.len(), 1, "{queued:?}");
    assert_eq!(queued[0].priority, Priority::P0);

    let mut starts = Counter::of(&harness, "cedm.evt.fit.started.>").await;
    let mut events = JobEvents::of(&connection, &later).await;
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    assert_eq!(starts.count(), 1);
}

/// What a worker has received stays where it is: it would be done twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_being_performed_is_not_raised() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let later = Job {
        priority: Priority::P2,
        ..job("deaf")
    };
    let mut events = JobEvents::of(&connection, &later).await;
    submitter.submit(&later).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Started).await;
    let urgent = Job {
        priority: Priority::P0,
        ..later.clone()
    };
    let attached = submitter.submit(&urgent).await.unwrap();
    assert!(
        matches!(attached, SubmitOutcome::AlreadyQueued),
        "{attached:?}"
    );
    let queued = submitter.outstanding(Some(later.kind())).await.unwrap();
    assert_eq!(queued.len(), 1, "{queued:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_read_once_and_a_book_follows_what_comes_and_goes() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let letters = DeadLetters::new(&connection);
    let jobs: Vec<Job> = (0..30).map(|index| job(&format!("dead {index}"))).collect();
    for job in &jobs {
        letters.give_up(job, "no").await.unwrap();
    }
    harness
        .publish("cedm.dead.fit.garbage".to_owned(), b"none".to_vec())
        .await;
    let mut book = LetterBook::default();
    let mut reads = Counter::of(&harness, "$JS.API.STREAM.MSG.GET.>").await;
    letters.refresh(&mut book).await.unwrap();
    assert_eq!(book.letters().count(), 30);
    assert!(
        book.letters()
            .all(|letter| letter.has_job && letter.error == "no")
    );
    reads.count();

    letters.refresh(&mut book).await.unwrap();
    assert_eq!((book.letters().count(), reads.count()), (30, 0));

    // One goes from the middle, the first goes, one is replaced, one is new.
    for gone in [0, 7] {
        assert!(letters.forget(&jobs[gone].key).await.unwrap());
    }
    letters.give_up(&jobs[9], "still not").await.unwrap();
    letters.give_up(&job("another"), "no").await.unwrap();
    reads.count();
    letters.refresh(&mut book).await.unwrap();
    let mut known: Vec<_> = book
        .letters()
        .map(|letter| (letter.key.clone(), letter.error.clone()))
        .collect();
    known.sort();
    let mut listed: Vec<_> = letters
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|letter| (letter.key, letter.error))
        .collect();
    listed.sort();
    assert_eq!(known, listed);
    assert_eq!(known.len(), 29);
}

/// Ten thousand jobs are queued at a thousand a second, and attaching to them costs no more; both on an
/// otherwise idle machine, so the limit here is a tenth of that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: `cargo test -p cedm-runtime --test protocol submission -- --ignored --nocapture`"]
async fn submission_of_ten_thousand_jobs() {
    let harness = Harness::start().await;
    let submitter = harness.submitter().await;
    let jobs: Vec<Job> = (0..10_000)
        .map(|index| job(&format!("job {index}")))
        .collect();
    let started = std::time::Instant::now();
    let submissions = futures::stream::iter(&jobs).map(|job| submitter.submit(job));
    let outcomes: Vec<SubmitOutcome> = submissions
        .buffer_unordered(64)
        .try_collect()
        .await
        .unwrap();
    let rate = 10_000.0 / started.elapsed().as_secs_f64();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, SubmitOutcome::Queued))
    );
    println!("{rate:.0} submissions a second");
    assert!(rate > 100.0, "{rate}");
}
