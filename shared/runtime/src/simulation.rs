//! The protocol under simulated misfortune: the real attempt and commit code over a store and a broker in memory that fail, forget
//! and answer late, with workers that die or fall asleep at any point. Time is simulated; everything follows from one seed.

mod ram_queue;

use crate::{
    JobError, Metrics, Outcome, RuntimeError, Stability,
    attempt::Workshop,
    compute::{Compute, Finished},
    desk::{Bench, Desk},
    drain::Drain,
    queue::Queue,
    store::{Body, Cache, Fault, RamStore},
    testing::job,
    verify::{Found, Verifier, objects_of},
};
use bytes::Bytes;
use cedm_contract::{EventWhat, Job, JobResult, Manifest, Software, manifest_key};
use ram_queue::{RamQueue, Shared};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const ACK_WAIT: Duration = Duration::from_secs(60);
const MAX_DELIVER: u64 = 5;

type Dice = Arc<Mutex<StdRng>>;

fn roll(dice: &Dice, chance: f64) -> bool {
    dice.lock().unwrap().random_bool(chance)
}
fn pick(dice: &Dice, range: std::ops::Range<u64>) -> u64 {
    dice.lock().unwrap().random_range(range)
}
fn fault(dice: &Dice, chance: f64) -> Fault {
    match (roll(dice, chance), roll(dice, 0.5)) {
        (false, _) => Fault::None,
        (true, true) => Fault::Before,
        (true, false) => Fault::After,
    }
}

/// Computes by sleeping; now and then much longer than `ack_wait` with nobody sending signs of life.
struct Sleeper(Dice);

#[async_trait::async_trait]
impl Compute for Sleeper {
    async fn perform(&self, desk: Desk) -> Result<Finished, RuntimeError> {
        let took = Duration::from_secs(pick(&self.0, 1..30));
        tokio::time::sleep(took).await;
        let outcome = async {
            if roll(&self.0, 0.05) {
                return Err(JobError::retry(anyhow::anyhow!("the world was in the way")));
            }
            if roll(&self.0, 0.02) {
                return Err(JobError::Drained);
            }
            let text = desk.job().key.to_string();
            desk.put_async("result", Body::Bytes(text.into()), Stability::Stable).await?;
            desk.put_async("note", Body::Bytes(pick(&self.0, 0..1000).to_string().into()), Stability::Volatile)
                .await?;
            Ok(Outcome {
                result: JobResult::Fit { dim: 1 },
                metrics: BTreeMap::new(),
            })
        }
        .await;
        Ok(Finished { desk, outcome, took })
    }
}

/// One worker: pulls, works, and dies or freezes by the dice. A death drops the attempt at whatever await it stands.
async fn worker(workshop: Workshop, dice: Dice) {
    let job = job("kind only");
    loop {
        tokio::time::sleep(Duration::from_millis(pick(&dice, 100..2000))).await;
        let Ok(Some(delivery)) = workshop.queue.pull(job.kind(), job.priority).await else {
            continue;
        };
        let delivery = Arc::new(delivery);
        let is_zombie = roll(&dice, 0.1);
        let alive = {
            let delivery = delivery.clone();
            async move {
                loop {
                    tokio::time::sleep(ACK_WAIT / 4).await;
                    if !is_zombie {
                        // A lost sign of life is made good by the next.
                        let _ = delivery.receipt.progress().await;
                    }
                }
            }
        };
        let dies_after = if roll(&dice, 0.1) {
            Duration::from_millis(pick(&dice, 0..40_000))
        } else {
            Duration::MAX
        };
        let sleeps = if is_zombie {
            Duration::from_secs(pick(&dice, 0..200))
        } else {
            Duration::ZERO
        };
        tokio::select! {
            biased;
            // The attempt's own errors are the broker's business: the job comes again.
            _ = async { tokio::time::sleep(sleeps).await; workshop.handle(&delivery).await } => {}
            () = alive => {}
            () = tokio::time::sleep(dies_after) => {}
        }
    }
}

/// What the coordinator does: publishes what is desired and neither done nor queued, replays the dead.
async fn coordinator(queue: Shared, verifier: Verifier, jobs: Vec<Job>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        queue.0.move_stuck();
        for job in &jobs {
            if matches!(verifier.look_up(&job.key, false).await, Ok(Found::Nothing))
                && !queue.0.is_outstanding(job.kind(), job.priority, &job.key)
            {
                queue.0.forget(&job.key);
                let payload = Bytes::from(job.encode().unwrap());
                // Lost or refused: the next round sees.
                let _ = queue
                    .publish((job.kind(), job.priority), &job.key, payload, crate::Envelope::fresh(), "")
                    .await;
            }
        }
    }
}

