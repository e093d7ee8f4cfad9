//! The program `cedm-trainer`: `serve` performs jobs from the queue, `run` trains on a data set on
//! disk, `loss` measures finished weights, `bench` measures speed.

#![forbid(unsafe_code)]

use cedm_runtime::ServeArgs;
use cedm_trainer::{BenchArgs, LossArgs, RunArgs, TrainerWorker};
use clap::Parser;
use std::process::ExitCode;

/// Train EDM networks, unconditional or conditioned on one label or vector per image.
#[derive(Parser)]
#[command(name = "cedm-trainer", version)]
enum Command {
    /// Perform `train` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Train on a data set on disk; repeating the command resumes an interrupted run. Prints a
    /// summary as JSON.
    Run(Box<RunArgs>),
    /// Measure the loss of finished weights by noise level, on fixed images and noise; prints JSON.
    Loss(LossArgs),
    /// Measure speed and memory of training and sampling with a preset, on random images; prints
    /// JSON.
    Bench(BenchArgs),
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-trainer", outcome)
}

fn run() -> anyhow::Result<()> {
    let result = match cedm_terminal::arguments::<Command>() {
        Command::Serve(args) => {
            return Ok(cedm_runtime::serve(args, || Ok(TrainerWorker::start()?))?);
        }
        Command::Run(args) => args.run()?,
        Command::Loss(args) => args.run()?,
        Command::Bench(args) => args.run()?,
    };
    cedm_terminal::outjson!(serde_json::to_string_pretty(&result)?);
    Ok(())
}
