//! The work loop of a service: pull one job, perform it, settle it, until the drain begins.
//!
//! Jobs are pulled one at a time, the most urgent lane (kind and priority) first, so that a worker
//! never holds jobs that it does not perform: `ack_wait` runs from the delivery on. While a job is
//! performed, a task of its own sends progress acknowledgements every quarter of `ack_wait`; a
//! worker that stops sending them loses the job to another. Publishes on job subjects wake the loop
//! early, but only as hints: it polls as well.

mod recovery;

use crate::{
    ComputeDevice, RetryPolicy, RuntimeError, ServeArgs, ServiceProcess, Worker,
    attempt::{AttemptEnd, AttemptRunner, InputManifests},
    compute::{self, ComputeThread, Profile},
    drain::{Drain, exit_with_parent},
    error::chain,
    job_context::WorkerContext,
    lifecycle::{self, STEP_TIME, unless_drained},
    metrics::process::HEARTBEAT_FAILURES,
    progress::Progress,
    queue::{Delivery, QueueError},
    scratch::Scratch,
    stall::StallLimits,
    store::Cache,
    telemetry::start_logging,
    verify::Verifier,
    worker_name,
};
use anyhow::Context as _;
use cedm_contract::{Event, EventAttempt, EventWhat, Kind, Priority, SCHEMA_VERSION, filters};
use futures::StreamExt;
use recovery::{LOST, Streak, Verdict};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Instrument;

/// After failures of the broker or of the store.
const AGAIN: RetryPolicy = RetryPolicy::doubling(Duration::from_secs(1), Duration::from_secs(10));
/// Between progress events of the current job.
const PROGRESS_EVENT: Duration = Duration::from_secs(2);

/// Runs a service until SIGTERM or SIGINT: `main.rs` calls this and nothing else. `build` runs on
/// the compute thread (it may load libtorch).
///
/// # Errors
/// When NATS or the store cannot be reached in time, or are not what the protocol needs.
pub fn serve<W: Worker>(
    args: ServeArgs,
    build: impl FnOnce() -> anyhow::Result<W> + Send + 'static,
) -> Result<(), RuntimeError> {
    start_logging(args.log, &program_name());
    if args.exit_with_parent {
        exit_with_parent();
    }
    lifecycle::run(args.grace_s, async |drain| {
        serve_until(args.clone(), drain, build).await
    })
}

/// The service's name as its file is called: `cedm-trainer` is the trainer.
pub(crate) fn program_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path
        .as_ref()
        .and_then(|path| path.file_name())
        .and_then(|name| name.to_str())
        .unwrap_or("cedm");
    name.trim_start_matches("cedm-").to_owned()
}

/// The same within a running async runtime, until `drain` begins: several services in one process,
/// and tests.
///
/// # Errors
/// As [`serve`]; also [`RuntimeError::Stalled`] after a job that showed no progress for too long,
/// [`RuntimeError::DeviceLost`] after an error of the accelerator that stays, and
/// [`RuntimeError::OtherStore`]: the process has to end then.
pub async fn serve_until<W: Worker>(
    args: ServeArgs,
    drain: Drain,
    build: impl FnOnce() -> anyhow::Result<W> + Send + 'static,
) -> Result<(), RuntimeError> {
    let start = async {
        let (thread, profile) = compute::start(build).await?;
        let (service, kinds) = (profile.service, &profile.kinds);
        let ComputeDevice {
            name,
            reason,
            deterministic,
        } = profile.device.clone();
        tracing::info!(device = name, reason, deterministic, "computes");
        let device = Some(profile.device.clone());
        let process =
            ServiceProcess::with_drain(&args, service, kinds, false, drain.clone(), device).await?;
        process.metrics.register(profile.metrics)?;
        WorkLoop::new(&args, process, thread, profile)
    };
    match unless_drained(&drain, start).await? {
        Some(service) => service.run().await,
        None => Ok(()),
    }
}

/// What the work loop remembers from job to job.
struct LoopState {
    jobs: u64,
    idle_since: Instant,
    /// Pulls that failed one after the other.
    failures: u64,
    /// Jobs of another store that were delivered one after the other.
    strangers: u64,
    streak: Streak,
    /// Why this process must not perform another job.
    ends: Option<RuntimeError>,
}

