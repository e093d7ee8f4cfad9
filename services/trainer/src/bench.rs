//! `cedm-trainer bench`: speed and memory of training and sampling with a preset, on random images.

use crate::settings::settings;
use cedm_contract::{Precision, kinds::sample::SamplerParams};
use cedm_diffusion::{
    Condition, Recipe, Training,
    sampler::{LabelDistribution, Sampler, block_size},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Instant;
use tch::{Kind, Tensor};

/// Measure speed and memory of training and sampling with a preset.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Preset to measure; an unknown name is answered with the list of presets
    #[arg(long, default_value = "digits8")]
    preset: String,
    /// Change one setting of the preset, such as optimiser.batch=64; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Number of training steps to time, after one warm-up step
    #[arg(long, default_value_t = 10)]
    steps: u64,
    /// Number of blocks of images to sample
    #[arg(long, default_value_t = 1)]
    blocks: u64,
    /// Number of labels of the network; 0 for an unconditional one
    #[arg(long, default_value_t = 10)]
    labels: u32,
}

impl BenchArgs {
    /// Measures and returns as JSON the images per second (median over steps and blocks), the
    /// seconds of each, and the highest resident memory.
    ///
    /// # Errors
    /// If the preset or a setting is unknown or out of range.
    pub fn run(&self) -> anyhow::Result<Value> {
        let compute = cedm_torch::start()?;
        let device = compute.device;
        let preset = settings(&self.preset, &self.set)?;
        cedm_torch::start_training(&compute);
        cedm_torch::allow_tf32(preset.precision == Precision::Tf32);
        let mut network = preset.network;
        network.label_dim = self.labels;
        let (channels, side) = (i64::from(network.channels), i64::from(network.resolution));
        let images = Tensor::randint(
            256,
            [256, channels, side, side],
            (Kind::Uint8, tch::Device::Cpu),
        );
        let ids: Vec<i64> = (0..256)
            .map(|index| index % i64::from(self.labels.max(1)))
            .collect();
        let condition = if self.labels > 0 {
            Condition::compacting(&ids)?
        } else {
            Condition::None
        };
        let recipe = Recipe {
            network,
            optimiser: preset.optimiser,
            augment: preset.augment,
            precision: preset.precision,
            seed: 0,
        };
        let mut training = Training::new(recipe, &images, condition, device)?;
        training.step()?.loss.double_value(&[]);
        let mut train = Timings::default();
        for _ in 0..self.steps {
            // Reading the loss waits for the device: without it only the launch would be timed.
            train.time(|| training.step().map(|step| step.loss.double_value(&[])))?;
        }
        let batch = training.recipe.optimiser.batch;
        let train_bytes = cedm_torch::peak_resident_bytes();

        let params = SamplerParams {
            steps: preset.sampler_steps,
            precision: preset.precision,
            ..SamplerParams::default()
        };
        let labels = if self.labels > 0 {
            LabelDistribution::Uniform(self.labels.into())
        } else {
            LabelDistribution::None
        };
        let sampler = Sampler::new(
            training.learner.network.clone(),
            &training.learner.ema_parameters(),
            params,
            labels,
            device,
        )?;
        let block = block_size(side, device);
        if device.is_cuda() {
            // A warm-up: kernels are loaded and selected at first use.
            sampler.images(0, block, &mut |_| true)?;
        }
        let mut sample = Timings::default();
        for index in 0..self.blocks {
            sample.time(|| sampler.images(index * block, block, &mut |_| true))?;
        }
        Ok(json!({
            "preset": self.preset,
            "device": compute.device_name(),
            "precision": preset.precision,
            "threads": tch::get_num_threads(),
            "network": training.recipe.network,
            "parameters": training.parameter_count(),
            "batch": batch,
            "micro_batch": training.recipe.optimiser.micro_batch,
            "train_images_per_second": f64::from(batch) / median(&train.wall),
            "train_seconds": train,
            "train_peak_bytes": train_bytes,
            "sampler_steps": preset.sampler_steps,
            "sample_block": block,
            "sample_images_per_second": block as f64 / median(&sample.wall),
            "sample_seconds": sample,
            "peak_bytes": cedm_torch::peak_resident_bytes(),
            "device_bytes": cedm_torch::device_bytes(device),
        }))
    }
}

/// Durations in seconds of repeated measurements.
#[derive(Debug, Default, Serialize)]
struct Timings {
    /// Wall-clock seconds of each measured step.
    wall: Vec<f64>,
    /// Processor time of all threads together, which other load on the machine hardly changes.
    cpu: Vec<f64>,
}

impl Timings {
    /// Runs `work` and records its durations.
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (started, cpu_before) = (Instant::now(), cpu_seconds());
        let result = work();
        self.wall.push(started.elapsed().as_secs_f64());
        self.cpu.push(cpu_seconds() - cpu_before);
        result
    }
}

/// Processor time in seconds that the living threads of this process have used so far; 0 on systems
/// without /proc.
fn cpu_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    let nanoseconds = |path: std::path::PathBuf| -> Option<u64> {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let spent = tasks.flatten().filter_map(|task| nanoseconds(task.path()));
    spent.sum::<u64>() as f64 * 1e-9
}

/// The median (the higher of the middle two); NaN if there are no values.
fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
