//! Everything at once: faulty connections to the broker and to the store, workers that are killed
//! and frozen, a broker and a store that restart. At the end the invariants hold that `cedm fsck`
//! checks. The seed is printed; `CEDM_SEED` chooses another.

use crate::{
    faulty_proxy::FaultyProxy,
    harness::{Harness, PATIENCE, WorkerProcess, job},
};
use cedm_contract::{Job, Service};
use cedm_runtime::{
    Claims, DeadLetters, EventFilter, Redeliverer, SubmitOutcome, Submitter, audit, commits,
    past_events,
};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeSet, time::Duration};

const JOBS: u64 = 24;
const WORKERS: usize = 3;

fn worker(harness: &Harness, nats: &FaultyProxy, store: &FaultyProxy) -> WorkerProcess {
    let (nats, store) = (
        format!("nats://{}", nats.address),
        format!("http://{}", store.address),
    );
    harness.worker(
        &["--checkpoint-every-s", "0.2"],
        &[
            ("CEDM_NATS_URL", &nats),
            ("CEDM_S3_ENDPOINT", &store),
            ("CEDM_CONNECT_TIMEOUT_S", "20"),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_lost_or_committed_twice() {
    let seed = std::env::var("CEDM_SEED").map_or_else(
        |_| rand::random(),
        |seed| seed.parse().expect("CEDM_SEED is a number"),
    );
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut harness = Harness::with_ack_wait(2.0).await;
    let (nats_proxy, store_proxy) = (
        FaultyProxy::to(harness.nats_address(), seed, 30, false).await,
        FaultyProxy::to(harness.s3_address(), seed + 1, 25, true).await,
    );
    let connection = harness.connect(Service::Coordinator).await;
    let (submitter, letters, redeliverer) = (
        Submitter::new(&connection),
        DeadLetters::new(&connection),
        Redeliverer::new(&connection),
    );
    let moving = tokio::spawn(async move { redeliverer.run().await });
    let jobs: Vec<Job> = (0..JOBS)
        .map(|index| job(&format!("slow:{}", 2 + index)))
        .collect();
    let mut workers: Vec<WorkerProcess> = (0..WORKERS)
        .map(|_| worker(&harness, &nats_proxy, &store_proxy))
        .collect();
    let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
    let mut missing = jobs.clone();
    for round in 0.. {
        assert!(
            tokio::time::Instant::now() < deadline,
            "seed {seed}: not done in time: {}",
            missing.len()
        );
        // The coordinator's part: what is desired, minus what is done, minus what is queued; the
        // dead are replayed.
        let mut left = Vec::new();
        for job in missing {
            match submitter.submit(&job).await {
                Ok(SubmitOutcome::Cached(_)) => continue,
                // No result and no queue: killed too often in one place. An operator looks at it
                // and tries again.
                Ok(SubmitOutcome::Dead(_)) => drop(letters.replay(&job.key).await),
                Ok(_) | Err(_) => {}
            }
            left.push(job);
        }
        missing = left;
        if missing.is_empty() {
            break;
        }
        let victim = dice.random_range(0..WORKERS);
        match (round % 4, round) {
            (_, 5) => {
                harness.kill_nats();
                harness.start_nats();
            }
            (_, 9) => {
                harness.stop_store().await;
                harness.start_store().await;
            }
            (1, _) => workers[victim] = worker(&harness, &nats_proxy, &store_proxy),
            (2, _) => workers[victim].signal(Signal::SIGSTOP),
            (3, _) => workers
                .iter()
                .for_each(|worker| worker.signal(Signal::SIGCONT)),
            _ => {}
        }
        for worker in &mut workers {
            // Its connections may have been so bad that it could not begin.
            if worker.has_ended().is_some() {
                *worker = self::worker(&harness, &nats_proxy, &store_proxy);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    moving.abort();
    println!(
        "{} connections to the broker and {} to the store were faulty",
        nats_proxy.faulty(),
        store_proxy.faulty()
    );
    assert!(
        store_proxy.faulty() > 0,
        "seed {seed}: no connection was faulty"
    );

    let events = past_events(&connection, &EventFilter::default())
        .await
        .unwrap();
    let claims = Claims {
        wanted: jobs
            .iter()
            .map(|job| job.key.clone())
            .collect::<BTreeSet<_>>(),
        ..Claims::of_events(&events)
    };
    let findings = audit(connection.store(), None, &claims, |_, _| {})
        .await
        .unwrap();
    assert!(
        findings.violations.is_empty(),
        "seed {seed}: {:?}",
        findings.violations
    );
    assert_eq!(findings.manifests, JOBS);
    for (key, attempts) in commits(&events) {
        assert_eq!(
            attempts.len(),
            1,
            "seed {seed}: {key} was committed by {attempts:?}"
        );
    }
    for (job, steps) in jobs.iter().zip(2..) {
        let manifest = submitter.manifest(&job.key).await.unwrap().unwrap();
        let object = &manifest.output(crate::harness::ECHO).unwrap().object.object;
        let text = connection.store().get(object).await.unwrap().unwrap();
        assert_eq!(
            *text,
            *crate::harness::counted(steps).as_bytes(),
            "seed {seed}: slow:{steps}"
        );
    }
}
