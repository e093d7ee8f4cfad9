//! The smallest service: a worker in one function. The protocol's tests run it as a real process.
//!
//! It performs `fit` jobs by writing the extractor's name into an object. The name says what else
//! it does: `<what>[:<argument>]…`, for example `slow:20` counts to 20 with checkpoints, `reject`
//! refuses, `retry:<file>` fails once.

use anyhow::anyhow;
use cedm_contract::{
    JobResult, JobSpec, OutputName, Service,
    kinds::fit::{FitInputs, FitParams, FitResult},
};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Monitor, Outcome, ServeArgs, Worker,
    metrics::MetricDefinition, serve,
};
use clap::Parser;
use std::{collections::BTreeMap, fs::OpenOptions, path::Path, time::Duration};

const ECHO: OutputName = OutputName::stable("echo.txt");
const NOTE: OutputName = OutputName::volatile("note.txt");
const FIRST_STEP: OutputName = OutputName::volatile("first-step.txt");

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    serve: ServeArgs,
}

cedm_runtime::metrics! {
    STEPS: Counter = "cedm_echo_steps_total", "steps", "Steps counted";
}

struct Echo;

impl Worker for Echo {
    fn service(&self) -> Service {
        Service::Extractor
    }
    fn device(&self) -> ComputeDevice {
        ComputeDevice::cpu_only()
    }
    fn metrics(&self) -> &'static [&'static MetricDefinition] {
        METRICS
    }
    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        let JobSpec::Fit(params) = &context.job().spec else {
            return Err(JobError::reject(anyhow!("only fit jobs are echoed")));
        };
        let mut words = params.extractor.name.splitn(2, ':');
        let (what, argument) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let mut text = params.extractor.name.clone();
        match what {
            "reject" => return Err(JobError::reject(anyhow!("refused on request"))),
            "retry" if is_first(Path::new(argument)) => {
                return Err(JobError::Retry {
                    after: Duration::from_secs(1),
                    source: anyhow!("failed on request"),
                });
            }
            // Fails until the file exists.
            "fail_until" if !Path::new(argument).exists() => {
                return Err(JobError::reject(anyhow!("not yet")));
            }
            "panic" => panic!("on request"),
            // As libtorch says it, the first time.
            "lose_device" if is_first(Path::new(argument)) => {
                panic!("Torch(\"CUDA error: an illegal memory access was encountered\")")
            }
            "abort" => std::process::abort(),
            // Long, and never checks whether it should drain.
            "deaf" => std::thread::sleep(Duration::from_secs(600)),
            // Reads what its input wrote.
            "read" => {
                let FitInputs { images } = context.inputs::<FitParams>()?;
                let file = context.fetch_output(images, ECHO)?;
                text = std::fs::read_to_string(file).map_err(JobError::retry)?;
            }
            // A result of this many bytes.
            "large" => text = "x".repeat(argument.parse().map_err(JobError::reject)?),
            // One step further with every life.
            "climb" => climb(context, argument.parse().map_err(JobError::reject)?)?,
            "slow" => text = count(context, argument.parse().map_err(JobError::reject)?)?,
            _ => {}
        }
        context.put_bytes(ECHO, text.as_bytes())?;
        context.put_bytes(NOTE, context.scratch().display().to_string().as_bytes())?;
        Ok(Outcome {
            result: JobResult::Fit(FitResult {
                dim: u32::try_from(text.len()).map_err(JobError::bug)?,
            }),
            metrics: BTreeMap::new(),
        })
    }
}

/// Counts to `total`, a tenth of a second each; the result is a digest chain, so that a wrong
/// resume would show.
fn count(context: &JobContext, total: u64) -> Result<String, JobError> {
    let (mut step, mut state) = match context.resume()? {
        Some((step, file)) => (
            step,
            std::fs::read_to_string(file).map_err(JobError::retry)?,
        ),
        None => (0, String::new()),
    };
    let first = step;
    let file = context.scratch().join("state");
    while step < total {
        std::thread::sleep(Duration::from_millis(100));
        state = blake3::hash(format!("{state}{step}").as_bytes()).to_string();
        step += 1;
        context.progress(step, total, "steps");
        context.count(&STEPS, 1);
        if context.stopping() || context.checkpoint_due() {
            std::fs::write(&file, &state).map_err(JobError::retry)?;
            context.checkpoint(step, &file)?;
        }
        if context.stopping() && step < total {
            return Err(JobError::Drained);
        }
    }
    context.put_bytes(FIRST_STEP, first.to_string().as_bytes())?;
    Ok(state)
}

/// Dies after every step but the last, each time at a checkpoint.
fn climb(context: &JobContext, total: u64) -> Result<(), JobError> {
    let step = context.resume()?.map_or(0, |(step, _)| step) + 1;
    if step == total {
        return Ok(());
    }
    let file = context.scratch().join("state");
    std::fs::write(&file, "").map_err(JobError::retry)?;
    context.checkpoint(step, &file)?;
    std::process::abort();
}

fn is_first(marker: &Path) -> bool {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(marker)
        .is_ok()
}

fn main() -> Result<(), cedm_runtime::RuntimeError> {
    serve(Args::parse().serve, || Ok(Echo))
}
