//! `trainer bench`: training and sampling speed of a preset on random images.

use crate::settings::settings;
use cedm_contract::{Precision, kinds::sample::SamplerParams};
use cedm_diffusion::{
    Condition, Recipe, Training,
    sampler::{LabelSupply, Sampler, block_size},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Instant;
use tch::{Kind, Tensor};

/// Measures a preset.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Which preset
    #[arg(long, default_value = "digits8")]
    preset: String,
    /// Changes one setting; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Training steps to time, after one that is not timed
    #[arg(long, default_value_t = 10)]
    steps: u64,
    /// Blocks of images to sample
    #[arg(long, default_value_t = 1)]
    blocks: u64,
    /// Label slots
    #[arg(long, default_value_t = 10)]
    labels: u32,
}

impl BenchArgs {
    /// Images per second (median over steps and blocks), the seconds of each, and the highest
    /// resident memory.
    ///
    /// # Errors
    /// When the preset or a setting is not known or out of range.
    pub fn run(&self) -> anyhow::Result<Value> {
        let device = cedm_torch::start().device;
        let preset = settings(&self.preset, &self.set)?;
        cedm_torch::start_training();
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
        let mut train = Seconds::default();
        for _ in 0..self.steps {
            // Reading the loss waits for the device.
            train.of(|| training.step().map(|step| step.loss.double_value(&[])))?;
        }
        let batch = training.recipe.optimiser.batch;
        let train_bytes = cedm_torch::peak_resident_bytes();

        let params = SamplerParams {
            steps: preset.sampler_steps,
            precision: preset.precision,
            ..SamplerParams::default()
        };
        let labels = if self.labels > 0 {
            LabelSupply::Uniform(self.labels.into())
        } else {
            LabelSupply::None
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
            // Kernels are loaded and chosen at first use.
            sampler.images(0, block, &mut |_| true)?;
        }
        let mut sample = Seconds::default();
        for index in 0..self.blocks {
            sample.of(|| sampler.images(index * block, block, &mut |_| true))?;
        }
        Ok(json!({
            "preset": self.preset,
            "device": cedm_torch::device_name(),
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
            "device_bytes": cedm_torch::device_bytes(),
        }))
    }
}

/// How long each turn took.
#[derive(Debug, Default, Serialize)]
struct Seconds {
    /// On the clock.
    wall: Vec<f64>,
    /// On processors, all threads together: what a busy machine leaves alone.
    cpu: Vec<f64>,
}

impl Seconds {
    /// Runs `work` and takes its time.
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (begun, spent) = (Instant::now(), cpu_seconds());
        let done = work();
        self.wall.push(begun.elapsed().as_secs_f64());
        self.cpu.push(cpu_seconds() - spent);
        done
    }
}

/// Time that the living threads of this process have spent on processors; 0 where the system does
/// not say.
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

/// The middle one; NaN of nothing.
fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
