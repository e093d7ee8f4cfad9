//! `cedm-trainer run`: from a data set on disk to a folder of weights, resumable at any moment.

use crate::{
    conditions::ConditionArgs, curve::write_json, pictures::Pictures, segment::Segment,
    settings::settings,
};
use anyhow::{Context, anyhow, ensure};
use cedm_contract::{
    Precision,
    kinds::train::{STATE, whole_batch_images},
};
use cedm_diffusion::{
    Recipe, Training,
    weights::{CONDITION_FILE, TRAINING_FILE},
};
use cedm_runtime::{ConsoleMonitor, InputPath, JobError};
use cedm_torch::tensor_files;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Train on a data set on disk. Repeat the command to resume an interrupted run, or with a larger
/// --kimg to extend a finished one.
///
/// The output folder holds `training.json` (the settings), `ema-<images>.safetensors` for every
/// snapshot (upstream names), `state.safetensors` (to extend the run), `curve-<images>.json`
/// (updated with every checkpoint), `condition.safetensors` (the labels' prior and the ids before
/// compaction), and the folder `checkpoints` while it runs.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Data set: any that `cedm-extractor import` reads, or a safetensors file with `images` u8 [n,
    /// c, r, r]
    #[arg(long)]
    data: InputPath,
    /// Output folder; an unfinished run in it is resumed
    #[arg(long)]
    out: PathBuf,
    /// Preset with the settings of the run; an unknown name is answered with the list of presets
    #[arg(long, default_value = "cifar10")]
    preset: String,
    /// Change one setting of the preset: network.…, optimiser.…, augment.… or precision; may be
    /// repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Length of the run in thousand images. Default: the preset's
    #[arg(long)]
    kimg: Option<f64>,
    /// Thousand images between snapshots of the EMA weights. Default: one snapshot at the end
    #[arg(long)]
    snapshot_kimg: Option<f64>,
    /// Seconds between two checkpoints; only the newest is kept
    #[arg(long, default_value_t = 60.0)]
    checkpoint_s: f64,
    /// Seed of all random draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl RunArgs {
    /// Trains to the end of the budget and returns a summary as JSON.
    ///
    /// # Errors
    /// If the data, the condition or the settings do not fit, or the folder holds another run.
    pub fn run(&self) -> anyhow::Result<Value> {
        let compute = cedm_torch::start()?;
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
        cedm_torch::start_training(&compute);
        cedm_torch::allow_tf32(preset.precision == Precision::Tf32);
        InputPath::fetch_all([&self.data].into_iter().chain(self.condition.files()))?;
        let pictures = self.data.read(Pictures::read)?;
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
                "--set network.{field}: cannot be set, it follows from {from}"
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
        let label_tensors = condition.label_tensors();
        let mut training = Training::new(recipe, &pictures.images, condition, compute.device)?;
        // As a sweep with these settings would be refused.
        let recipe = &training.recipe;
        let faults =
            cedm_sweep::training_faults(&recipe.network, &recipe.optimiser, &recipe.augment);
        ensure!(faults.is_empty(), "--set: {}", faults.join("; "));

        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("create {}", self.out.display()))?;
        let state = self.out.join(STATE);
        let other_run = "the folder holds another run: choose another --out, or remove it";
        if state.exists() {
            training.load_state(&state).context(other_run)?;
        }
        let monitor = self.monitor();
        let newest = monitor.newest()?;
        if let Some((_, file)) = &newest {
            training.check_state(file).context(other_run)?;
        }
        let record = self.out.join(TRAINING_FILE);
        write_json(&record, &self.describe(&training, images))
            .with_context(|| format!("write {}", record.display()))?;
        if !label_tensors.is_empty() {
            tensor_files::write(&self.out.join(CONDITION_FILE), &label_tensors, &[])?;
        }
        // The newest checkpoint may lie beyond the next snapshot if --snapshot-kimg was reduced
        // since: snapshots that it has passed are left out.
        let mut reached = newest.map_or(0, |(step, _)| step * batch);
        let interval = self.snapshot_kimg.map_or(whole(budget), whole).max(batch);
        let mut last = None;
        while training.nimg() < whole(budget) {
            let from = training.nimg().max(std::mem::take(&mut reached));
            let to = ((from / interval + 1) * interval).min(whole(budget));
            last = Some(self.segment(&mut training, to, &monitor)?);
        }
        Ok(json!({
            "out": self.out,
            "weights": weights_file(&self.out, training.nimg()),
            "nimg": training.nimg(),
            "steps": training.steps(),
            "parameters": training.parameter_count(),
            "label_dim": training.recipe.network.label_dim,
            "device": compute.device_name(),
            "last_segment": last,
        }))
    }

    /// Trains to image `to` and writes weights, curve and state; returns a summary.
    fn segment(
        &self,
        training: &mut Training,
        to: u64,
        monitor: &ConsoleMonitor,
    ) -> anyhow::Result<Value> {
        let curve = self.out.join(format!("curve-{}.json", images_name(to)));
        let mut segment = Segment::new(training.nimg(), to, training.recipe.optimiser.batch)?
            .with_curve(curve.clone());
        let finished =
            segment
                .train(training, monitor, &self.out)
                .map_err(|error| match error {
                    JobError::Drained => anyhow!(
                        "stopped at image {}: repeat the command to resume from there",
                        training.nimg()
                    ),
                    error => anyhow!("train to image {to}: {error}"),
                })?;
        training.save_ema(&weights_file(&self.out, to))?;
        finished
            .curve
            .write(&curve)
            .with_context(|| format!("write {}", curve.display()))?;
        // The state is written last: it marks the segment as done, so all else must exist.
        training.save_state(&self.out.join(STATE))?;
        let checkpoints = self.out.join("checkpoints");
        if checkpoints.exists() {
            std::fs::remove_dir_all(&checkpoints)
                .with_context(|| format!("remove {}", checkpoints.display()))?;
        }
        Ok(json!({
            "loss": finished.loss,
            "images_per_second": finished.images as f64 / finished.seconds.max(1e-9),
            "seconds": finished.seconds,
            "images_at_once": training.images_at_once(),
            "resident_bytes": cedm_runtime::resident_bytes(),
            "device_bytes": cedm_torch::device_bytes(training.device()),
        }))
    }

    fn monitor(&self) -> ConsoleMonitor {
        ConsoleMonitor::keeping(self.out.join("checkpoints"))
            .with_interval(Duration::from_secs_f64(self.checkpoint_s))
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
