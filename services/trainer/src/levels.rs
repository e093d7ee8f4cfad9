//! `cedm-trainer loss`: the denoising loss of finished weights, noise level by noise level, on the
//! same images and noise for every network. It separates networks long before their samples do, and
//! shows how much the labels help.

mod evaluation_set;
mod measured_network;

use crate::{conditions::ConditionArgs, pictures::Pictures};
use anyhow::{Context, ensure};
use cedm_contract::kinds::sample::SamplerParams;
use cedm_diffusion::{precondition::NoiseLevels, sampler::time_steps, weights::TRAINING_FILE};
use cedm_runtime::InputPath;
use evaluation_set::{EvaluationSet, PairedDifference, mean};
use measured_network::MeasuredNetwork;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// Measure the loss of weights (EDM's weighted loss, mean over pixels) at each noise level that the
/// sampler visits, and over the noise levels of training.
///
/// A network with labels is also evaluated with the labels of other images: `other_labels` is by
/// how much the loss rises. With --against, `against` is the loss of the first network minus that
/// of the second. Both are means of differences image by image, whose standard errors are much
/// smaller than those of the losses themselves.
#[derive(Debug, clap::Args)]
pub struct LossArgs {
    /// EMA weights written by `run`. From training.json and condition.safetensors beside them come
    /// the noise levels of training and the ids of the labels
    #[arg(long)]
    weights: PathBuf,
    /// Weights to compare with, on the same images and noise
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Data set, in the formats of `run`
    #[arg(long)]
    data: InputPath,
    #[command(flatten)]
    condition: ConditionArgs,
    /// Number of images, drawn from the data set by the seed; all if it holds fewer
    #[arg(long, default_value_t = 1024)]
    images: u64,
    /// Number of images computed together
    #[arg(long, default_value_t = 64)]
    batch: i64,
    /// Number of noise levels, those that the sampler visits with as many steps
    #[arg(long, default_value_t = 18)]
    levels: u32,
    /// Mean of ln sigma over the noise levels of training. Default: that of --weights if known,
    /// else EDM's −1.2
    #[arg(long, allow_negative_numbers = true)]
    p_mean: Option<f64>,
    /// Standard deviation of ln sigma over the noise levels of training. Default: that of --weights
    /// if known, else EDM's 1.2
    #[arg(long)]
    p_std: Option<f64>,
    /// Seed of the choice of images and of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Mean losses over the images.
#[derive(Debug, Serialize)]
struct Losses {
    /// Mean loss of the first network.
    loss: f64,
    /// Standard error of that mean.
    standard_error: f64,
    /// Loss with the labels of other images minus that with the images' own; absent without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_labels: Option<PairedDifference>,
    /// Loss minus that of the second network; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<PairedDifference>,
}

/// Mean losses at one noise level.
#[derive(Debug, Serialize)]
struct Level {
    sigma: f64,
    #[serde(flatten)]
    losses: Losses,
}

impl LossArgs {
    /// Measures the losses and returns them as JSON.
    ///
    /// # Errors
    /// If a file cannot be read, the images or the condition do not fit a network, an option is out
    /// of range, or a loss is not finite.
    pub fn run(&self) -> anyhow::Result<Value> {
        for (option, value) in [("--images", self.images), ("--levels", self.levels.into())] {
            ensure!(value > 0, "{option} is 0: expected at least 1");
        }
        ensure!(
            self.batch > 0,
            "--batch is {}: expected at least 1",
            self.batch
        );
        let trained = trained_levels(&self.weights)?;
        let (p_mean, p_std) = (
            self.p_mean.unwrap_or(trained.p_mean),
            self.p_std.unwrap_or(trained.p_std),
        );
        ensure!(
            p_mean.is_finite(),
            "--p-mean is {p_mean}: expected a finite number"
        );
        ensure!(
            p_std.is_finite() && p_std > 0.0,
            "--p-std is {p_std}: expected a positive number"
        );

        let compute = cedm_torch::start()?;
        let device = compute.device;
        let pictures = self.data.read(Pictures::read)?;
        let condition = self.condition.read(&pictures)?;
        let (set, chosen) =
            EvaluationSet::new(&pictures, self.images, self.batch, self.seed, device)
                .with_context(|| self.data.to_string())?;
        let load = |weights: &Path| {
            let network = MeasuredNetwork::new(weights, &pictures, &condition, &chosen, device);
            network.with_context(|| match self.condition.file() {
                Some(file) => format!("{} with {file}", weights.display()),
                None => weights.display().to_string(),
            })
        };
        let own = load(&self.weights)?;
        let other = self.against.as_deref().map(load).transpose()?;
        ensure!(
            condition.label_dim() == 0
                || own.takes_labels()
                || other.as_ref().is_some_and(MeasuredNetwork::takes_labels),
            "a condition was given, but the network of {} has no labels",
            self.weights.display()
        );
        if let Some(other) = &other {
            ensure!(
                own.sigma_data() == other.sigma_data(),
                "the networks weight the noise levels differently: sigma_data is {} and {}",
                own.sigma_data(),
                other.sigma_data()
            );
        }

        let _no_gradient = tch::no_grad_guard();
        let losses_at = |levels: NoiseLevels, place: &str| -> anyhow::Result<Losses> {
            let losses = |measured: &MeasuredNetwork, class: Option<&Tensor>| {
                set.losses(measured, class, levels, place)
            };
            let own_losses = losses(&own, own.class())?;
            let with_others = own
                .other_labels()
                .map(|class| losses(&own, Some(class)))
                .transpose()?;
            let of_other = other
                .as_ref()
                .map(|other| losses(other, other.class()))
                .transpose()?;
            let (loss, standard_error) = mean(&own_losses);
            Ok(Losses {
                loss,
                standard_error,
                other_labels: with_others.map(|losses| PairedDifference::of(&losses, &own_losses)),
                against: of_other.map(|losses| PairedDifference::of(&own_losses, &losses)),
            })
        };
        let steps = time_steps(&SamplerParams {
            steps: self.levels,
            ..SamplerParams::default()
        });
        let mut by_level = Vec::new();
        for &sigma in &steps[..steps.len() - 1] {
            // A standard deviation of 0 gives every image the same noise level.
            let levels = NoiseLevels {
                p_mean: sigma.ln(),
                p_std: 0.0,
            };
            by_level.push(Level {
                sigma,
                losses: losses_at(levels, &format!("noise level {sigma}"))?,
            });
        }
        let training = losses_at(
            NoiseLevels { p_mean, p_std },
            "the noise levels of training",
        )?;
        Ok(json!({
            "weights": self.weights,
            "against": self.against,
            "data": self.data,
            "images": set.count(),
            "seed": self.seed,
            "training": {"p_mean": p_mean, "p_std": p_std, "losses": training},
            "levels": by_level,
            "device": compute.device_name(),
        }))
    }
}

/// Longest training.json in bytes: its settings, and losses of some hundred snapshots.
const RECORD_LIMIT: u64 = 64 << 20;

/// The noise levels of training that `cedm-trainer run` noted in training.json beside the weights,
/// else EDM's (EDM table 1).
fn trained_levels(weights: &Path) -> anyhow::Result<NoiseLevels> {
    let file = weights.with_file_name(TRAINING_FILE);
    let record: Value = if file.exists() {
        let text = cedm_runtime::read_regular(&file, RECORD_LIMIT)
            .with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))?
    } else {
        Value::Null
    };
    let number = |name: &str, edm: f64| record["optimiser"][name].as_f64().unwrap_or(edm);
    Ok(NoiseLevels {
        p_mean: number("p_mean", -1.2),
        p_std: number("p_std", 1.2),
    })
}
