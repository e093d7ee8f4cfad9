//! The compute thread: tensors live here, behind a channel of depth 1, so that no computation
//! delays a heartbeat or a progress acknowledgement.

use crate::{
    ComputeDevice, JobContext, JobError, Outcome, RuntimeError, Worker, failpoint::failpoint,
    metrics::MetricDefinition,
};
use anyhow::anyhow;
use cedm_contract::{Kind, Service};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// A job on its way to the compute thread.
struct Task {
    context: JobContext,
    span: tracing::Span,
    reply: oneshot::Sender<Finished>,
}

/// What comes back: the context with its outputs, and how the job ended.
pub(crate) struct Finished {
    pub context: JobContext,
    pub outcome: Result<Outcome, JobError>,
    pub took: Duration,
}

/// What a worker reports before its first job.
pub(crate) struct Profile {
    pub service: Service,
    pub kinds: Vec<Kind>,
    pub device: ComputeDevice,
    pub metrics: &'static [&'static MetricDefinition],
}

/// What performs jobs: a thread in a service, plain async code in a simulation.
#[async_trait::async_trait]
pub(crate) trait Compute: Send + Sync + 'static {
    /// Performs the job of this context.
    async fn perform(&self, context: JobContext) -> Result<Finished, RuntimeError>;
}

/// Handle of the thread that runs computations, one after another.
pub(crate) struct ComputeThread(mpsc::Sender<Task>);

/// Builds the worker on its own thread and waits until it is ready.
pub(crate) async fn start<W: Worker>(
    build: impl FnOnce() -> anyhow::Result<W> + Send + 'static,
) -> Result<(ComputeThread, Profile), RuntimeError> {
    let (ready, built) = oneshot::channel();
    let (tasks, queue) = mpsc::channel(1);
    let spawned = thread::Builder::new()
        .name("compute".to_owned())
        .spawn(move || {
            let mut worker = match catch_unwind(AssertUnwindSafe(build)) {
                Ok(Ok(worker)) => worker,
                Ok(Err(error)) => return drop(ready.send(Err(error))),
                Err(panic) => {
                    return drop(ready.send(Err(anyhow!(
                        "the worker panicked at start: {}",
                        panic_message(&*panic)
                    ))));
                }
            };
            let service = worker.service();
            let profile = Profile {
                service,
                kinds: service.kinds(),
                device: worker.device(),
                metrics: worker.metrics(),
            };
            if ready.send(Ok(profile)).is_ok() {
                work(&mut worker, queue);
            }
        });
    spawned.map_err(|error| anyhow!("start the compute thread: {error}"))?;
    let profile = built
        .await
        .map_err(|_| anyhow!("the compute thread ended before its worker was ready"))??;
    Ok((ComputeThread(tasks), profile))
}

fn work<W: Worker>(worker: &mut W, mut queue: mpsc::Receiver<Task>) {
    while let Some(Task {
        context,
        span,
        reply,
    }) = queue.blocking_recv()
    {
        let entered = span.enter();
        let start = Instant::now();
        context.progress_table().set_transferring(false);
        failpoint("in-compute");
        let outcome =
            catch_unwind(AssertUnwindSafe(|| worker.perform(&context))).unwrap_or_else(|panic| {
                Err(JobError::bug(anyhow!("panic: {}", panic_message(&*panic))))
            });
        let outcome = outcome.map_err(JobError::or_device_lost);
        context.progress_table().set_transferring(true);
        drop(entered);
        // The receiver is dropped when the process is stopping.
        drop(reply.send(Finished {
            context,
            outcome,
            took: start.elapsed(),
        }));
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[async_trait::async_trait]
impl Compute for ComputeThread {
    async fn perform(&self, context: JobContext) -> Result<Finished, RuntimeError> {
        let (reply, finished) = oneshot::channel();
        let task = Task {
            context,
            span: tracing::Span::current(),
            reply,
        };
        self.0
            .send(task)
            .await
            .map_err(|_| anyhow!("the compute thread has ended"))?;
        Ok(finished
            .await
            .map_err(|_| anyhow!("the compute thread has ended"))?)
    }
}
