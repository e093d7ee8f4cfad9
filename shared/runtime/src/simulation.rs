//! The protocol under simulated misfortune: the real attempt, commit and checkpoint code over a
//! store and a broker in memory that fail, forget, rot and answer late, with workers that die or
//! freeze at any point. Time is simulated; everything follows from one seed.

mod actors;
mod frozen;
mod ram_queue;

use crate::{
    Metrics,
    attempt::AttemptRunner,
    audit::{Claims, audit, commits},
    drain::Drain,
    job_context::WorkerContext,
    store::{Cache, Fault, RamStore, Store},
    testing::job,
    verify::Verifier,
};
use actors::{Coordinator, Sleeper, worker};
use bytes::Bytes;
use cedm_contract::{EventWhat, Job, Manifest, Software, manifest_key};
use frozen::Distant;
use ram_queue::{RamQueue, Shared};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const ACK_WAIT: Duration = Duration::from_secs(60);
const MAX_DELIVER: u64 = 5;
/// Jobs without inputs; each has a follower that reads its result.
const LEADERS: usize = 3;

/// Everything random in one run.
#[derive(Clone)]
struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    fn roll(&self, chance: f64) -> bool {
        self.0.lock().unwrap().random_bool(chance)
    }
    fn pick(&self, range: std::ops::Range<u64>) -> u64 {
        self.0.lock().unwrap().random_range(range)
    }
    fn fault(&self, chance: f64) -> Fault {
        match (self.roll(chance), self.roll(0.5)) {
            (false, _) => Fault::None,
            (true, true) => Fault::Before,
            (true, false) => Fault::After,
        }
    }
    /// Mostly none, now and then long enough for others to overtake.
    fn delay(&self) -> Duration {
        Duration::from_millis(match self.pick(0..100) {
            0..80 => 0,
            80..95 => self.pick(1..100),
            95..99 => self.pick(100..5_000),
            _ => self.pick(5_000..90_000),
        })
    }
}

/// What goes wrong in one run.
#[derive(Debug, Clone, Copy)]
struct Weather {
    /// How often a request fails.
    faults: f64,
    /// Whether the broker loses everything once.
    wipe: bool,
    /// Whether objects of results go missing (`false`) or change their bytes (`true`).
    rot: Option<bool>,
}

impl Weather {
    fn of(seed: u64) -> Self {
        Self {
            faults: [0.0, 0.01, 0.1][usize::try_from(seed % 3).unwrap()],
            wipe: seed.is_multiple_of(5),
            rot: match seed % 7 {
                3 => Some(false),
                5 => Some(true),
                _ => None,
            },
        }
    }
}

fn manifests(store: &RamStore) -> BTreeMap<String, Bytes> {
    store.below("manifest/").into_iter().collect()
}

/// Takes an object of some result away, or spoils its bytes.
fn rot(store: &RamStore, dice: &Dice, stays: bool) {
    let all = manifests(store);
    let outputs = all
        .values()
        .filter_map(|bytes| Manifest::decode(bytes).ok())
        .flat_map(|manifest| manifest.outputs);
    let objects: Vec<String> = outputs.map(|output| output.object.object).collect();
    if !objects.is_empty() {
        let unlucky = usize::try_from(dice.pick(0..objects.len() as u64)).unwrap();
        store.rot(&objects[unlucky], stays);
    }
}

struct World {
    seed: u64,
    random_faults: Weather,
    dice: Dice,
    store: Arc<RamStore>,
    queue: Shared,
    coordinator: Coordinator,
}