fn manifests(store: &RamStore) -> BTreeMap<String, Bytes> {
    store
        .snapshot()
        .into_iter()
        .filter(|(key, _)| key.starts_with("manifest/"))
        .collect()
}

async fn simulate(seed: u64, metrics: &Metrics, folder: &std::path::Path, is_store_sound: bool) {
    let dice: Dice = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
    let chance = [0.0, 0.01, 0.1][usize::try_from(seed % 3).unwrap()];
    let (store_dice, queue_dice) = (dice.clone(), dice.clone());
    let store = RamStore::with_faults(move |_, _| fault(&store_dice, chance));
    let store = Arc::new(if is_store_sound { store } else { store.that_lets_all_win() });
    let queue = Shared(Arc::new(RamQueue::new(ACK_WAIT, MAX_DELIVER, move |_| fault(&queue_dice, chance))));
    let verifier = Verifier::new(store.clone());
    let bench = Bench {
        store: store.clone(),
        cache: Cache::open(&folder.join("cache"), 1 << 20).unwrap(),
        metrics: metrics.clone(),
        board: Arc::default(),
        drain: Drain::default(),
        scratch: folder.to_owned(),
        checkpoint_every: Duration::from_secs(60),
    };
    let workshop = Workshop {
        queue: Arc::new(queue.clone()),
        compute: Arc::new(Sleeper(dice.clone())),
        bench,
        verifier: verifier.clone(),
        software: Software::default(),
        max_failures: 5,
        max_deliver: MAX_DELIVER,
    };
    let jobs: Vec<Job> = (0..4).map(|index| job(&format!("job {index}"))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        tasks.spawn(worker(workshop.clone(), dice.clone()));
    }
    // Two coordinators: nothing may depend on there being one.
    for _ in 0..2 {
        tasks.spawn(coordinator(queue.clone(), verifier.clone(), jobs.clone()));
    }
    let mut seen: BTreeMap<String, Bytes> = BTreeMap::new();
    for second in 0..20_000 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 100 && seed.is_multiple_of(5) {
            queue.0.wipe();
        }
        let now = manifests(&store);
        for (key, bytes) in &seen {
            assert_eq!(
                now.get(key),
                Some(bytes),
                "seed {seed}: the manifest {key} changed after it was committed"
            );
        }
        seen = now;
        if seen.len() == jobs.len() && queue.0.is_empty() {
            break;
        }
    }
    check(seed, &store, &queue, &jobs);
}

/// The invariants: every job done, its objects whole and its own attempt's, no event without a manifest.
fn check(seed: u64, store: &RamStore, queue: &Shared, jobs: &[Job]) {
    let objects = store.snapshot();
    for job in jobs {
        let letters = queue.0.letters();
        let bytes = objects.get(&manifest_key(&job.key));
        let bytes = bytes.unwrap_or_else(|| panic!("seed {seed}: job {} never ended; dead letters: {letters:?}", job.key));
        let manifest = Manifest::decode(bytes).unwrap();
        for object in objects_of(&manifest) {
            let stored = objects
                .get(&object.object)
                .unwrap_or_else(|| panic!("seed {seed}: {} is missing", object.object));
            assert_eq!(cedm_contract::Digest::of(stored), object.digest, "seed {seed}: {}", object.object);
            assert!(
                object
                    .object
                    .starts_with(&cedm_contract::attempt_prefix(&job.key, &manifest.attempt)),
                "seed {seed}"
            );
        }
    }
    for event in queue.0.events() {
        if event.what == EventWhat::Done {
            assert!(
                objects.contains_key(&manifest_key(&event.key)),
                "seed {seed}: a done event without a manifest"
            );
        }
    }
    assert!(queue.0.is_empty(), "seed {seed}: something is left in the queue");
}

fn run(seeds: std::ops::Range<u64>, is_store_sound: bool) {
    let metrics = Metrics::new("simulation", &[job("").kind()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(simulate(seed, &metrics, folder.path(), is_store_sound));
    }
}

/// `CEDM_SEEDS=<first>..<end>` runs others.
#[test]
fn every_job_ends_once_whatever_happens() {
    let range = std::env::var("CEDM_SEEDS").unwrap_or_else(|_| "0..300".to_owned());
    let (first, end) = range.split_once("..").expect("CEDM_SEEDS is <first>..<end>");
    run(first.parse().unwrap()..end.parse().unwrap(), true);
}

#[test]
#[should_panic(expected = "changed after it was committed")]
fn the_checker_sees_a_store_that_lets_two_win() {
    run(0..300, false);
}
