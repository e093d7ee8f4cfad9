//! The protocol under simulated faults: the real attempt, commit and checkpoint code over a store
//! and a broker in memory that fail, lose and corrupt data, and answer late, with workers that die
//! or freeze at any point, and computations that hang. Time is simulated, and everything is derived
//! from one seed.

mod actors;
mod frozen;
mod ram_queue;

use crate::{
    Metrics,
    attempt::{AttemptRunner, InputManifests},
    audit::{Claims, audit, commits},
    drain::Drain,
    job_context::WorkerContext,
    stall::StallLimits,
    store::{Cache, InjectedFault, RamStore, Store},
    testing::job,
    verify::Verifier,
};
use actors::{Coordinator, SimulatedCompute, worker};
use bytes::Bytes;
use cedm_contract::{EventWhat, Job, MANIFEST_PREFIX, Manifest, Software, manifest_key};
use frozen::SlowStore;
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
    fn fault(&self, chance: f64) -> InjectedFault {
        match (self.roll(chance), self.roll(0.5)) {
            (false, _) => InjectedFault::None,
            (true, true) => InjectedFault::Before,
            (true, false) => InjectedFault::After,
        }
    }
    /// Mostly zero, sometimes long enough for others to overtake.
    fn delay(&self) -> Duration {
        Duration::from_millis(match self.pick(0..100) {
            0..80 => 0,
            80..95 => self.pick(1..100),
            95..99 => self.pick(100..5_000),
            _ => self.pick(5_000..90_000),
        })
    }
}

/// The faults of one run.
#[derive(Debug, Clone, Copy)]
struct FaultPlan {
    /// How often a request fails.
    chance: f64,
    /// Whether the broker loses everything once.
    broker_loss: bool,
    /// Whether objects of results go missing (`false`) or change their bytes (`true`).
    corruption: Option<bool>,
}

impl FaultPlan {
    fn of(seed: u64) -> Self {
        Self {
            chance: [0.0, 0.01, 0.1][usize::try_from(seed % 3).unwrap()],
            broker_loss: seed.is_multiple_of(5),
            corruption: match seed % 7 {
                3 => Some(false),
                5 => Some(true),
                _ => None,
            },
        }
    }
}

fn manifests(store: &RamStore) -> BTreeMap<String, Bytes> {
    store.below(MANIFEST_PREFIX).into_iter().collect()
}

/// Removes an object of some result, or (where it `stays`) changes its bytes.
fn corrupt(store: &RamStore, dice: &Dice, stays: bool) {
    let all = manifests(store);
    let outputs = all
        .values()
        .filter_map(|bytes| Manifest::decode(bytes).ok())
        .flat_map(|manifest| manifest.outputs);
    let objects: Vec<String> = outputs.map(|output| output.object.object).collect();
    if !objects.is_empty() {
        let chosen = usize::try_from(dice.pick(0..objects.len() as u64)).unwrap();
        store.corrupt(&objects[chosen], stays);
    }
}

struct Simulation {
    seed: u64,
    faults: FaultPlan,
    dice: Dice,
    store: Arc<RamStore>,
    queue: Shared,
    coordinator: Coordinator,
}

impl Simulation {
    fn new(seed: u64, is_store_atomic: bool) -> Self {
        let (faults, dice) = (
            FaultPlan::of(seed),
            Dice(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))),
        );
        let (store_dice, queue_dice) = (dice.clone(), dice.clone());
        let store = RamStore::with_faults(move |_, _| store_dice.fault(faults.chance));
        let store = Arc::new(if is_store_atomic {
            store
        } else {
            store.that_ignores_if_none_match()
        });
        let observed = store.clone();
        let observe = move |event: &cedm_contract::Event| {
            let is_kept = || {
                faults.corruption.is_some() || !observed.below(&manifest_key(&event.key)).is_empty()
            };
            assert!(
                event.what != EventWhat::Done || is_kept(),
                "seed {seed}: a done event without a manifest"
            );
        };
        let queue = RamQueue::new(
            (ACK_WAIT, MAX_DELIVER),
            move |_| queue_dice.fault(faults.chance),
            observe,
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
            faults,
            dice,
            store,
            queue,
            coordinator,
        }
    }

    fn runner(&self, metrics: &Metrics, folder: &Path) -> AttemptRunner {
        let dice = self.dice.clone();
        let store: Arc<dyn Store> = Arc::new(SlowStore {
            store: self.store.clone(),
            delay: move || dice.delay(),
        });
        let worker = WorkerContext {
            store: store.clone(),
            // Nothing is cached: a cached object would hide what happened to the stored one.
            cache: Cache::open(&folder.join("cache"), 0).unwrap(),
            metrics: metrics.clone(),
            progress_table: Arc::default(),
            stall_limits: StallLimits::new(&["200".parse().unwrap()]),
            drain: Drain::default(),
            scratch: folder.to_owned(),
            checkpoint_every: Duration::from_secs(60),
        };
        AttemptRunner {
            queue: Arc::new(self.queue.clone()),
            compute: Arc::new(SimulatedCompute(self.dice.clone())),
            worker,
            verifier: Verifier::new(store.clone()),
            inputs: InputManifests::new(store),
            software: Software::default(),
            max_failures: 5,
            max_deliver: MAX_DELIVER,
        }
    }

    /// Runs until everything that is wanted is done, or for much longer than that can take.
    async fn run(&self) {
        let mut seen: BTreeMap<String, Bytes> = BTreeMap::new();
        for second in 0..40_000_u64 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if second == 100 && self.faults.broker_loss {
                self.queue.0.broker_loss();
            }
            if let Some(stays) = self.faults.corruption
                && second < 400
                && second % 50 == 49
            {
                corrupt(&self.store, &self.dice, stays);
            }
            let now = manifests(&self.store);
            if self.faults.corruption.is_none() {
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
            // Late results of frozen workers are awaited as well: they must not change anything.
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
        if self.faults.corruption.is_none() {
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

async fn simulate(seed: u64, metrics: &Metrics, folder: &Path, is_store_atomic: bool) {
    let simulation = Simulation::new(seed, is_store_atomic);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        tasks.spawn(worker(
            simulation.runner(metrics, folder),
            simulation.dice.clone(),
        ));
    }
    // Two coordinators: nothing may depend on there being one.
    for _ in 0..2 {
        let dice = simulation.dice.clone();
        tasks.spawn(simulation.coordinator.clone().run(dice));
    }
    tokio::select! {
        () = simulation.run() => {}
        // A failed assertion inside a task ends the run.
        Some(ended) = tasks.join_next() => std::panic::resume_unwind(ended.unwrap_err().into_panic()),
    }
    tasks.shutdown().await;
    simulation.store.heal();
    simulation.check().await;
}

fn run(seeds: std::ops::Range<u64>, is_store_atomic: bool) {
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
                .block_on(simulate(seed, &metrics, folder.path(), is_store_atomic));
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

/// The environment variable `CEDM_SEEDS=<first>..<end>` runs other seeds than 0 to 499.
#[test]
fn every_job_ends_once_under_any_faults() {
    let range = std::env::var("CEDM_SEEDS").unwrap_or_else(|_| "0..500".to_owned());
    let (first, end) = range
        .split_once("..")
        .expect("CEDM_SEEDS is <first>..<end>");
    run(first.parse().unwrap()..end.parse().unwrap(), true);
}

#[test]
#[should_panic(expected = "changed after it was committed")]
fn the_checker_detects_a_store_without_create_only_puts() {
    run(0..300, false);
}
