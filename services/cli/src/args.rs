//! The command line.

use crate::up::Wish;
use cedm_contract::Service;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// Finds how many clusters the images of a data set should be sorted into before a diffusion model
/// is trained on them.
///
/// A sweep file says which images, clusterings, granularities and training budget; services
/// compute; a report answers. Start with `cedm demo`: it needs nothing but this program and its
/// services.
#[derive(Parser, Debug)]
#[command(name = "cedm", version)]
pub struct Cli {
    /// Folder of the local system: credentials, logs and everything it stores. Commands find a
    /// system there, unless CEDM_NATS_URL is set (see `cedm env`)
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
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON value, or one per line where results come one by one.
    Json,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a whole system on this machine: broker, store, coordinator and workers. A second `up`
    /// attaches to it
    Up(UpArgs),
    /// Stop the system that `up` started; finished work and checkpoints stay
    Down,
    /// Print the connection data as shell exports: eval "$(cedm env)"
    Env,
    /// Bring an image set into the store: an EDM archive, a folder of images, CIFAR files, tar,
    /// WebDataset, npz; a path or s3://…
    Import(ImportArgs),
    /// Write an image set, or a sample set, as an archive that the EDM tools read, npz or a folder
    Export(ExportArgs),
    /// Hand in a sweep file
    Submit(SubmitArgs),
    /// Say where sweeps stand, which jobs run and which workers live
    Status(StatusArgs),
    /// Follow running jobs with rates and time left, until the sweep ends
    Watch(WatchArgs),
    /// Say why a job waits, ran or was reused
    Explain(ExplainArgs),
    /// Look at jobs that nobody could do, and hand them in again
    #[command(subcommand)]
    Dead(DeadCommand),
    /// End a sweep: nothing of it is started any more
    Cancel(CancelArgs),
    /// Write a sweep's report: HTML, JSON and CSV
    Report(ReportArgs),
    /// List the feature extractors that a sweep file may name
    Extractors,
    /// Read every object that a manifest names and check its size and digest
    Fsck(FsckArgs),
    /// The whole method on 1,797 handwritten digits: about ten minutes on two cores. Goes on where
    /// it was when it was stopped
    Demo(DemoArgs),
    /// Start a program that ends with its parent
    #[command(hide = true)]
    Guard(GuardArgs),
}

/// `cedm up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Return as soon as the system is ready, and leave it running
    #[arg(long)]
    pub detach: bool,
    /// Processes per service, `sampler=2,evaluator=2`; one of each where nothing is said, none with
    /// `=0`
    #[arg(long, value_name = "SERVICE=N,…", value_delimiter = ',', value_parser = worker_count)]
    pub workers: Vec<(Service, u32)>,
    /// Start a Prometheus over all services too (must be installed)
    #[arg(long)]
    pub prometheus: bool,
    /// Stop when standard input ends, that is, with the process that started this one
    #[arg(long)]
    pub exit_with_parent: bool,
    /// In a session of its own, so that a closing terminal does not matter; set by `--detach`
    #[arg(long, hide = true)]
    pub own_session: bool,
}

impl UpArgs {
    /// What to start.
    pub fn wish(&self) -> Wish {
        Wish {
            workers: self.workers.iter().copied().collect::<BTreeMap<_, _>>(),
            prometheus: self.prometheus,
        }
    }
}

