//! The program `cedm-clusterer`: `serve` performs jobs from the queue, the other commands work on
//! plain files.

#![forbid(unsafe_code)]

use cedm_clusterer::{ClustererWorker, ExportArgs, GalleryArgs, Memory, NeighboursArgs, RunArgs};
use cedm_runtime::ServeArgs;
use clap::Parser;
use std::process::ExitCode;

/// Cluster images by their features, with TEMI or k-means, or import clusters from a file.
#[derive(Parser)]
#[command(name = "cedm-clusterer", version)]
enum Command {
    /// Perform `neighbours` and `cluster` jobs from the queue until SIGTERM.
    Serve {
        #[command(flatten)]
        serve: ServeArgs,
        #[command(flatten)]
        memory: Memory,
    },
    /// Cluster a file of features and write ids and prior to a folder; prints a summary as JSON.
    Run(Box<RunArgs>),
    /// Find the nearest neighbours of every row of a file of features; prints a summary as JSON.
    Neighbours(NeighboursArgs),
    /// Convert a clustering to npy files, or to the folder layout that the C-EDM authors publish.
    Export(ExportArgs),
    /// Draw the most and the least confident images and the images of each cluster as PNG files.
    Gallery(GalleryArgs),
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-clusterer", outcome)
}

fn run() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Command>() {
        Command::Serve { serve, memory } => Ok(cedm_runtime::serve(serve, move || {
            Ok(ClustererWorker::start(memory.tile_bytes())?)
        })?),
        Command::Run(args) => print(&args.run()?),
        Command::Neighbours(args) => print(&args.run()?),
        Command::Export(args) => print(&args.run()?),
        Command::Gallery(args) => print(&args.run()?),
    }
}

fn print(summary: &serde_json::Value) -> anyhow::Result<()> {
    cedm_terminal::outjson!(serde_json::to_string_pretty(summary)?);
    Ok(())
}