impl Default for LoopState {
    fn default() -> Self {
        Self {
            jobs: 0,
            idle_since: Instant::now(),
            failures: 0,
            strangers: 0,
            streak: Streak::default(),
            ends: None,
        }
    }
}

struct WorkLoop {
    process: ServiceProcess,
    runner: AttemptRunner,
    kinds: Vec<Kind>,
    ack_wait: Duration,
    poll: Duration,
    grace: Duration,
    exit_when_idle: Option<Duration>,
    max_jobs: Option<u64>,
    _scratch: Scratch,
}

impl WorkLoop {
    fn new(
        args: &ServeArgs,
        process: ServiceProcess,
        thread: ComputeThread,
        profile: Profile,
    ) -> Result<Self, RuntimeError> {
        let folder = args.cache_dir.clone().unwrap_or_else(default_cache);
        let cache = Cache::open(&folder.join("objects"), args.cache_bytes)
            .with_context(|| format!("open cache {}", folder.display()))?;
        let scratch = Scratch::open(&folder.join("scratch"))
            .with_context(|| format!("open scratch space in {}", folder.display()))?;
        let connection = &process.connection;
        let worker = WorkerContext {
            store: connection.store.clone(),
            cache,
            metrics: process.metrics.clone(),
            progress_table: process.progress_table.clone(),
            stall_limits: StallLimits::new(&args.stall_after_s),
            drain: process.drain.clone(),
            scratch: scratch.path().to_owned(),
            checkpoint_every: args.checkpoint_every_s,
        };
        let software = crate::software(&profile.device);
        let runner = AttemptRunner {
            queue: Arc::new(connection.queue.clone()),
            compute: Arc::new(thread),
            verifier: Verifier::new(connection.store.clone()),
            inputs: InputManifests::new(connection.store.clone()),
            worker,
            software,
            max_failures: args.max_attempts,
            max_deliver: u64::try_from(connection.delivering.max_deliver).unwrap_or(u64::MAX),
        };
        Ok(Self {
            kinds: profile.kinds,
            ack_wait: connection.delivering.ack_wait,
            poll: args.poll_s,
            grace: args.grace_s,
            exit_when_idle: args.exit_when_idle,
            max_jobs: args.max_jobs,
            process,
            runner,
            _scratch: scratch,
        })
    }

