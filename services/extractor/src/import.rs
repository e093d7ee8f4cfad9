//! The `import` command: a data set of any supported format as a folder of shards.

use anyhow::{Context, Result};
use cedm_images::{ImageError, ImportOptions, Progress, SourceArgs};
use cedm_runtime::InputPath;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Options of an import; other commands accept them too.
#[derive(Debug, Clone, clap::Args)]
pub struct ShapeArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Images per shard of the image set
    #[arg(long, default_value_t = ImportOptions::default().shard_size)]
    shard_size: u32,
    /// Threads that decode; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Converts a data set of any supported format to a folder of shards.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A folder, zip or tar archive of images, EDM archive, WebDataset shards, CIFAR or MNIST
    /// files, numpy array, parquet table or LMDB database: a path or an s3:// URI
    source: InputPath,
    /// The folder to create; the same command continues an interrupted import
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    shape: ShapeArgs,
}

impl ImportArgs {
    /// Imports; returns a summary as JSON.
    ///
    /// # Errors
    /// As [`cedm_images::import`].
    pub fn run(&self) -> Result<serde_json::Value> {
        // A download stays beside the result until that is complete or can never be, for an
        // interrupted import to continue with.
        let mut fetched = self.out.clone().into_os_string();
        fetched.push(".source");
        let source = self.source.fetch_into(Path::new(&fetched))?;
        let outcome = cedm_images::import(&source, &self.shape.options(), &self.out, &mut bar());
        let ended = outcome
            .as_ref()
            .map_or_else(ImageError::is_lasting, |_| true);
        if ended && Path::new(&fetched).is_dir() {
            std::fs::remove_dir_all(&fetched)
                .with_context(|| format!("remove {}", Path::new(&fetched).display()))?;
        }
        let imported = outcome?;
        for line in imported.lines() {
            cedm_terminal::errln!("{line}");
        }
        Ok(serde_json::json!({
            "out": self.out,
            "count": imported.set.count,
            "channels": imported.set.channels,
            "resolution": imported.set.resolution,
            "classes": imported.set.classes,
            "shards": imported.set.shards.len(),
            "content": imported.set.content,
            "skipped": imported.first_skipped(),
            "skipped_count": imported.skipped.len(),
            "skipped_by_reason": imported.skipped_by_reason(),
            "summary": imported.summary,
            "seconds": imported.seconds,
            "images_per_second": imported.set.count as f64 / imported.seconds.max(1e-9),
        }))
    }
}

impl ShapeArgs {
    /// These options as those of the library.
    pub fn options(&self) -> ImportOptions {
        ImportOptions {
            shard_size: self.shard_size,
            threads: self.threads,
            ..self.source.options()
        }
    }
}

/// Between two lines of progress where there is no line to draw over.
const LINE: Duration = Duration::from_secs(30);

/// Progress on stderr: a line that is drawn over on a terminal, and elsewhere a line now and then,
/// so that nobody waits for minutes without a word.
pub fn bar() -> impl FnMut(Progress) {
    let terminal = std::io::stderr().is_terminal();
    let mut said = Instant::now();
    move |progress: Progress| {
        let Progress {
            done,
            total,
            rate,
            seconds_left,
            ..
        } = progress;
        let line = format!("{done}/{total} images, {rate:.0} per second, {seconds_left:.0} s left");
        if terminal {
            cedm_terminal::redraw_message(&format!("{line}   "), done == total);
        } else if said.elapsed() >= LINE {
            said = Instant::now();
            cedm_terminal::errln!("{line}");
        }
    }
}
