//! The program `cedm-sampler`: `serve` performs jobs from the queue, `run` samples from a weight
//! file.

#![forbid(unsafe_code)]

use cedm_runtime::ServeArgs;
use cedm_sampler::{RunArgs, SamplerWorker};
use clap::Parser;

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

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(SamplerWorker::start()))?),
        Command::Run(args) => {
            println!("{}", serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
