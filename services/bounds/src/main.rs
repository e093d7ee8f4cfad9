//! `cedm-bounds`: the service and its one-job command.

use cedm_bounds::{Bounds, RunArgs};
use cedm_runtime::ServeArgs;
use clap::Parser;

/// Finds the largest number of clusters that a data set still fills (C_max), one step at a time.
#[derive(Parser)]
#[command(name = "cedm-bounds", version)]
enum Command {
    /// Pull `bound` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Search in a table of utilisation (CSV or JSON); the result goes to stdout as JSON.
    Run(RunArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(Bounds))?),
        Command::Run(args) => {
            println!("{}", serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
