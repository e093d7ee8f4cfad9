//! `cedm-bounds`: finds C_max, the largest number of clusters that TEMI really uses.

#![forbid(unsafe_code)]

use cedm_bounds::{
    run::{self, RunArgs},
    worker::BoundsWorker,
};
use cedm_runtime::ServeArgs;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cedm-bounds",
    version,
    about = "Cluster utilisation in, next number of clusters to try or the upper bound C_max out"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pull jobs from NATS until stopped
    Serve(ServeArgs),
    /// One step of the search from a table on disk, or the whole search on a file of features; the
    /// result goes to stdout as JSON
    Run(Box<RunArgs>),
}

fn main() -> anyhow::Result<()> {
    let inputs = cedm_runtime::store::LocalArgs::gather()?;
    match Args::parse_from(inputs.args()).command {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(BoundsWorker))?),
        Command::Run(args) => {
            println!("{}", serde_json::to_string_pretty(&run::run(&args)?)?);
            Ok(())
        }
    }
}
