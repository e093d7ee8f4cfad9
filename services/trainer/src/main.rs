//! `cedm-trainer`: the service, its one-job command, the loss of weights, and its benchmark.

#![forbid(unsafe_code)]

use cedm_runtime::ServeArgs;
use cedm_trainer::{BenchArgs, LossArgs, RunArgs, Trainer};
use clap::Parser;

/// Trains EDM, unconditional or conditioned on one label per image.
#[derive(Parser)]
#[command(name = "cedm-trainer", version)]
enum Command {
    /// Pull `train` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Train on a data set on disk into a folder; the same command again goes on where it stopped.
    /// The result goes to stdout as JSON.
    Run(Box<RunArgs>),
    /// Measure the loss of weights by noise level on fixed images and noise; JSON on stdout.
    Loss(LossArgs),
    /// Measure training and sampling speed and memory of a preset on random images; JSON on stdout.
    Bench(BenchArgs),
}

fn main() -> anyhow::Result<()> {
    let inputs = cedm_runtime::store::LocalArgs::gather()?;
    let result = match Command::parse_from(inputs.args()) {
        Command::Serve(args) => return Ok(cedm_runtime::serve(args, || Ok(Trainer::new()))?),
        Command::Run(args) => args.run()?,
        Command::Loss(args) => args.run()?,
        Command::Bench(args) => args.run()?,
    };
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
