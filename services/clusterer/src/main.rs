//! `cedm-clusterer`: the service and its commands for plain files.

#![forbid(unsafe_code)]

use cedm_clusterer::{ClustererWorker, ExportArgs, GalleryArgs, Memory, NeighboursArgs, RunArgs};
use cedm_runtime::ServeArgs;
use clap::Parser;

/// Groups images by their features: exact nearest neighbours, TEMI, k-means; or takes the groups
/// from a file.
#[derive(Parser)]
#[command(name = "cedm-clusterer", version)]
enum Command {
    /// Pull `neighbours` and `cluster` jobs from the queue until SIGTERM.
    Serve {
        #[command(flatten)]
        serve: ServeArgs,
        #[command(flatten)]
        memory: Memory,
    },
    /// Cluster a file of features; ids and prior go to a folder, a summary to stdout as JSON.
    Run(Box<RunArgs>),
    /// Find the nearest neighbours of every row of a file of features; a summary goes to stdout as
    /// JSON.
    Neighbours(NeighboursArgs),
    /// Turn a clustering into npy files or into the folder layout that the C-EDM authors publish.
    Export(ExportArgs),
    /// Draw the most and least confident images, and images of each cluster.
    Gallery(GalleryArgs),
}

fn main() -> anyhow::Result<()> {
    let inputs = cedm_runtime::store::LocalArgs::gather()?;
    match Command::parse_from(inputs.args()) {
        Command::Serve { serve, memory } => Ok(cedm_runtime::serve(serve, move || {
            Ok(ClustererWorker::start(memory.tile_bytes()))
        })?),
        Command::Run(args) => print(&args.run()?),
        Command::Neighbours(args) => print(&args.run()?),
        Command::Export(args) => print(&args.run()?),
        Command::Gallery(args) => print(&args.run()?),
    }
}

fn print(summary: &serde_json::Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(summary)?);
    Ok(())
}
