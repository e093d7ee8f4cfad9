//! The program `cedm-evaluator`: `serve` performs jobs from the queue, `run` compares sets of
//! images on disk.

#![forbid(unsafe_code)]

use cedm_evaluator::{EvaluatorWorker, run};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "cedm-evaluator",
    version,
    about = "Score generated images: Fréchet distance, kernel distance, precision, recall and more"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Perform `measure`, `reference` and `score` jobs from the queue until SIGTERM
    Serve(cedm_runtime::ServeArgs),
    /// Compare two sets of images, features or statistics; prints the scores as JSON
    #[command(after_long_help = run::as_text())]
    Run(run::RunArgs),
    /// Print the table of all metrics, as Markdown
    Metrics {
        /// Print JSON instead of Markdown
        #[arg(long)]
        json: bool,
    },
    /// Print the options of other evaluation tools with their equivalents here, as Markdown
    Others,
}

fn main() -> ExitCode {
    let outcome = perform().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-evaluator", outcome)
}

fn perform() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Cli>().command {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(EvaluatorWorker::start()?))?),
        Command::Run(args) => run::run(&args),
        Command::Metrics { json } => {
            let table = if json {
                serde_json::to_string_pretty(cedm_catalogue::metrics::METRICS)?
            } else {
                cedm_catalogue::metrics::markdown()
            };
            cedm_terminal::outtext!("{table}");
            Ok(())
        }
        Command::Others => {
            cedm_terminal::outtext!("{}", run::as_markdown().trim_end());
            Ok(())
        }
    }
}
