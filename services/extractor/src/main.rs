//! The program `cedm-extractor`: `serve` performs jobs from the queue, the other commands work on
//! plain files.

#![forbid(unsafe_code)]

use cedm_extractor::{
    AdaptArgs, ExportArgs, ExtractorWorker, FeatureEvaluationArgs, ImportArgs, LabelArgs, RunArgs,
};
use cedm_runtime::ServeArgs;
use clap::Parser;
use std::process::ExitCode;

/// Compute features of images: pixels, principal components, DINO, DINOv2, MoCo v3, iBOT, CLIP,
/// Inception, ResNets, TorchScript.
#[derive(Parser)]
#[command(name = "cedm-extractor", version)]
enum Command {
    /// Perform `adapt`, `fit`, `extract`, `features` and `judge` jobs from the queue until SIGTERM.
    Serve(ServeArgs),
    /// Extract features of an archive or folder of images into one file; prints a summary as JSON.
    Run(RunArgs),
    /// Convert a data set of any supported format to a folder of shards; prints a summary as JSON.
    Import(ImportArgs),
    /// Write images as an archive that the EDM tools read; prints a summary as JSON.
    Export(ExportArgs),
    /// Label images with a CLIP by class names, five prompts per class; prints a summary as JSON.
    Label(LabelArgs),
    /// Measure how well features separate labels, by nearest neighbours and by a linear probe;
    /// prints accuracies as JSON.
    #[command(alias = "judge")]
    EvaluateFeatures(FeatureEvaluationArgs),
    /// Adapt a vision transformer to a data set by DINO training, or train a small one from random
    /// weights; prints a summary as JSON.
    Adapt(AdaptArgs),
}

fn main() -> ExitCode {
    let outcome = run().map(|()| ExitCode::SUCCESS);
    cedm_terminal::finish("cedm-extractor", outcome)
}

fn run() -> anyhow::Result<()> {
    match cedm_terminal::arguments::<Command>() {
        Command::Serve(args) => Ok(cedm_runtime::serve(args, || Ok(ExtractorWorker::start()?))?),
        Command::Run(args) => print(&args.run()?),
        Command::Import(args) => print(&args.run()?),
        Command::Export(args) => print(&args.run()?),
        Command::Label(args) => print(&args.run()?),
        Command::EvaluateFeatures(args) => print(&args.run()?),
        Command::Adapt(args) => print(&args.run()?),
    }
}

fn print(summary: &serde_json::Value) -> anyhow::Result<()> {
    cedm_terminal::outjson!(serde_json::to_string_pretty(summary)?);
    Ok(())
}
