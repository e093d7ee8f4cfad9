//! Sweeps as the store tells of them: read, planned, folded, written once.

use crate::render;
use anyhow::{Context, Result, ensure};
use cedm_contract::{JobKey, Kind, SweepId, sweep_key};
use cedm_planner::{Node, Observed, ObservedState, Plan, State, fold, plan};
use cedm_runtime::{
    Bucket, Connection, DeadLetters, SWEEPS, Submitter,
    store::{Created, Store},
};
use cedm_sweep::{
    Sweep,
    outcome::{Summary, SweepOutcome, SweepState},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The sweep is new.
    New,
    /// It was there, with the same spec.
    Attached,
}

/// Reads sweeps; manifests once read are kept, for they never change.
pub struct Reader {
    connection: Connection,
    known: Observed,
    sweeps: BTreeMap<SweepId, Sweep>,
}

/// A sweep as it stands.
pub struct View {
    /// What was asked for.
    pub sweep: Sweep,
    /// What has come of it.
    pub outcome: SweepOutcome,
    /// Its jobs.
    pub jobs: Vec<Node>,
    /// Whether somebody ended it.
    pub cancelled: bool,
    by_key: BTreeMap<JobKey, usize>,
}

impl Reader {
    /// A reader that knows nothing yet.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            known: Observed::default(),
            sweeps: BTreeMap::new(),
        }
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.connection.store()
    }

    /// Every sweep that was ever submitted, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self) -> Result<Vec<SweepId>> {
        let listed = self.store().list("sweep/").await?;
        Ok(listed
            .iter()
            .filter_map(|object| {
                object
                    .key
                    .strip_prefix("sweep/")?
                    .strip_suffix("/spec")?
                    .parse()
                    .ok()
            })
            .collect())
    }

    /// Sweeps that are not settled.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn active(&mut self) -> Result<Vec<SweepId>> {
        let mut active = Vec::new();
        for id in self.all().await? {
            let view = self.view(&id).await?;
            if view.outcome.state == SweepState::Running && !view.cancelled {
                active.push(id);
            }
        }
        Ok(active)
    }

    /// Whether there is such a sweep.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exists(&self, id: &SweepId) -> Result<bool> {
        Ok(self.sweeps.contains_key(id)
            || self.store().size(&sweep_key(id, "spec")).await?.is_some())
    }

    async fn sweep(&mut self, id: &SweepId) -> Result<Sweep> {
        if let Some(sweep) = self.sweeps.get(id) {
            return Ok(sweep.clone());
        }
        let bytes = self.store().get(&sweep_key(id, "spec")).await?;
        let Some(bytes) = bytes else {
            let names: Vec<String> = self.all().await?.iter().map(SweepId::to_string).collect();
            let hint = if names.is_empty() {
                "none has been submitted".to_owned()
            } else {
                format!("there are {}", names.join(", "))
            };
            anyhow::bail!("no sweep is called `{id}`; {hint}");
        };
        let sweep = Sweep::decode(&bytes).with_context(|| format!("sweep {id}"))?;
        self.sweeps.insert(id.clone(), sweep.clone());
        Ok(sweep)
    }

    /// The sweep as it stands now.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn view(&mut self, id: &SweepId) -> Result<View> {
        let sweep = self.sweep(id).await?;
        let plan = self.plan(&sweep).await?;
        let cancelled = self
            .store()
            .size(&sweep_key(id, "cancelled"))
            .await?
            .is_some();
        let outcome = fold(&sweep, &self.known);
        let by_key = plan
            .nodes
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(index, node)| Some((node.job.as_ref()?.key.clone(), index)))
            .collect();
        Ok(View {
            outcome,
            jobs: plan.nodes,
            cancelled,
            by_key,
            sweep,
        })
    }

    /// The plan of a sweep, submitted or not, with every result that the store has. Each round
    /// reads what the last made known.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn plan(&mut self, sweep: &Sweep) -> Result<Plan> {
        let submitter = Submitter::new(&self.connection);
        for key in std::iter::once(&sweep.images).chain(&sweep.test_images) {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = submitter.manifest(key).await?
            {
                self.known.record(manifest);
            }
        }
        let letters = DeadLetters::new(&self.connection).list().await?;
        let mut asked: BTreeSet<JobKey> = BTreeSet::new();
        loop {
            let plan = plan(sweep, &self.known);
            let open = plan
                .nodes
                .iter()
                .filter(|node| !matches!(node.state, State::Done { .. }));
            let open: Vec<JobKey> = open
                .filter_map(|node| Some(node.job.as_ref()?.key.clone()))
                .filter(|key| !asked.contains(key))
                .collect();
            let mut learnt = false;
            let found =
                futures::future::try_join_all(open.iter().map(|key| submitter.manifest(key)))
                    .await?;
            for (key, manifest) in open.into_iter().zip(found) {
                match (manifest, letters.iter().find(|letter| letter.key == key)) {
                    (Some(manifest), _) => self.known.record(manifest),
                    (None, Some(letter)) => {
                        self.known.record_dead(key.clone(), letter.error.clone())
                    }
                    (None, None) => {
                        self.known.clear_dead(&key);
                        asked.insert(key);
                        continue;
                    }
                }
                asked.insert(key);
                learnt = true;
            }
            if !learnt {
                return Ok(plan);
            }
        }
    }

    /// Writes the sweep, once, and wakes the coordinator.
    ///
    /// # Errors
    /// When another spec has its name, or the store or NATS fails.
    pub async fn submit(&mut self, sweep: &Sweep) -> Result<Submitted> {
        let key = sweep_key(&sweep.id, "spec");
        let mut is_unclear = false;
        let came = loop {
            match self
                .store()
                .put_if_absent(&key, sweep.encode().into())
                .await?
            {
                Created::Yes => break Submitted::New,
                Created::Conflict => {}
                created @ (Created::Exists | Created::Unknown(_)) => {
                    // Another may have submitted the same in the same millisecond: only after a
                    // lost answer can it be ours.
                    is_unclear |= created != Created::Exists;
                    if let Some(bytes) = self.store().get(&key).await? {
                        let there =
                            Sweep::decode(&bytes).with_context(|| format!("sweep {}", sweep.id))?;
                        ensure_same(&there, sweep)?;
                        break if is_unclear && there.submitted_ms == sweep.submitted_ms {
                            Submitted::New
                        } else {
                            Submitted::Attached
                        };
                    }
                }
            }
        };
        // Only a wake-up: coordinators find the sweep in the store as well.
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .put(sweep.id.as_str(), sweep.submitted_ms.to_string())
            .await?;
        Ok(came)
    }

    /// Ends a sweep; returns whether it was running.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn cancel(&mut self, id: &SweepId) -> Result<bool> {
        let view = self.view(id).await?;
        if view.cancelled || view.outcome.state != SweepState::Running {
            return Ok(false);
        }
        let marker = serde_json::json!({"at_ms": render::now_ms()}).to_string();
        self.store()
            .put(
                &sweep_key(id, "cancelled"),
                cedm_runtime::store::Body::Bytes(marker.into()),
            )
            .await?;
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .remove(id.as_str())
            .await?;
        let mut wanted = BTreeSet::new();
        for other in self.active().await? {
            wanted.extend(self.view(&other).await?.by_key.into_keys());
        }
        let submitter = Submitter::new(&self.connection);
        for node in &view.jobs {
            if let (State::Ready, Some(job)) = (&node.state, &node.job)
                && !wanted.contains(&job.key)
            {
                submitter.cancel(node.kind, &job.key).await?;
            }
        }
        Ok(true)
    }
}

