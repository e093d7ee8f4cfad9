//! `trainer loss`: the denoising loss of finished weights, noise level by noise level, on images and noise that stay the same
//! from one network to the next. It tells networks apart long before their samples do, and shows how much the labels say.

use crate::{conditions::ConditionArgs, pictures::Pictures};
use anyhow::{Context, ensure};
use cedm_contract::params::SamplerParams;
use cedm_diffusion::{
    Condition, DataOrder, DiffusionError, Labels, Mode, Network, Views, guard_memory,
    loss::{Noise, loss_map, normalise},
    precondition::NoiseLevels,
    sampler::time_steps,
    weights,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// Measures the loss of weights (EDM's, weighted, mean over pixels) at each noise level that the sampler visits, and over the noise
/// levels of training. Networks measured with the same --images, --seed and data see the same images and the same noise.
#[derive(Debug, clap::Args)]
pub struct LossArgs {
    /// EMA weights, as `run` leaves them
    #[arg(long)]
    weights: PathBuf,
    /// Data set, as for `run`
    #[arg(long)]
    data: PathBuf,
    /// The condition that the network was trained with, one row for each image of --data.
    #[command(flatten)]
    condition: ConditionArgs,
    /// Images, drawn from the data set by the seed; all when it holds fewer
    #[arg(long, default_value_t = 1024)]
    images: u64,
    /// Images computed together
    #[arg(long, default_value_t = 64)]
    batch: i64,
    /// Noise levels: as many as the sampler takes steps
    #[arg(long, default_value_t = 18)]
    levels: u32,
    /// Mean of ln sigma over the noise levels of training
    #[arg(long, default_value_t = -1.2, allow_negative_numbers = true)]
    p_mean: f64,
    /// Standard deviation of ln sigma
    #[arg(long, default_value_t = 1.2)]
    p_std: f64,
    /// Seed of images and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A mean over images.
#[derive(Debug, Serialize)]
struct Mean {
    loss: f64,
    standard_error: f64,
    /// With the labels of another image of the set; absent without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_with_labels_of_others: Option<f64>,
}

/// The same at one noise level.
#[derive(Debug, Serialize)]
struct Level {
    sigma: f64,
    #[serde(flatten)]
    mean: Mean,
}

impl LossArgs {
    /// The losses.
    ///
    /// # Errors
    /// When a file cannot be read, the images are not the network's, or the condition is not the one it was trained with.
    pub fn run(&self) -> anyhow::Result<Value> {
        for (option, value) in [("--images", self.images), ("--levels", self.levels.into())] {
            ensure!(value > 0, "{option} is 0: expected at least 1");
        }
        ensure!(self.batch > 0, "--batch is {}: expected at least 1", self.batch);
        ensure!(self.p_mean.is_finite(), "--p-mean is {}: expected a finite number", self.p_mean);
        ensure!(
            self.p_std.is_finite() && self.p_std > 0.0,
            "--p-std is {}: expected a positive number",
            self.p_std
        );
        let device = cedm_torch::start().device;
        let (network, parameters) = weights::load(&self.weights)?;
        let pictures = Pictures::read(&self.data)?;
        let (available, channels, side) = pictures.shape();
        let architecture = &network.architecture;
        ensure!(
            (channels, side) == (architecture.channels, architecture.resolution),
            "{} holds {side}×{side} images of {channels} channels: the network of {} takes {2}×{2} of {3}",
            self.data.display(),
            self.weights.display(),
            architecture.resolution,
            architecture.channels
        );
        let condition = self.condition.read(&pictures)?;
        self.check(&condition, available, architecture.label_dim)?;

        let count = self.images.min(available as u64);
        let chosen = Tensor::from_slice(&DataOrder::new(self.seed, available as u64).at(0, count));
        let clean = normalise(&pictures.images.index_select(0, &chosen), Kind::Float).to_device(device);
        let class = condition.rows(&chosen, Kind::Float, Device::Cpu).map(|rows| rows.to_device(device));
        tch::manual_seed(self.seed as i64);
        let on_cpu = (Kind::Float, Device::Cpu);
        let levels = Tensor::randn([count as i64], on_cpu).to_device(device);
        let unit = Tensor::randn(clean.size(), on_cpu).to_device(device);
        let measured = Measured {
            views: parameters.to(Kind::Float, device).views(&network.layout, None),
            network,
            clean,
            class,
            unit,
            batch: self.batch,
        };
        let _no_gradient = tch::no_grad_guard();
        let steps = time_steps(&SamplerParams {
            steps: self.levels,
            ..SamplerParams::default()
        });
        let mut by_level = Vec::new();
        for &sigma in &steps[..steps.len() - 1] {
            // Deviation 0 puts every image at the same level.
            let at = NoiseLevels {
                p_mean: sigma.ln(),
                p_std: 0.0,
            };
            by_level.push(Level {
                sigma,
                mean: measured.mean(&levels, at)?,
            });
        }
        let training = NoiseLevels {
            p_mean: self.p_mean,
            p_std: self.p_std,
        };
        Ok(json!({
            "weights": self.weights,
            "images": count,
            "seed": self.seed,
            "training": {"p_mean": self.p_mean, "p_std": self.p_std, "mean": measured.mean(&levels, training)?},
            "levels": by_level,
            "device": cedm_torch::device_name(),
        }))
    }
}

impl LossArgs {
    /// Refuses a condition of other labels than the network knows.
    fn check(&self, condition: &Condition, images: i64, label_dim: i64) -> anyhow::Result<()> {
        condition
            .check(images, label_dim)
            .with_context(|| format!("{} with this condition", self.weights.display()))?;
        let trained = self.weights.with_file_name("condition.safetensors");
        if let (Condition::Ids { raw, .. }, true) = (condition, trained.exists()) {
            let known = weights::read(&trained)?.remove("raw_ids");
            let known = known.map(|ids| Vec::<i64>::try_from(&ids)).transpose()?;
            ensure!(
                known.as_ref().is_none_or(|known| known == raw),
                "the ids of these images are {raw:?}: the network of {} was trained with {:?}",
                self.weights.display(),
                known.unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// A network, and what it is measured on.
struct Measured {
    network: Network,
    views: Views,
    /// \[n, c, r, r\] in \[−1, 1\].
    clean: Tensor,
    /// \[n, L\].
    class: Option<Tensor>,
    /// Noise of deviation 1, \[n, c, r, r\].
    unit: Tensor,
    batch: i64,
}

impl Measured {
    /// Over all images, each at the noise level that its normal draw \[n\] stands for.
    fn mean(&self, rnd_normal: &Tensor, levels: NoiseLevels) -> Result<Mean, DiffusionError> {
        let losses = self.losses(self.class.as_ref(), rnd_normal, levels)?;
        let others = self.class.as_ref().map(|class| class.roll([1], [0]));
        let others = others.map(|class| self.losses(Some(&class), rnd_normal, levels)).transpose()?;
        let images = losses.numel() as f64;
        Ok(Mean {
            loss: losses.mean(Kind::Double).double_value(&[]),
            // Of one image there is no deviation: 0.
            standard_error: (losses.var(images > 1.0) / images).sqrt().double_value(&[]),
            loss_with_labels_of_others: others.map(|losses| losses.mean(Kind::Double).double_value(&[])),
        })
    }

    /// Mean over the pixels of each image, \[n\] f64.
    fn losses(&self, class: Option<&Tensor>, rnd_normal: &Tensor, levels: NoiseLevels) -> Result<Tensor, DiffusionError> {
        let n = self.clean.size()[0];
        let part = |from: i64| {
            let cut = |tensor: &Tensor| tensor.narrow(0, from, self.batch.min(n - from));
            let class = class.map(cut);
            let noise = Noise {
                rnd_normal: cut(rnd_normal),
                unit: cut(&self.unit),
            };
            let labels = Labels {
                class: class.as_ref(),
                augment: None,
            };
            let advice = "a smaller --batch".to_owned();
            guard_memory("measuring the loss", advice, || {
                let map = loss_map(&self.network, &self.views, &cut(&self.clean), &noise, levels, labels, Mode::EVAL);
                map.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Double)
            })
        };
        let starts = (0..n).step_by(self.batch as usize);
        Ok(Tensor::cat(&starts.map(part).collect::<Result<Vec<_>, _>>()?, 0))
    }
}
