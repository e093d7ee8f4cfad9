//! The program `cedm-sampler`: `serve` performs jobs from the queue, `run` samples from a weight
//! file.

#![forbid(unsafe_code)]

use cedm_runtime::ServeArgs;
use cedm_sampler::{RunArgs, SamplerWorker};
use clap::Parser;
use std::process::ExitCode;

/// Sample images from the weights of an EDM network.
#[derive(Parser)]
#[command(name = "cedm-sampler", version)]
enum Command {
    /// Perform `sample` and `sample_set` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Sample from a weight file into an npz file, a PNG archive or a folder; prints a summary as
    /// JSON.
    Run(Box<RunArgs>),
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-sampler", outcome)
}

fn run() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Command>() {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(SamplerWorker::start()?))?),
        Command::Run(args) => {
            cedm_terminal::outjson!(serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
