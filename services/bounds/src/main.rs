//! `cedm-bounds`: the service that searches for C_max, and its command for plain files.

#![forbid(unsafe_code)]

use cedm_bounds::{
    run::{self, RunArgs},
    worker::BoundsWorker,
};
use cedm_runtime::ServeArgs;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "cedm-bounds",
    version,
    about = "Searches for C_max, the largest number of clusters of which enough are used"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pull bound jobs from the queue until SIGTERM
    Serve(ServeArgs),
    /// Find the next C to probe from a table of utilisations, or run the whole search on a file of
    /// features; prints JSON
    Run(Box<RunArgs>),
}

fn main() -> ExitCode {
    let outcome = perform().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-bounds", outcome)
}

fn perform() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Args>().command {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(BoundsWorker))?),
        Command::Run(args) => {
            cedm_terminal::outjson!(serde_json::to_string_pretty(&run::run(&args)?)?);
            Ok(())
        }
    }
}
