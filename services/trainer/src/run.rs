//! `trainer run`: a data set on disk to a folder of weights, resumable at any moment.

use crate::{
    conditions::ConditionArgs, curve::write_json, failure::job_error, pictures::Pictures,
    segment::Segment, settings::settings,
};
use anyhow::{Context, anyhow, ensure};
use cedm_contract::{
    Precision,
    kinds::train::{STATE, whole_batch_images},
};
use cedm_diffusion::{Recipe, Training, weights};
use cedm_runtime::{ConsoleMonitor, JobError};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tch::Tensor;

/// Trains on a data set on disk. The folder holds `training.json`, `ema-<images>.safetensors` for
/// every snapshot (upstream names), `state.safetensors`, `curve-<images>.json` (the segment under
/// way adds to its own with every checkpoint), and `condition.safetensors` (what the sampler draws
/// labels from, and what each label was called before ids were compacted); checkpoints are kept
/// below `checkpoints` while it runs.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Data set: an EDM archive, a folder of images, or a safetensors file with `images` u8 [n, c,
    /// r, r]
    #[arg(long)]
    data: PathBuf,
    /// Output folder; an unfinished run in it goes on
    #[arg(long)]
    out: PathBuf,
    /// Where to start from; an unknown name is answered with the list
    #[arg(long, default_value = "cifar10")]
    preset: String,
    /// Changes one setting: network.…, optimiser.…, augment.… or precision; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// What to condition on.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Budget in thousand images; the preset's own when absent
    #[arg(long)]
    kimg: Option<f64>,
    /// Thousand images between snapshots of the EMA weights; only at the end when absent
    #[arg(long)]
    snapshot_kimg: Option<f64>,
    /// Seconds between two checkpoints, of which the newest is kept
    #[arg(long, default_value_t = 60.0)]
    checkpoint_s: f64,
    /// Seed of every random stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl RunArgs {
    /// Trains; what came of it.
    ///
    /// # Errors
    /// Anything that is wrong with the data, the condition, the settings or the folder.
    pub fn run(&self) -> anyhow::Result<Value> {
        let started = cedm_torch::start();
        let preset = settings(&self.preset, &self.set)?;
        let batch = u64::from(preset.optimiser.batch.max(1));
        let whole = |kimg: f64| whole_batch_images(kimg, batch);
        let budget = self.kimg.unwrap_or(preset.budget_kimg);
        for (option, kimg) in [
            ("--kimg", Some(budget)),
            ("--snapshot-kimg", self.snapshot_kimg),
        ] {
            ensure!(
                kimg.is_none_or(|kimg| kimg.is_finite() && whole(kimg) > 0),
                "{option} is {}: expected at least one batch of {batch} images",
                kimg.unwrap_or_default()
            );
        }
        let checkpoint_s = self.checkpoint_s;
        ensure!(
            Duration::try_from_secs_f64(checkpoint_s).is_ok(),
            "--checkpoint-s is {checkpoint_s}: expected seconds of at least 0"
        );
        cedm_torch::start_training();
        cedm_torch::allow_tf32(preset.precision == Precision::Tf32);
        let pictures = Pictures::read(&self.data)?;
        let condition = self.condition.read(&pictures)?;
        let (images, channels, side) = pictures.shape();
        let changed = |field: &str| {
            self.set
                .iter()
                .any(|change| change.starts_with(&format!("network.{field}=")))
        };
        for (field, from) in [("channels", "the data"), ("label_dim", "the condition")] {
            ensure!(
                !changed(field),
                "--set network.{field}: it follows from {from}, leave it out"
            );
        }
        let mut network = preset.network;
        if preset.augment.p == 0.0 && !changed("augment_dim") {
            network.augment_dim = 0;
        }
        if !changed("resolution") {
            network.resolution = side as u32;
        }
        network.channels = channels as u32;
        network.label_dim = u32::try_from(condition.label_dim())?;
        let recipe = Recipe {
            network,
            optimiser: preset.optimiser,
            augment: preset.augment,
            precision: preset.precision,
            seed: self.seed,
        };
        let prior = condition.supply();
        let mut training = Training::new(recipe, &pictures.images, condition, started.device)?;

        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("make {}", self.out.display()))?;
        let state = self.out.join(STATE);
        let another = "the folder holds another run: choose another --out, or remove it";
        if state.exists() {
            training.load_state(&state).context(another)?;
        }
        let newest = self.monitor().newest()?;
        if let Some((_, file)) = &newest {
            training.check_state(file).context(another)?;
        }
        let noted = self.out.join("training.json");
        write_json(&noted, &self.describe(&training, images))
            .with_context(|| format!("write {}", noted.display()))?;
        if !prior.is_empty() {
            let prior: Vec<(&str, &Tensor)> =
                prior.iter().map(|(name, tensor)| (*name, tensor)).collect();
            weights::write(&self.out.join("condition.safetensors"), &prior, None)
                .map_err(job_error)?;
        }
        // A checkpoint may stand beyond the next snapshot, where these have come closer together
        // since.
        let mut reached = newest.map_or(0, |(step, _)| step * batch);
        let interval = self.snapshot_kimg.map_or(whole(budget), whole).max(batch);
        let mut last = None;
        while training.nimg() < whole(budget) {
            let from = training.nimg().max(std::mem::take(&mut reached));
            let to = ((from / interval + 1) * interval).min(whole(budget));
            last = Some(self.segment(&mut training, to)?);
        }
        Ok(json!({
            "out": self.out,
            "weights": weights_file(&self.out, training.nimg()),
            "nimg": training.nimg(),
            "steps": training.steps(),
            "parameters": training.parameter_count(),
            "label_dim": training.recipe.network.label_dim,
            "device": cedm_torch::device_name(),
            "last_segment": last,
        }))
    }

    fn segment(&self, training: &mut Training, to: u64) -> anyhow::Result<Value> {
        let monitor = self.monitor();
        let curve = self.out.join(format!("curve-{}.json", images_name(to)));
        let mut segment = Segment::new(training.nimg(), to, training.recipe.optimiser.batch)?
            .with_curve(curve.clone());
        let finished =
            segment
                .train(training, &monitor, &self.out)
                .map_err(|error| match error {
                    JobError::Drained => anyhow!(
                        "stopped at image {}: the same command goes on from there",
                        training.nimg()
                    ),
                    error => anyhow!("train to image {to}: {error}"),
                })?;
        training
            .save_ema(&weights_file(&self.out, to))
            .map_err(job_error)?;
        finished
            .curve
            .write(&curve)
            .with_context(|| format!("write {}", curve.display()))?;
        // The state comes last: what it says is done is all there.
        training
            .save_state(&self.out.join(STATE))
            .map_err(job_error)?;
        let checkpoints = self.out.join("checkpoints");
        if checkpoints.exists() {
            std::fs::remove_dir_all(&checkpoints)
                .with_context(|| format!("remove {}", checkpoints.display()))?;
        }
        Ok(json!({
            "loss": finished.loss,
            "images_per_second": finished.images as f64 / finished.seconds.max(1e-9),
            "seconds": finished.seconds,
            "resident_bytes": cedm_torch::resident_bytes(),
            "device_bytes": cedm_torch::device_bytes(),
        }))
    }

    fn monitor(&self) -> ConsoleMonitor {
        ConsoleMonitor {
            checkpoints: Some(self.out.join("checkpoints")),
            every: Duration::from_secs_f64(self.checkpoint_s),
        }
    }

    fn describe(&self, training: &Training, images: i64) -> Value {
        let recipe = &training.recipe;
        json!({
            "data": self.data,
            "images": images,
            "preset": self.preset,
            "network": recipe.network,
            "optimiser": recipe.optimiser,
            "augment": recipe.augment,
            "precision": recipe.precision,
            "seed": recipe.seed,
        })
    }
}

fn images_name(nimg: u64) -> String {
    format!("{nimg:09}")
}

fn weights_file(out: &Path, nimg: u64) -> PathBuf {
    out.join(format!("ema-{}.safetensors", images_name(nimg)))
}
