//! Who acts in a simulation: workers that compute by sleeping, and coordinators.

use super::{ACK_WAIT, Dice, frozen::Frozen, ram_queue::Shared};
use crate::{
    Envelope, JobError, Monitor, Outcome, RuntimeError,
    attempt::AttemptRunner,
    compute::{Compute, Finished},
    job_context::JobContext,
    queue::Queue,
    store::{Body, RamStore},
    testing::job,
    verify::{LookUpError, Quarantine, StoredResult, Verifier},
};
use bytes::Bytes;
use cedm_contract::{
    Digest, Job, JobResult, OutputName,
    kinds::fit::{FitInputs, FitParams, FitResult},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const RESULT: OutputName = OutputName::stable("result");
const NOTE: OutputName = OutputName::volatile("note");

/// Parts of a job's work, with a chance of a checkpoint after each.
const PARTS: u64 = 4;

/// Computes a chain of digests by sleeping; fails now and then, and resumes from checkpoints.
pub(super) struct SimulatedCompute(pub Dice);

/// The chain after some parts: a wrong resume shows in it.
fn chain(start: &str, from: u64, to: u64) -> String {
    (from..to).fold(start.to_owned(), |state, part| {
        Digest::of(format!("{state} {part}").as_bytes()).to_string()
    })
}

impl SimulatedCompute {
    async fn compute(&self, context: &JobContext) -> Result<Outcome, JobError> {
        let dice = &self.0;
        if !context.job().inputs.is_empty() {
            let FitInputs { images } = context.inputs::<FitParams>()?;
            let output = images.output(RESULT).expect("every result has one");
            context.fetch_async(&output.object).await?;
        }
        let (mut part, mut state) = match context.resume_async().await? {
            Some((part, file)) => (
                part,
                std::fs::read_to_string(file).map_err(JobError::retry)?,
            ),
            None => (0, context.job().key.to_string()),
        };
        context.progress_table().set_transferring(false);
        while part < PARTS {
            context.tick();
            if dice.roll(0.002) {
                // It hangs for ever.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_secs(dice.pick(1..10))).await;
            state = chain(&state, part, part + 1);
            part += 1;
            if dice.roll(0.02) {
                return Err(JobError::retry(anyhow::anyhow!("injected fault")));
            }
            let drains = dice.roll(0.01);
            if drains || dice.roll(0.1) {
                let file = context.scratch().join("state");
                std::fs::write(&file, &state).map_err(JobError::retry)?;
                context.checkpoint_async(part, &file).await?;
            }
            if drains {
                return Err(JobError::Drained);
            }
        }
        context.put_async(RESULT, Body::Bytes(state.into())).await?;
        let note = dice.pick(0..1000).to_string();
        context.put_async(NOTE, Body::Bytes(note.into())).await?;
        Ok(Outcome {
            result: JobResult::Fit(FitResult { dim: 1 }),
            metrics: BTreeMap::new(),
        })
    }
}

#[async_trait::async_trait]
impl Compute for SimulatedCompute {
    async fn perform(&self, context: JobContext) -> Result<Finished, RuntimeError> {
        let start = tokio::time::Instant::now();
        let outcome = self.compute(&context).await;
        let took = start.elapsed();
        Ok(Finished {
            context,
            outcome,
            took,
        })
    }
}

/// Whether the result of a job is that of an undisturbed run.
pub(super) fn check_result(seed: u64, store: &RamStore, job: &Job, found: StoredResult) {
    let StoredResult::Sound(manifest) = found else {
        panic!("seed {seed}: {} has no sound result: {found:?}", job.key)
    };
    let object = &manifest
        .output(RESULT)
        .expect("every result has one")
        .object
        .object;
    let text = store
        .snapshot()
        .remove(object)
        .expect("a sound result has its objects");
    assert_eq!(
        *text,
        *chain(job.key.as_str(), 0, PARTS).as_bytes(),
        "seed {seed}: {}",
        job.key
    );
}

/// One worker: pulls, works, and dies or freezes by the dice. A death drops the attempt at
/// whichever await it has reached.
pub(super) async fn worker(runner: AttemptRunner, dice: Dice) {
    let job = job("kind only");
    loop {
        tokio::time::sleep(Duration::from_millis(dice.pick(100..2000))).await;
        let Ok(Some(delivery)) = runner.queue.pull(job.kind(), job.priority).await else {
            continue;
        };
        let delivery = Arc::new(delivery);
        let heartbeat = async {
            loop {
                tokio::time::sleep(ACK_WAIT / 4).await;
                // A lost acknowledgement is replaced by the next.
                let _ = delivery.receipt.progress().await;
            }
        };
        let attempt = async {
            tokio::select! {
                // After an error of the attempt the job is redelivered.
                _ = runner.handle(&delivery) => {}
                () = heartbeat => {}
            }
        };
        let (frozen_after, frozen_for) = if dice.roll(0.15) {
            (
                Duration::from_millis(dice.pick(0..40_000)),
                Duration::from_secs(dice.pick(1..300)),
            )
        } else {
            (Duration::ZERO, Duration::ZERO)
        };
        let dies_after = if dice.roll(0.15) {
            Duration::from_millis(dice.pick(0..40_000))
        } else {
            Duration::from_secs(1_000_000)
        };
        tokio::select! {
            biased;
            () = Frozen::new(attempt, frozen_after, frozen_for) => {}
            () = tokio::time::sleep(dies_after) => {}
        }
    }
}

/// What the coordinator does: publishes what is desired and neither done nor queued, discards what
/// does not verify, replays the dead.
#[derive(Clone)]
pub(super) struct Coordinator {
    pub queue: Shared,
    pub store: Arc<RamStore>,
    pub leaders: Vec<Job>,
}

impl Coordinator {
    /// Every job that can be named now: the leaders, and the followers of those that are done.
    pub(super) async fn wanted(&self) -> Result<Vec<Job>, LookUpError> {
        let verifier = Verifier::new(self.store.clone());
        let mut wanted = self.leaders.clone();
        for leader in &self.leaders {
            if let StoredResult::Sound(manifest) = verifier.look_up(&leader.key, false).await? {
                let inputs = vec![manifest.as_input("images")];
                wanted.push(Job::new(
                    leader.spec.clone(),
                    inputs,
                    leader.priority,
                    leader.hints.clone(),
                ));
            }
        }
        Ok(wanted)
    }

    /// Whether everything has a result that verifies to the byte; what does not is discarded.
    pub(super) async fn is_satisfied(&self) -> bool {
        let Ok(wanted) = self.wanted().await else {
            return false;
        };
        let mut is_satisfied = wanted.len() == 2 * self.leaders.len();
        for job in wanted {
            is_satisfied &= self.is_done(&job, true).await.unwrap_or(false);
        }
        is_satisfied
    }

    async fn is_done(&self, job: &Job, digests: bool) -> Result<bool, LookUpError> {
        let verifier = Verifier::new(self.store.clone());
        match verifier.look_up(&job.key, digests).await? {
            StoredResult::Sound(_) => Ok(true),
            StoredResult::Nothing => Ok(false),
            StoredResult::Broken(_) => {
                let done = verifier.quarantine(&job.key, digests).await?;
                Ok(matches!(done, Quarantine::Sound(_)))
            }
        }
    }

    pub(super) async fn run(self, dice: Dice) {
        loop {
            tokio::time::sleep(Duration::from_millis(dice.pick(8_000..12_000))).await;
            self.queue.0.move_stuck();
            // Failures are repaired by the next round.
            let _ = self.publish().await;
        }
    }

    async fn publish(&self) -> Result<(), LookUpError> {
        for job in self.wanted().await? {
            let (kind, priority) = (job.kind(), job.priority);
            if self.is_done(&job, false).await?
                || self.queue.0.is_outstanding(kind, priority, &job.key)
            {
                continue;
            }
            self.queue.0.forget(&job.key);
            let payload = Bytes::from(job.encode().expect("a small job"));
            // Lost or refused: the next round tries again.
            let _ = self
                .queue
                .publish((kind, priority), &job.key, payload, Envelope::fresh(), "")
                .await;
        }
        Ok(())
    }
}
