//! `cedm-coordinator`: the service and its dry run.

#![forbid(unsafe_code)]

use cedm_coordinator::RunArgs;
use cedm_runtime::ServeArgs;
use clap::Parser;

/// Turns sweeps into jobs, follows their results, and writes the report at the end.
#[derive(Parser)]
#[command(name = "cedm-coordinator", version)]
enum Command {
    /// Create the streams, then keep every active sweep going until SIGTERM.
    Serve(ServeArgs),
    /// Plan a sweep file as if nothing had been computed yet; jobs and estimates go to stdout as
    /// JSON.
    Run(RunArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve(args) => cedm_coordinator::serve(args),
        Command::Run(args) => {
            println!("{}", serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