impl World {
    fn new(seed: u64, is_store_sound: bool) -> Self {
        let (random_faults, dice) = (
            Weather::of(seed),
            Dice(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))),
        );
        let (store_dice, queue_dice) = (dice.clone(), dice.clone());
        let store = RamStore::with_faults(move |_, _| store_dice.fault(random_faults.faults));
        let store = Arc::new(if is_store_sound {
            store
        } else {
            store.that_lets_all_win()
        });
        let witnessed = store.clone();
        let witness = move |event: &cedm_contract::Event| {
            let is_kept = || {
                random_faults.rot.is_some()
                    || !witnessed.below(&manifest_key(&event.key)).is_empty()
            };
            assert!(
                event.what != EventWhat::Done || is_kept(),
                "seed {seed}: a done event without a manifest"
            );
        };
        let queue = RamQueue::new(
            (ACK_WAIT, MAX_DELIVER),
            move |_| queue_dice.fault(random_faults.faults),
            witness,
        );
        let queue = Shared(Arc::new(queue));
        let leaders: Vec<Job> = (0..LEADERS)
            .map(|index| job(&format!("job {index}")))
            .collect();
        let coordinator = Coordinator {
            queue: queue.clone(),
            store: store.clone(),
            leaders,
        };
        Self {
            seed,
            random_faults,
            dice,
            store,
            queue,
            coordinator,
        }
    }

    fn runner(&self, metrics: &Metrics, folder: &Path) -> AttemptRunner {
        let dice = self.dice.clone();
        let store: Arc<dyn Store> = Arc::new(Distant {
            store: self.store.clone(),
            delay: move || dice.delay(),
        });
        let worker = WorkerContext {
            store: store.clone(),
            // Nothing is kept: a cached object would hide what became of the stored one.
            cache: Cache::open(&folder.join("cache"), 0).unwrap(),
            metrics: metrics.clone(),
            progress_table: Arc::default(),
            drain: Drain::default(),
            scratch: folder.to_owned(),
            checkpoint_every: Duration::from_secs(60),
        };
        AttemptRunner {
            queue: Arc::new(self.queue.clone()),
            compute: Arc::new(Sleeper(self.dice.clone())),
            worker,
            verifier: Verifier::new(store),
            software: Software::default(),
            max_failures: 5,
            max_deliver: MAX_DELIVER,
        }
    }

    /// Lets it run until everything asked for is done, or for much longer than that can take.
    async fn run(&self) {
        let mut seen: BTreeMap<String, Bytes> = BTreeMap::new();
        for second in 0..40_000_u64 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if second == 100 && self.random_faults.wipe {
                self.queue.0.wipe();
            }
            if let Some(stays) = self.random_faults.rot
                && second < 400
                && second % 50 == 49
            {
                rot(&self.store, &self.dice, stays);
            }
            let now = manifests(&self.store);
            if self.random_faults.rot.is_none() {
                for (key, bytes) in &seen {
                    let seed = self.seed;
                    assert_eq!(
                        now.get(key),
                        Some(bytes),
                        "seed {seed}: the manifest {key} changed after it was committed"
                    );
                }
            }
            seen = now;
            // Late results of frozen workers are waited for as well: nothing they do may harm.
            if second > 500 && self.queue.0.is_empty() && self.coordinator.is_satisfied().await {
                return;
            }
        }
        let (letters, wanted) = (self.queue.0.letters(), self.coordinator.wanted().await);
        panic!(
            "seed {}: not everything ended; dead letters: {letters:?}, wanted: {wanted:?}",
            self.seed
        );
    }

    /// The invariants, by the checker that `cedm fsck` uses.
    async fn check(&self) {
        let seed = self.seed;
        let events = self.queue.0.events();
        let wanted = self
            .coordinator
            .wanted()
            .await
            .expect("no request fails any more");
        let claims = Claims {
            wanted: wanted.iter().map(|job| job.key.clone()).collect(),
            ..Claims::of_events(&events)
        };
        assert_eq!(
            claims.wanted.len(),
            2 * LEADERS,
            "seed {seed}: every leader has its follower"
        );
        let store: Arc<dyn Store> = self.store.clone();
        let findings = audit(&store, None, &claims, |_, _| {}).await.unwrap();
        assert!(
            findings.violations.is_empty(),
            "seed {seed}: {:?}",
            findings.violations
        );
        for job in &wanted {
            let manifest = Verifier::new(store.clone())
                .look_up(&job.key, true)
                .await
                .unwrap();
            actors::check_result(seed, &self.store, job, manifest);
        }
        if self.random_faults.rot.is_none() {
            for (key, attempts) in commits(&events) {
                assert_eq!(
                    attempts.len(),
                    1,
                    "seed {seed}: {key} was committed by {attempts:?}"
                );
            }
        }
    }
}

async fn simulate(seed: u64, metrics: &Metrics, folder: &Path, is_store_sound: bool) {
    let world = World::new(seed, is_store_sound);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        tasks.spawn(worker(world.runner(metrics, folder), world.dice.clone()));
    }
    // Two coordinators: nothing may depend on there being one.
    for _ in 0..2 {
        let dice = world.dice.clone();
        tasks.spawn(world.coordinator.clone().run(dice));
    }
    tokio::select! {
        () = world.run() => {}
        // A broken promise inside a task ends the run.
        Some(ended) = tasks.join_next() => std::panic::resume_unwind(ended.unwrap_err().into_panic()),
    }
    tasks.shutdown().await;
    world.store.heal();
    world.check().await;
}

fn run(seeds: std::ops::Range<u64>, is_store_sound: bool) {
    let (metrics, next) = (
        Metrics::new("simulation", &[job("").kind()]).unwrap(),
        AtomicU64::new(seeds.start),
    );
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            runtime
                .unwrap()
                .block_on(simulate(seed, &metrics, folder.path(), is_store_sound));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// `CEDM_SEEDS=<first>..<end>` runs others.
#[test]
fn every_job_ends_once_whatever_happens() {
    let range = std::env::var("CEDM_SEEDS").unwrap_or_else(|_| "0..500".to_owned());
    let (first, end) = range
        .split_once("..")
        .expect("CEDM_SEEDS is <first>..<end>");
    run(first.parse().unwrap()..end.parse().unwrap(), true);
}

#[test]
#[should_panic(expected = "changed after it was committed")]
fn the_checker_sees_a_store_that_lets_two_win() {
    run(0..300, false);
}
