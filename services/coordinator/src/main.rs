//! `cedm-coordinator`: the service (`serve`) and its planner as a command (`run`).

#![forbid(unsafe_code)]

use cedm_coordinator::RunArgs;
use cedm_runtime::ServeArgs;
use clap::Parser;
use std::process::ExitCode;

/// Plans the jobs of sweeps, submits those whose inputs exist, and writes the report when a sweep
/// is done.
#[derive(Parser)]
#[command(name = "cedm-coordinator", version)]
enum Command {
    /// Run the service until SIGTERM: create streams and consumers, then submit the jobs of every
    /// active sweep.
    Serve(ServeArgs),
    /// Plan a sweep file as if nothing had been computed yet, without broker or store; prints jobs
    /// and estimates as JSON.
    Run(RunArgs),
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-coordinator", outcome)
}

fn run() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Command>() {
        Command::Serve(args) => cedm_coordinator::serve(args),
        Command::Run(args) => {
            cedm_terminal::outjson!(serde_json::to_string_pretty(&args.run()?)?);
            Ok(())
        }
    }
}
