//! `trainer bench`: training and sampling speed of a preset on random images.

use crate::settings::settings;
use cedm_contract::params::SamplerParams;
use cedm_diffusion::{
    Condition, Recipe, Training,
    sampler::{LabelSupply, Sampler, block_size},
};
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
    /// Images per second (median over steps and blocks), the seconds of each, and the highest resident memory.
    ///
    /// # Errors
    /// When the preset or a setting is not known or out of range.
    pub fn run(&self) -> anyhow::Result<Value> {
        let device = cedm_torch::start().device;
        let preset = settings(&self.preset, &self.set)?;
        let mut network = preset.network;
        network.label_dim = self.labels;
        let (channels, side) = (i64::from(network.channels), i64::from(network.resolution));
        let images = Tensor::randint(256, [256, channels, side, side], (Kind::Uint8, tch::Device::Cpu));
        let ids: Vec<i64> = (0..256).map(|index| index % i64::from(self.labels.max(1))).collect();
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
        let mut train_seconds = Vec::new();
        for _ in 0..self.steps {
            let begun = Instant::now();
            // Reading the loss waits for the device.
            training.step()?.loss.double_value(&[]);
            train_seconds.push(begun.elapsed().as_secs_f64());
        }
        let batch = training.recipe.optimiser.batch;
        let train_bytes = cedm_torch::peak_resident_bytes();

        let params = SamplerParams {
            steps: preset.sampler_steps,
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
        let mut sample_seconds = Vec::new();
        for index in 0..self.blocks {
            let begun = Instant::now();
            sampler.images(index * block, block, &mut |_| true)?;
            sample_seconds.push(begun.elapsed().as_secs_f64());
        }
        Ok(json!({
            "preset": self.preset,
            "device": cedm_torch::device_name(),
            "threads": tch::get_num_threads(),
            "network": training.recipe.network,
            "parameters": training.parameter_count(),
            "batch": batch,
            "micro_batch": training.recipe.optimiser.micro_batch,
            "train_images_per_second": f64::from(batch) / median(&train_seconds),
            "train_seconds": train_seconds,
            "train_peak_bytes": train_bytes,
            "sampler_steps": preset.sampler_steps,
            "sample_block": block,
            "sample_images_per_second": block as f64 / median(&sample_seconds),
            "sample_seconds": sample_seconds,
            "peak_bytes": cedm_torch::peak_resident_bytes(),
        }))
    }
}

/// The middle one; NaN of nothing.
fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