    async fn run(&self) -> Result<(), RuntimeError> {
        let mut wakes = self.wakes().await;
        let mut connected = self.process.connection.connected();
        let mut state = LoopState::default();
        while !self.process.drain.has_begun()
            && self.max_jobs.is_none_or(|limit| state.jobs < limit)
            && state.ends.is_none()
        {
            self.process.health.tick();
            match self.next().await {
                Ok(Some(delivery)) => {
                    self.pulled(&mut state, None);
                    self.receive(delivery, &mut state).await;
                    continue;
                }
                Ok(None) => self.pulled(&mut state, None),
                Err(error) => {
                    // Logged once per outage, not once per second.
                    let reason = chain(&error);
                    if state.failures == 0 {
                        tracing::warn!(error = %reason, "no jobs can be pulled at the moment");
                    }
                    self.pulled(&mut state, Some(reason));
                    let pause = AGAIN.delay_with_jitter(state.failures, worker_name().as_bytes());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = connected.changed() => {}
                        () = self.process.drain.begun() => {}
                    }
                }
            }
            if self
                .exit_when_idle
                .is_some_and(|limit| state.idle_since.elapsed() >= limit)
            {
                tracing::info!("idle long enough");
                break;
            }
            // Whatever wakes it, the next pull shows whether there is a job.
            tokio::select! {
                _ = wakes.next(), if state.failures == 0 => {}
                _ = connected.changed() => {}
                () = self.process.drain.begun() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
        self.process.drain.begin();
        self.process.stop().await;
        tracing::info!(jobs = state.jobs, "stopped");
        let refusal = self.process.store_watch.refusal();
        match state.ends.or(refusal) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Performs a job that was delivered, unless this worker must not or need not.
    async fn receive(&self, delivery: Delivery, state: &mut LoopState) {
        match self.verdict(&delivery).await {
            Verdict::Return => self.return_to_queue(&delivery).await,
            Verdict::OtherStore => {
                self.return_to_queue(&delivery).await;
                state.strangers += 1;
                let pause = LOST.delay_with_jitter(state.strangers, worker_name().as_bytes());
                tokio::select! {
                    () = self.pause(pause) => {}
                    () = self.process.drain.begun() => {}
                }
            }
            Verdict::Perform => {
                state.jobs += 1;
                state.strangers = 0;
                let ended = self.work(delivery).await;
                state.streak.add(ended);
                match ended {
                    Some(AttemptEnd::Stalled) => {
                        let stall = self.process.progress_table.stall();
                        state.ends = stall.map(RuntimeError::Stalled);
                    }
                    Some(AttemptEnd::DeviceLost) => state.ends = Some(RuntimeError::DeviceLost),
                    Some(AttemptEnd::InputLost | AttemptEnd::Retry) => {
                        // Perhaps the store is another by now.
                        tokio::select! {
                            _ = self.process.store_watch.look() => {}
                            () = self.process.drain.begun() => {}
                        }
                        self.recover(state.streak).await;
                    }
                    _ => self.recover(state.streak).await,
                }
                state.idle_since = Instant::now();
            }
        }
    }

    /// Notes whether jobs can be pulled, and why not, for readiness.
    fn pulled(&self, state: &mut LoopState, failure: Option<String>) {
        if state.failures > 0 || failure.is_some() {
            state.failures = failure.as_ref().map_or(0, |_| state.failures + 1);
            // Of a lost connection readiness says so itself.
            let is_connected = *self.process.connection.connected().borrow();
            let reason = failure
                .filter(|_| is_connected)
                .map(|error| format!("no jobs can be pulled: {error}"));
            self.process.health.set_reason("queue", reason);
        }
    }

    /// A stream with one item per publish of a job that this service performs. Only a hint: where
    /// the subscription fails, polling finds the jobs.
    async fn wakes(&self) -> futures::stream::BoxStream<'static, ()> {
        let queue = &self.process.connection.queue;
        let mut streams: Vec<futures::stream::BoxStream<'static, ()>> =
            vec![futures::stream::pending().boxed()];
        for kind in &self.kinds {
            let subject = queue.names().to_wire(&filters::jobs_of(Some(*kind)));
            match queue.client().subscribe(subject).await {
                Ok(messages) => streams.push(
                    messages
                        .map(|_| ())
                        .chain(futures::stream::pending())
                        .boxed(),
                ),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), %kind, "no wake-ups, jobs are found by \
                        polling")
                }
            }
        }
        futures::stream::select_all(streams).boxed()
    }

    /// The most urgent job in the queue. A pull that was sent is awaited; with a broker that hangs,
    /// no further one is sent once the drain has begun.
    async fn next(&self) -> Result<Option<Delivery>, QueueError> {
        for priority in Priority::ALL {
            for kind in &self.kinds {
                if self.process.drain.has_begun() {
                    return Ok(None);
                }
                if let Some(delivery) = self.runner.queue.pull(*kind, priority).await? {
                    return Ok(Some(delivery));
                }
            }
        }
        Ok(None)
    }

    async fn return_to_queue(&self, delivery: &Delivery) {
        let returned = self.runner.return_to_queue(delivery);
        let why = match tokio::time::timeout(STEP_TIME, returned).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => "NATS does not answer".to_owned(),
        };
        tracing::warn!(error = %why, "a job was not returned to the queue: it is redelivered after \
            ack_wait");
    }

    /// Returns jobs that arrived for a pull that had timed out, while another job is being
    /// performed.
    async fn return_to_queue_late(&self) {
        while let Some(delivery) = self.runner.queue.late_delivery().await {
            self.return_to_queue(&delivery).await;
        }
    }

    /// Performs one job, with progress acknowledgements beside it; aborts it when the grace period
    /// of a drain is over. How it ended, where that is known.
    async fn work(&self, delivery: Delivery) -> Option<AttemptEnd> {
        let delivery = Arc::new(delivery);
        let span = job_span(&delivery);
        let progress = tokio::spawn(
            self.acknowledge_progress(delivery.clone())
                .instrument(span.clone()),
        );
        let mut work = {
            let (runner, delivery) = (self.runner.clone(), delivery.clone());
            tokio::spawn(async move { runner.handle(&delivery).await }.instrument(span))
        };
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let overdue = async {
            self.process.drain.begun().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::pin!(overdue);
        let ended = loop {
            tokio::select! {
                ended = &mut work => match ended {
                    Ok(Ok(ended)) => {
                        if ended == AttemptEnd::Refused {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        break Some(ended);
                    }
                    Ok(Err(error)) => {
                        tracing::error!(error = %chain(&error), "the outcome of a job could not \
                            be reported to the broker: the job is redelivered");
                        tokio::time::sleep(AGAIN.delay(1)).await;
                        break None;
                    }
                    Err(error) => {
                        tracing::error!(error = %chain(&error), "the attempt was aborted: its job \
                            is redelivered");
                        break None;
                    }
                },
                _ = tick.tick() => {
                    self.process.health.tick();
                    self.return_to_queue_late().await;
                }
                () = &mut overdue => {
                    tracing::warn!(grace_s = self.grace.as_secs_f64(), "the job did not end \
                        within the grace period: returned to the queue");
                    work.abort();
                    self.runner.worker.progress_table.end();
                    self.return_to_queue(&delivery).await;
                    break None;
                }
            }
        };
        progress.abort();
        ended
    }

    /// Progress acknowledgements every quarter of `ack_wait`, and progress events, from a task that
    /// no computation can block.
    fn acknowledge_progress(
        &self,
        delivery: Arc<Delivery>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (runner, ack_wait) = (self.runner.clone(), self.ack_wait);
        async move {
            let mut acks = tokio::time::interval(ack_wait / 4);
            let mut events = tokio::time::interval(PROGRESS_EVENT);
            let mut last = None;
            loop {
                tokio::select! {
                    _ = acks.tick() => {
                        if let Err(error) = delivery.receipt.progress().await {
                            runner.worker.metrics.add(&HEARTBEAT_FAILURES, 1);
                            tracing::warn!(error = %chain(&error), "progress acknowledgement not \
                                sent");
                        }
                    }
                    _ = events.tick() => {
                        let progress = runner.worker.progress_table.read().filter(|progress| progress.total > 0);
                        if let Some(progress) = progress
                            && last.as_ref() != Some(&progress)
                        {
                            let event = progress_event(&runner, &delivery, &progress);
                            if let Err(error) = runner.queue.publish_event(&event, &delivery.envelope).await {
                                tracing::debug!(error = %chain(&error), "progress event not \
                                    stored");
                            }
                            last = Some(progress);
                        }
                    }
                }
            }
        }
    }
}

fn progress_event(runner: &AttemptRunner, delivery: &Delivery, progress: &Progress) -> Event {
    Event {
        schema: SCHEMA_VERSION,
        key: progress.key.clone(),
        kind: progress.kind,
        what: EventWhat::Progress,
        attempt: Some(EventAttempt::of_delivery(
            delivery.sequence,
            delivery.delivered,
        )),
        worker: runner.software.worker.clone(),
        at_ms: crate::now_ms(),
        cached: false,
        done: progress.done,
        total: progress.total,
        unit: progress.unit.to_owned(),
        message: progress.note.clone(),
    }
}

fn job_span(delivery: &Delivery) -> tracing::Span {
    let (kind, key) = cedm_contract::parse_job_subject(&delivery.subject).map_or_else(
        |_| (String::new(), delivery.subject.clone()),
        |(kind, _, key)| (kind.to_string(), key.to_string()),
    );
    let job = cedm_contract::Job::decode(&delivery.payload).ok();
    let sweep = job
        .as_ref()
        .and_then(|job| job.hints.sweep.as_ref())
        .map_or("", |sweep| sweep.as_str());
    let label = job.as_ref().map_or("", |job| job.hints.label.as_str());
    let attempt = format!("{}-{}", delivery.sequence, delivery.delivered);
    tracing::info_span!("job", job = %key, %kind, %attempt, sweep, label, trace = %delivery.envelope.trace)
}

/// `$XDG_CACHE_HOME/cedm`, `~/.cache/cedm`, or below the temporary folder.
fn default_cache() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("cedm")
}
