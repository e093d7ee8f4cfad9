//! Everything a worker needs for one job: its inputs, fetched and verified; its outputs; progress,
//! metrics and checkpoints. Synchronous: it is used on the compute thread and runs I/O on the async
//! runtime.

use crate::{
    JobError, Metrics, Monitor, checkpoints,
    drain::Drain,
    error::chain,
    failpoint::failpoint,
    metrics::{
        Counter, Gauge, GaugeList, Metric,
        process::{CHECKPOINT_FAILURES, CHECKPOINTS},
    },
    progress::ProgressTable,
    stall::StallLimits,
    store::{Body, Cache, Store, StoreError, StoreErrorKind, measure_file},
    verify::objects_of,
};
use anyhow::anyhow;
use cedm_contract::{
    Attempt, ContractError, Digest, Inputs, Job, JobKind, MAX_OBJECT_KEY, Manifest, ObjectRef,
    Output, OutputName, output_key,
};
use futures::{StreamExt, TryStreamExt};
use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::Handle;

/// Objects whose sizes are asked for at once.
const CONCURRENT_CHECKS: usize = 16;

/// What all contexts of a process share.
#[derive(Clone)]
pub(crate) struct WorkerContext {
    pub store: Arc<dyn Store>,
    pub cache: Cache,
    pub metrics: Metrics,
    pub progress_table: Arc<ProgressTable>,
    pub stall_limits: StallLimits,
    pub drain: Drain,
    pub scratch: PathBuf,
    pub checkpoint_every: Duration,
}

/// One job, with the means to perform it.
pub struct JobContext {
    worker: WorkerContext,
    handle: Handle,
    job: Job,
    attempt: Attempt,
    inputs: Vec<(String, Arc<Manifest>)>,
    scratch: tempfile::TempDir,
    outputs: Mutex<Vec<Output>>,
    checkpoint_every: Duration,
}

