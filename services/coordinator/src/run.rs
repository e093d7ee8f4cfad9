//! `cedm-coordinator run`: plan a sweep file against an empty store.

use anyhow::{Context, bail};
use cedm_contract::{
    Attempt, Digest, Job, JobResult, JobSpec, Manifest, ObjectRef, ShardRef, blob_key,
    kinds::import::{ImageSet, ImportParams},
};
use cedm_planner::{KindEstimate, Observed, Plan, estimate, obstacles, plan};
use cedm_sweep::{MAX_FILE_BYTES, Sweep, SweepSpec};
use serde::Serialize;
use std::path::PathBuf;

/// Options of `cedm-coordinator run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The sweep file to plan, TOML
    sweep: PathBuf,
    /// Import manifest (JSON) of the image set. Without it, describe the images by the options
    /// below.
    #[arg(long, conflicts_with_all = ["count", "resolution"])]
    images: Option<PathBuf>,
    /// Number of images in the set, where no `--images` is given
    #[arg(long, required_unless_present = "images")]
    count: Option<u64>,
    /// Side of the square images in pixels.
    #[arg(long, required_unless_present = "images")]
    resolution: Option<u32>,
    /// Channels of the images: 1 or 3.
    #[arg(long, default_value_t = 3)]
    channels: u32,
    /// Classes of the labels; 0 for unlabelled images.
    #[arg(long, default_value_t = 0)]
    classes: u32,
    /// Images per shard of the assumed set
    #[arg(long, default_value_t = 5_000)]
    shard_size: u32,
}

/// What `run` prints, as JSON.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// Reasons why the sweep cannot run on these images; empty when it can.
    pub obstacles: Vec<String>,
    /// Number of jobs and amount of work by kind.
    pub estimate: Vec<KindEstimate>,
    /// Every job; waiting jobs list what they wait for.
    pub plan: Plan,
}

/// Longest manifest in bytes, of some hundred thousand shards.
const MANIFEST_LIMIT: u64 = 64 << 20;

impl RunArgs {
    /// Plans the sweep against an empty store.
    ///
    /// # Errors
    /// When the sweep file or the manifest cannot be read or is invalid.
    pub fn run(&self) -> anyhow::Result<Planned> {
        let path = &self.sweep;
        let toml = cedm_runtime::read_text_file(path, MAX_FILE_BYTES as u64)
            .with_context(|| format!("read {}", path.display()))?;
        let mut spec = SweepSpec::parse(&toml)
            .map_err(|error| anyhow::anyhow!("{} cannot be used:\n{error}", path.display()))?;
        // A plan needs references to the user's files, not their content.
        let stored = spec
            .files()
            .into_iter()
            .map(|file| (file.clone(), placeholder(&file)))
            .collect();
        spec.store_files(&stored);
        let import = self.import()?;
        let JobResult::Import(images) = &import.result else {
            bail!(
                "expected an import manifest, found a {} manifest",
                import.kind()
            )
        };
        let count = images.count;
        let obstacles = obstacles(&spec, images, None);
        let id = match &spec.name {
            Some(name) => name.clone(),
            None => "planned".parse()?,
        };
        let test_images = spec.test_set.is_some().then(|| import.key.clone());
        let sweep = Sweep::new(
            id,
            spec,
            import.key.clone(),
            test_images,
            import.timings.finished_ms,
            toml,
        );
        let mut known = Observed::default();
        known.record(import);
        let plan = plan(&sweep, &known);
        let estimate = estimate(&plan, &sweep.spec, count);
        Ok(Planned {
            obstacles,
            estimate,
            plan,
        })
    }

