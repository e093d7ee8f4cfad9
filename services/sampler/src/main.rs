//! `cedm-sampler`: the service and its one-job command.

#![forbid(unsafe_code)]

use cedm_runtime::ServeArgs;
use cedm_sampler::{RunArgs, SamplerWorker};
use clap::Parser;

/// Samples images from EDM weights.
#[derive(Parser)]
#[command(name = "cedm-sampler", version)]
enum Command {
    /// Pull `sample` and `sample_set` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Sample from a weight file (upstream names; safetensors or PyTorch) into npz, PNG archive or
    /// folder. The result goes to stdout as JSON.
    Run(Box<RunArgs>),
}

fn main() -> anyhow::Result<()> {
    let inputs = cedm_runtime::store::LocalArgs::gather()?;
    match Command::parse_from(inputs.args()) {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(SamplerWorker::new()))?),
        Command::Run(args) => {
            println!("{}", serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