impl JobContext {
    pub(crate) fn new(
        worker: WorkerContext,
        job: Job,
        attempt: Attempt,
        inputs: Vec<(String, Arc<Manifest>)>,
    ) -> std::io::Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("job-")
            .tempdir_in(&worker.scratch)?;
        let checkpoint_every = worker.checkpoint_every;
        Ok(Self {
            worker,
            handle: Handle::current(),
            job,
            attempt,
            inputs,
            scratch,
            outputs: Mutex::default(),
            checkpoint_every,
        })
    }

    /// The job that is performed, as it was submitted.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The manifests of the job's inputs, by the roles of its kind; each was read and has the
    /// digest that the job pins.
    ///
    /// # Errors
    /// `Reject` when the job is not of kind `K`, or has other inputs than this kind.
    pub fn inputs<K: JobKind>(&self) -> Result<K::Inputs<&Manifest>, JobError> {
        let found = self.job.kind();
        if found != K::KIND {
            return Err(JobError::contract(ContractError::OtherKind {
                key: self.job.key.clone(),
                found,
                expected: K::KIND,
            }));
        }
        let roles = self
            .inputs
            .iter()
            .map(|(role, manifest)| (role.as_str(), manifest.as_ref()));
        K::Inputs::from_roles(K::KIND, roles).map_err(JobError::contract)
    }

    /// A local file with the object's bytes, size and digest verified; kept in a bounded node-local
    /// cache. Not to be written to.
    ///
    /// # Errors
    /// `Retry` when the store fails; `InputLost` when an input's object is missing or its bytes do
    /// not verify.
    pub fn fetch(&self, object: &ObjectRef) -> Result<PathBuf, JobError> {
        self.wait(self.fetch_async(object))
    }

    /// Makes sure that objects of inputs are in the store with their sizes, without fetching them:
    /// for a job that only lists them. Otherwise a result that lists a lost object would be made
    /// again from the same inputs, for ever.
    ///
    /// # Errors
    /// As [`JobContext::fetch`], of the first object that is missing or has another size.
    pub fn check<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a ObjectRef>,
    ) -> Result<(), JobError> {
        let checks = futures::stream::iter(objects).map(|object| self.check_one(object));
        self.wait(async {
            checks
                .buffer_unordered(CONCURRENT_CHECKS)
                .try_collect::<()>()
                .await
        })
    }

    async fn check_one(&self, object: &ObjectRef) -> Result<(), JobError> {
        let found = self.worker.store.size(&object.object).await;
        let (kind, text) = match found.map_err(JobError::retry)? {
            Some(size) if size == object.size => return Ok(()),
            Some(size) => (
                StoreErrorKind::Damaged,
                format!("{size} bytes found, {} expected", object.size),
            ),
            None => (StoreErrorKind::Missing, "no such object".to_owned()),
        };
        let error = StoreError::new("look up", &object.object, kind, text);
        Err(self.input_error(object, error))
    }

    /// Gives the disk space of a fetched object back before the job ends: for objects that are read
    /// one after the other, and once. Fetching it again is allowed.
    ///
    /// # Errors
    /// `Retry` when the file cannot be removed.
    pub fn release(&self, object: &ObjectRef) -> Result<(), JobError> {
        match std::fs::remove_file(self.fetched(object)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(JobError::retry(error))
            }
            _ => Ok(()),
        }
    }

    /// Where [`JobContext::fetch`] puts an object.
    fn fetched(&self, object: &ObjectRef) -> PathBuf {
        let name = format!("in-{}", object.digest.as_str());
        self.scratch.path().join(name)
    }

    /// An object of an input that is missing or damaged has to be recomputed by the job that made
    /// it.
    fn input_error(&self, object: &ObjectRef, error: StoreError) -> JobError {
        let is_lost = matches!(
            error.kind,
            StoreErrorKind::Missing | StoreErrorKind::Damaged
        );
        let maker = self
            .inputs
            .iter()
            .find(|(_, manifest)| objects_of(manifest).contains(&object));
        match maker {
            Some((role, manifest)) if is_lost => JobError::InputLost {
                input: manifest.key.clone(),
                source: anyhow::Error::from(error).context(format!("input `{role}`")),
            },
            _ => JobError::retry(error),
        }
    }

    /// The named output of an input manifest as a local file.
    ///
    /// # Errors
    /// `Reject` when the manifest has no such output; else as [`JobContext::fetch`].
    pub fn fetch_output(&self, manifest: &Manifest, name: OutputName) -> Result<PathBuf, JobError> {
        let output = manifest.output(name).ok_or_else(|| {
            let names: Vec<&str> = manifest
                .outputs
                .iter()
                .map(|output| output.name.as_str())
                .collect();
            JobError::reject(anyhow!(
                "the {} manifest {} has no output `{name}`, only {names:?}",
                manifest.kind(),
                manifest.key
            ))
        })?;
        self.fetch(&output.object)
    }

    /// A folder of this attempt, removed afterwards.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Uploads a file as an output of this attempt.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub fn put(&self, name: OutputName, file: &Path) -> Result<ObjectRef, JobError> {
        self.wait(self.put_async(name, Body::File(file)))
    }

    /// Uploads bytes as an output of this attempt.
    ///
    /// # Errors
    /// `Retry` when the store fails.
    pub fn put_bytes(&self, name: OutputName, bytes: &[u8]) -> Result<ObjectRef, JobError> {
        self.wait(self.put_async(name, Body::Bytes(bytes.to_vec().into())))
    }

    pub(crate) async fn fetch_async(&self, object: &ObjectRef) -> Result<PathBuf, JobError> {
        let to = self.fetched(object);
        if !to.exists() {
            let fetched = self
                .worker
                .cache
                .fetch(self.worker.store.as_ref(), object, &to)
                .await;
            fetched.map_err(|error| self.input_error(object, error))?;
        }
        Ok(to)
    }

    /// A checkpoint that cannot be stored must not end the computation that it protects: the next
    /// one is tried after the usual interval.
    pub(crate) async fn checkpoint_async(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let written = checkpoints::write(
            self.worker.store.as_ref(),
            &self.job.key,
            &self.attempt,
            step,
            file,
        )
        .await;
        self.worker.progress_table.checkpointed(written.is_ok());
        match written {
            Ok(()) => {
                self.worker.metrics.add(&CHECKPOINTS, 1);
                // The next checkpoint tries again.
                if let Err(error) =
                    checkpoints::prune(self.worker.store.as_ref(), &self.job.key).await
                {
                    tracing::warn!(error = %chain(&error), "old checkpoints were not removed");
                }
            }
            Err(error) if error.kind == StoreErrorKind::Local => {
                return Err(JobError::retry(error));
            }
            Err(error) => {
                self.worker.metrics.add(&CHECKPOINT_FAILURES, 1);
                tracing::warn!(error = %chain(&error), step, "checkpoint not stored; the \
                    computation continues without it");
            }
        }
        Ok(())
    }

    pub(crate) async fn resume_async(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        let found = checkpoints::resume(
            self.worker.store.as_ref(),
            &self.job.key,
            self.scratch.path(),
        )
        .await
        .map_err(JobError::retry)?;
        if let Some((step, _)) = &found {
            tracing::info!(step, "resuming from a checkpoint");
        }
        Ok(found)
    }

    pub(crate) async fn put_async(
        &self,
        name: OutputName,
        body: Body<'_>,
    ) -> Result<ObjectRef, JobError> {
        let key = output_key(&self.job.key, &self.attempt, name.as_str());
        let mut parts = name.as_str().split('/');
        if key.len() > MAX_OBJECT_KEY || parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(JobError::bug(anyhow!(
                "output name `{name}` is not a plain name, or makes a key above {MAX_OBJECT_KEY} \
                 bytes"
            )));
        }
        let name_taken = |output: &Output| output.name == name.as_str();
        if self.outputs().iter().any(name_taken) {
            return Err(JobError::bug(anyhow!("output `{name}` was put twice")));
        }
        let (size, digest) = match &body {
            Body::Bytes(bytes) => (bytes.len() as u64, Digest::of(bytes)),
            Body::File(path) => {
                let measured = measure_file(path)
                    .map_err(|error| StoreError::new("put", &key, StoreErrorKind::Local, error));
                measured.map_err(JobError::retry)?
            }
        };
        self.worker
            .store
            .put(&key, body)
            .await
            .map_err(JobError::retry)?;
        failpoint("after-upload");
        let object = ObjectRef {
            object: key,
            size,
            digest,
        };
        self.outputs().push(Output::new(name, object.clone()));
        Ok(object)
    }

    fn outputs(&self) -> std::sync::MutexGuard<'_, Vec<Output>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything put so far, by name.
    pub(crate) fn into_outputs(self) -> Vec<Output> {
        let mut outputs = self
            .outputs
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        outputs
    }

    /// The table in which this job shows its progress.
    pub(crate) fn progress_table(&self) -> &ProgressTable {
        &self.worker.progress_table
    }

    /// The compute thread does not belong to the async runtime, so it may block on it.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.progress_table().set_transferring(true);
        let done = self.handle.block_on(work);
        self.progress_table().set_transferring(false);
        done
    }
}

/// Every call counts as progress: a computation that makes none for long is taken for stalled.
impl Monitor for JobContext {
    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        self.progress_table().advance(done, total, unit);
    }
    fn tick(&self) {
        self.progress_table().show();
    }
    fn note(&self, line: &str) {
        self.progress_table().set_note(line);
    }
    fn gauge(&self, gauge: &'static Metric<Gauge>, value: f64) {
        self.tick();
        self.worker.metrics.set(gauge, value);
    }
    fn gauge_list(&self, list: &'static Metric<GaugeList, 1>, values: &[f64]) {
        self.tick();
        self.worker.metrics.set_list(list, values);
    }
    fn count(&self, counter: &'static Metric<Counter>, by: u64) {
        self.tick();
        self.worker.metrics.add(counter, by);
    }
    fn stopping(&self) -> bool {
        self.tick();
        self.worker.drain.has_begun()
    }
    fn checkpoint_due(&self) -> bool {
        self.progress_table().ages().checkpoint >= self.checkpoint_every
    }
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        self.wait(self.checkpoint_async(step, file))
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        self.wait(self.resume_async())
    }
}