    /// The manifest of the images, given or made up.
    fn import(&self) -> anyhow::Result<Manifest> {
        if let Some(path) = &self.images {
            let bytes = cedm_runtime::read_regular(path, MANIFEST_LIMIT)
                .with_context(|| format!("read {}", path.display()))?;
            return Manifest::decode(&bytes)
                .with_context(|| format!("manifest {}", path.display()));
        }
        let (Some(count), Some(resolution)) = (self.count, self.resolution) else {
            bail!("expected --images, or --count and --resolution")
        };
        if count == 0 || self.shard_size == 0 {
            bail!("--count and --shard-size must be at least 1");
        }
        let size = u64::from(self.shard_size);
        let shard = |first: u64| ShardRef {
            object: placeholder(&format!("shard {first}")),
            first,
            count: size.min(count - first),
        };
        let content = Digest::of(format!("{count} images").as_bytes());
        let set = ImageSet {
            count,
            channels: self.channels,
            resolution,
            classes: self.classes,
            coarse_classes: 0,
            class_names: Vec::new(),
            content: content.clone(),
            shards: (0..count)
                .step_by(self.shard_size as usize)
                .map(shard)
                .collect(),
        };
        let params = ImportParams {
            content,
            labels: Digest::of(b""),
            shard_size: self.shard_size,
        };
        let job = Job::new(
            JobSpec::Import(params),
            Vec::new(),
            Default::default(),
            Default::default(),
        );
        let (attempt, result) = (Attempt::new(0, 1), JobResult::Import(set));
        Ok(Manifest::of(job, attempt, Vec::new(), result))
    }
}

/// A reference that stands for a file which is not stored.
fn placeholder(name: &str) -> ObjectRef {
    ObjectRef {
        object: blob_key(&Digest::of(name.as_bytes())),
        size: 0,
        digest: Digest::of(name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "[images]\nset = \"digits\"\n[extractor]\nname = \"dino_vitb16\"\nweights \
        = \"dino.pth\"\n[[clustering]]\nmethod = \"kmeans\"\nclusters = \
        [10]\n[training]\npreset = \"tiny8\"\n[sampling]\nimages = 100\nsets = \
        1\n[evaluation]\nextractor = \"pixels\"\nmetrics = [\"fd\"]\n";

    fn planned(toml: &str, resolution: u32) -> anyhow::Result<Planned> {
        let folder = tempfile::tempdir().unwrap();
        let sweep = folder.path().join("sweep.toml");
        std::fs::write(&sweep, toml).unwrap();
        RunArgs {
            sweep,
            images: None,
            count: Some(250),
            resolution: Some(resolution),
            channels: 1,
            classes: 0,
            shard_size: 100,
        }
        .run()
    }

    #[test]
    fn a_sweep_file_is_planned_without_a_store() {
        let planned = planned(TOML, 8).unwrap();
        assert_eq!(planned.obstacles, [""; 0]);
        let ready: Vec<&str> = planned
            .plan
            .ready()
            .iter()
            .map(|job| job.hints.label.as_str())
            .collect();
        assert_eq!(
            ready
                .iter()
                .filter(|label| label.starts_with("extract dino_vitb16@"))
                .count(),
            3,
            "{ready:?}"
        );
        assert_eq!(
            ready
                .iter()
                .filter(|label| label.starts_with("measure pixels training images"))
                .count(),
            3,
            "{ready:?}"
        );
        let train = planned
            .estimate
            .iter()
            .find(|row| row.kind == cedm_contract::Kind::Train)
            .unwrap();
        assert_eq!((train.jobs, train.done, train.unit), (1, 0, "kimg"));
    }

    #[test]
    fn sweeps_that_do_not_fit_the_images_are_reported() {
        assert!(planned(TOML, 32).unwrap().obstacles[0].contains("preset `tiny8` is for 8×8"));
        let error = format!(
            "{:#}",
            planned(&TOML.replace("[10]", "[1]"), 8).unwrap_err()
        );
        assert!(
            error.contains(
                "sweep.toml cannot be used:\nline 8, column 12: C = 1: expected at least 2 clusters"
            ),
            "{error}"
        );
    }
}