fn worker_count(text: &str) -> Result<(Service, u32), String> {
    let names = || {
        Service::RUNNING
            .iter()
            .map(|service| service.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (name, count) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not SERVICE=N"))?;
    let service = Service::RUNNING
        .iter()
        .copied()
        .find(|service| service.name() == name);
    let service =
        service.ok_or_else(|| format!("`{name}` is no service; there are {}", names()))?;
    let count = count.parse().ok().filter(|count| *count <= 256);
    Ok((
        service,
        count.ok_or_else(|| format!("`{text}`: expected a number from 0 to 256 after the ="))?,
    ))
}

/// `cedm import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// EDM archive, CIFAR archive, tar file, folder of images, WebDataset shards or numpy array: a
    /// path or an s3:// URI
    pub path: String,
    /// What sweep files call this image set
    #[arg(long)]
    pub name: String,
    /// Side in pixels to which images are brought (`32`, or `32x24`); as they are when absent, and
    /// then all must be equal squares
    #[arg(long, value_parser = resolution, value_name = "N")]
    pub resolution: Option<(u32, u32)>,
    /// How images are brought there
    #[arg(long, value_enum, default_value = "scale")]
    pub framing: FramingArg,
    /// Colour channels; those of the first image by default
    #[arg(long, value_enum, default_value = "auto")]
    pub channels: ChannelsArg,
    /// Which part of a CIFAR archive
    #[arg(long, value_enum, default_value = "train")]
    pub split: SplitArg,
    /// Only what lies below this folder inside the source
    #[arg(long, value_name = "FOLDER")]
    pub inside: Option<String>,
    /// Leave all labels out
    #[arg(long)]
    pub ignore_labels: bool,
    /// Take the first images only
    #[arg(long, value_name = "N")]
    pub max_images: Option<u64>,
    /// Stop at the first corrupt image instead of leaving it out
    #[arg(long)]
    pub strict: bool,
    /// Images per stored shard: the unit in which extraction is spread over workers
    #[arg(long, default_value_t = 2048, value_name = "N")]
    pub shard_size: u32,
    /// Let the name point to this image set when it belongs to another
    #[arg(long)]
    pub replace: bool,
}

/// `cedm export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The image set, or the key of a `sample_set` job (its first digits suffice)
    pub name: String,
    /// What to write: `.zip` an archive in the EDM layout, `.npz` an array `arr_0` u8 [n, h, w, c],
    /// without an ending a folder of PNGs by seed
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

macro_rules! mirrored {
    ($(#[$doc:meta])* $name:ident of $theirs:path { $($(#[$about:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub enum $name { $($(#[$about])* $variant,)* }
        impl From<$name> for $theirs {
            fn from(arg: $name) -> Self {
                match arg { $($name::$variant => Self::$variant,)* }
            }
        }
    };
}
mirrored! {
    /// See [`cedm_images::Framing`].
    FramingArg of cedm_images::Framing {
        /// Straight resize, aspect not kept.
        Scale,
        /// The central square, then resize.
        CenterCrop,
        /// The central part of the wanted aspect, on a black square.
        CenterCropWide,
    }
}
mirrored! {
    /// See [`cedm_images::Channels`].
    ChannelsArg of cedm_images::Channels {
        /// Those of the first image.
        Auto,
        /// One.
        Grey,
        /// Three.
        Rgb,
    }
}
mirrored! {
    /// See [`cedm_images::Split`].
    SplitArg of cedm_images::Split {
        /// Training images.
        Train,
        /// Test images.
        Test,
    }
}

fn resolution(text: &str) -> Result<(u32, u32), String> {
    let side = |part: &str| {
        part.parse()
            .ok()
            .filter(|side| (1..=4096).contains(side))
            .ok_or_else(|| format!("`{text}` is no resolution: expected 32 or 32x24"))
    };
    match text.split_once('x') {
        Some((width, height)) => Ok((side(width)?, side(height)?)),
        None => Ok((side(text)?, side(text)?)),
    }
}

/// `cedm submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// The sweep file
    pub file: PathBuf,
    /// The sweep's name; the file's own `name`, else the file's name, when absent
    #[arg(long)]
    pub name: Option<String>,
    /// Print the jobs, which of them are cached, and an estimate of the work; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `cedm status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// One sweep only, with its jobs
    pub sweep: Option<String>,
}

/// `cedm watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The sweep; the only running one when absent
    pub sweep: Option<String>,
    /// Every event of every sweep instead, without an end
    #[arg(long, conflicts_with = "sweep")]
    pub follow: bool,
}

/// `cedm explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A job key (its first digits suffice), or the name of a sweep
    #[arg(required_unless_present = "kinds")]
    pub what: Option<String>,
    /// List the kinds of work instead, with the service that performs each
    #[arg(long)]
    pub kinds: bool,
}

/// `cedm dead`.
#[derive(Subcommand, Debug)]
pub enum DeadCommand {
    /// List dead jobs
    List,
    /// Show one with its parameters, inputs and error
    Show {
        /// Its key; the first digits suffice
        job: String,
    },
    /// Hand one in again, with a fresh budget of attempts
    Replay {
        /// Its key; the first digits suffice
        #[arg(required_unless_present = "all")]
        job: Option<String>,
        /// Every dead job
        #[arg(long, conflicts_with = "job")]
        all: bool,
    },
}

/// `cedm cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The sweep
    pub sweep: String,
}

/// `cedm report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The sweep
    pub sweep: String,
    /// Folder for the report's files
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `cedm fsck`.
#[derive(Args, Debug)]
pub struct FsckArgs {
    /// Check only what this sweep uses
    #[arg(long)]
    pub sweep: Option<String>,
}

/// `cedm demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for the report
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    pub out: PathBuf,
    /// Leave the system running at the end
    #[arg(long)]
    pub keep_running: bool,
    /// Another sweep file over the digits (image set `digits`)
    #[arg(long, value_name = "FILE")]
    pub sweep: Option<PathBuf>,
}

/// `cedm guard`.
#[derive(Args, Debug)]
pub struct GuardArgs {
    /// The process whose end is this program's end
    #[arg(long)]
    pub parent: i32,
    /// Program and arguments
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn worker_counts() {
        assert_eq!(worker_count("sampler=2"), Ok((Service::Sampler, 2)));
        assert!(worker_count("sampler").unwrap_err().contains("SERVICE=N"));
        assert!(worker_count("painter=1").unwrap_err().contains("evaluator"));
        assert!(worker_count("sampler=many").unwrap_err().contains("number"));
    }
}