fn ensure_same(there: &Sweep, ours: &Sweep) -> Result<()> {
    let id = &ours.id;
    ensure!(
        there.images == ours.images && there.test_images == ours.test_images,
        "sweep `{id}` was submitted over another image set: its name `{}` points elsewhere now. \
         Choose another name with --name",
        ours.spec.image_set
    );
    if there.spec != ours.spec {
        let differ = differences(there, ours);
        anyhow::bail!(
            "sweep `{id}` exists with another spec ({differ}): choose another name with --name; \
             what both have in common is not done again"
        );
    }
    Ok(())
}

/// Names of the sections in which two specs differ.
fn differences(there: &Sweep, ours: &Sweep) -> String {
    let sections = |sweep: &Sweep| match serde_json::to_value(&sweep.spec) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (sections(there), sections(ours));
    let differ: Vec<&str> = a
        .iter()
        .filter(|(name, value)| b.get(*name) != Some(value))
        .map(|(name, _)| name.as_str())
        .collect();
    format!("it differs in {}", differ.join(", "))
}

impl View {
    fn node(&self, key: &JobKey) -> Option<&Node> {
        self.by_key.get(key).and_then(|index| self.jobs.get(*index))
    }
    /// Whether the job belongs to this sweep, as far as it is planned.
    pub fn knows(&self, key: &JobKey) -> bool {
        self.by_key.contains_key(key)
    }
    /// What a person calls this job.
    pub fn label(&self, key: &JobKey) -> Option<&str> {
        self.node(key).map(|node| node.id.as_str())
    }
    /// Its kind.
    pub fn kind(&self, key: &JobKey) -> Option<Kind> {
        self.node(key).map(|node| node.kind)
    }
    /// What must be done before it; empty for jobs whose inputs are there.
    pub fn waits_for(&self, key: &JobKey) -> Vec<String> {
        match self.node(key).map(|node| &node.state) {
            Some(State::Waiting { on }) => on.clone(),
            Some(State::Blocked { by }) => {
                by.iter().map(|id| format!("{id}, which is dead")).collect()
            }
            _ => Vec::new(),
        }
    }
    /// Keys of every result of this sweep.
    pub fn done(&self) -> Vec<JobKey> {
        let done = self
            .jobs
            .iter()
            .filter(|node| matches!(node.state, State::Done { .. }));
        done.filter_map(|node| Some(node.job.as_ref()?.key.clone()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
    /// The deciding score among these.
    pub fn primary<'a>(&self, summary: &'a BTreeMap<String, Summary>) -> Option<&'a Summary> {
        let space = self.sweep.spec.evaluations.first()?;
        summary.get(&format!("{}/{}", space.name, space.primary))
    }
    /// Where it stands, in a few lines.
    pub fn last_words(&self) -> Vec<String> {
        let (id, jobs) = (&self.sweep.id, &self.outcome.jobs);
        let total = jobs.done + jobs.ready + jobs.waiting + jobs.dead + jobs.blocked;
        let reused = if jobs.cached > 0 {
            format!(", {} of them reused", jobs.cached)
        } else {
            String::new()
        };
        let mut lines = vec![match self.outcome.state {
            SweepState::Running if self.cancelled => format!(
                "sweep {id} was cancelled: {} of {total} jobs are done{reused}",
                jobs.done
            ),
            SweepState::Running => format!(
                "sweep {id} is running: {} of {total} jobs are done{reused}",
                jobs.done
            ),
            SweepState::Complete => format!("sweep {id} is complete: {} jobs{reused}", jobs.done),
            SweepState::Incomplete => format!(
                "sweep {id} ended incomplete: {} of {total} jobs are done, {} dead, {} wait for \
                 them; see `cedm dead list`, and `cedm dead replay JOB` once the cause is mended",
                jobs.done, jobs.dead, jobs.blocked
            ),
        }];
        lines.extend(
            self.outcome
                .answer
                .as_ref()
                .map(|answer| answer.headline.clone()),
        );
        lines
    }
}
