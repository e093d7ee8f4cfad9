//! The command line: global options and subcommands. The options of a subcommand are declared in
//! its own module.

use crate::{
    cancel::CancelArgs,
    completions::{CompletionsArgs, ManArgs},
    dead::DeadCommand,
    demo::DemoArgs,
    explain::ExplainArgs,
    export::ExportArgs,
    fsck::FsckArgs,
    gc::GcArgs,
    import::ImportArgs,
    new::NewArgs,
    pause::PauseArgs,
    report::ReportArgs,
    retry::RetryArgs,
    rm::RmArgs,
    sets::SetsCommand,
    status::StatusArgs,
    submit::SubmitArgs,
    top::TopArgs,
    up::{args::UpArgs, guard::GuardArgs},
    watch::WatchArgs,
};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Finds the number of clusters C for which a diffusion model, conditioned on cluster labels,
/// generates the best images.
///
/// A sweep file names the images, the clusterings, the values of C and the training budget;
/// services compute; a report gives the best C. Start with `cedm demo`: it needs no other program
/// than those of this project and nats-server.
#[derive(Parser, Debug)]
#[command(name = "cedm", version)]
pub struct Cli {
    /// Folder of the local system: credentials, logs and everything it stores. Commands use the
    /// system that runs there, unless CEDM_NATS_URL is set (see `cedm env`)
    #[arg(
        long,
        global = true,
        env = "CEDM_HOME",
        default_value = ".cedm",
        value_name = "DIR"
    )]
    pub home: PathBuf,
    /// How results are printed: text for people, json for scripts
    #[arg(long, short, global = true, value_enum, default_value = "text")]
    pub output: Output,
    /// The subcommand with its options.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text and tables for people.
    Text,
    /// One JSON value, or one per line where results come one by one.
    Json,
}

/// The subcommands in the order of `cedm --help`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a whole system on this machine: broker, store, coordinator and workers. Where one is
    /// running already, print how to reach it
    Up(UpArgs),
    /// Stop the system that `up` started; results and checkpoints are kept
    Down,
    /// Print how to reach the system, as shell exports: eval "$(cedm env)"
    Env,
    /// Copy an image set into the store: a folder, archive or table of images, of any format that
    /// `services/README.md` lists; a path or an s3:// URI
    Import(ImportArgs),
    /// Write an image set or a sample set to files: an EDM archive, npz or a folder of PNGs
    Export(ExportArgs),
    /// List, show and remove image sets
    #[command(subcommand)]
    Sets(SetsCommand),
    /// Write a commented sweep file that fits an image set
    New(NewArgs),
    /// Submit a sweep file: its jobs are queued and run by the services. The file of a sweep that
    /// was cancelled, or has lost results since, runs it again
    Submit(SubmitArgs),
    /// Show the state of sweeps, queues and workers
    Status(StatusArgs),
    /// Show what every worker does now, how fast, and in how much memory
    Top(TopArgs),
    /// Follow a sweep until it ends: running jobs with their rate and remaining time. The exit code
    /// is 0 for a complete sweep, 1 for any other end
    Watch(WatchArgs),
    /// Explain why a job waits, ran or was reused, or what a sweep waits for
    Explain(ExplainArgs),
    /// List, show, replay and forget dead letters: jobs that were given up
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Queue the dead jobs of a sweep again
    Retry(RetryArgs),
    /// Hold a sweep: running jobs finish, and no other job of it is started until `resume`
    Pause(PauseArgs),
    /// Let a paused sweep go on
    Resume(PauseArgs),
    /// Cancel a sweep: no further job of it is started, and results are kept
    Cancel(CancelArgs),
    /// Remove sweeps that have ended from the list; their results stay until `gc` collects them
    Rm(RmArgs),
    /// Write a sweep's report to a folder: HTML, JSON and CSV
    Report(ReportArgs),
    /// List the feature extractors that a sweep file may name
    Extractors,
    /// List the training presets that a sweep file may name
    Presets,
    /// Look at broker, store, workers, clocks, queue, sweeps and disk. The exit code is 1 when
    /// something does not work
    Doctor,
    /// Find results, checkpoints and leftovers that nobody needs any more, and delete them
    Gc(GcArgs),
    /// Verify the store: every object that a manifest names, its size and digest; and repair it
    Fsck(FsckArgs),
    /// Run the whole method on 1,797 handwritten digits: about ten minutes on two cores. Run it
    /// again to continue an interrupted demo
    Demo(DemoArgs),
    /// Print the completions for a shell: cedm completions bash > /etc/bash_completion.d/cedm
    Completions(CompletionsArgs),
    /// Write manual pages to a folder
    Man(ManArgs),
    /// Replace this process by a program that ends with its parent
    #[command(hide = true)]
    Guard(GuardArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
