//! One shard of a sample set (spec §9). An image depends on its seed and the weights, not on its
//! shard or batch.

use super::JobKind;
use crate::{OutputName, Precision, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// The sampler, and the seeds that it starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleParams {
    /// Settings of the sampler, the same for all shards of a set.
    pub sampler: SamplerParams,
    /// Seed of the first image.
    pub first_seed: u64,
    /// Number of images in the shard; their seeds are consecutive.
    pub count: u32,
}

impl JobKind for SampleParams {
    const SERVICE: Service = Service::Sampler;
    const VERSION: u32 = 2;
    type Inputs<T> = SampleInputs<T>;
    type Result = SampleResult;
}

inputs! {
    /// What a sampler reads.
    pub struct SampleInputs<T> {
        /// The network with its weights (Train).
        pub weights: T as "weights",
        /// The condition that it was trained with (Cluster), for p(c); absent for an unconditional
        /// network.
        pub condition: Option<T> as "condition",
    }
}

/// The images, with their labels and seeds.
pub const IMAGES: OutputName = OutputName::stable("images.safetensors");

/// Names and shapes of the tensors in [`IMAGES`], for n images of the shard.
pub mod images {
    use crate::TensorName;

    /// The pixels of every image, channel first.
    pub const IMAGES: TensorName = TensorName::new("images", "u8 [n, channels, side, side]");
    /// The label that each image was made for; −1 when unconditional.
    pub const LABELS: TensorName = TensorName::new("labels", "i64 [n]");
    /// The seed of each image.
    pub const SEEDS: TensorName = TensorName::new("seeds", "i64 [n]");
}

/// A shard of samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleResult {
    /// Number of images in the shard; their seeds are consecutive.
    pub count: u64,
    /// Seed of the first.
    pub first_seed: u64,
    /// Channels of every image: 1 for grey, 3 for RGB.
    pub channels: u32,
    /// Side of the square images in pixels.
    pub resolution: u32,
}

/// The sampler of EDM's algorithm 2 (spec §9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerParams {
    /// N: 18 for CIFAR, 40 for FFHQ.
    pub steps: u32,
    /// Order of the solver: second (Heun) by default.
    pub solver: Solver,
    /// Lowest noise level of the time grid that is not 0.
    pub sigma_min: f64,
    /// Highest noise level of the time grid, at which sampling starts.
    pub sigma_max: f64,
    /// Exponent of the time grid.
    pub rho: f64,
    /// Amount of noise added during sampling, EDM's S_churn; 0 for a deterministic sampler.
    pub s_churn: f64,
    /// Lowest t with churn.
    pub s_min: f64,
    /// Highest t with churn.
    pub s_max: f64,
    /// Inflation of churn noise.
    pub s_noise: f64,
    /// Classifier-free guidance; off by default.
    pub guidance: Guidance,
    /// Where the label of each image comes from.
    pub labels: LabelSource,
    /// Arithmetic of the network; the state is float64 always.
    pub precision: Precision,
}

impl Default for SamplerParams {
    fn default() -> Self {
        Self {
            steps: 18,
            solver: Solver::Heun,
            sigma_min: 0.002,
            sigma_max: 80.0,
            rho: 7.0,
            s_churn: 0.0,
            s_min: 0.0,
            s_max: 1e9,
            s_noise: 1.0,
            guidance: Guidance::default(),
            labels: LabelSource::Prior,
            precision: Precision::Fp32,
        }
    }
}

/// Order of the solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Heun's method, of second order: two evaluations of the network per step.
    #[default]
    Heun,
    /// Euler's method, of first order: one evaluation of the network per step.
    Euler,
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "labels", rename_all = "snake_case")]
pub enum LabelSource {
    /// The empirical p(c) of the condition.
    #[default]
    Prior,
    /// Every label equally often.
    Uniform,
    /// One label for all.
    Fixed {
        /// The label as the network numbers it: an id among the used clusters, from 0.
        label: u32,
    },
}

/// Classifier-free guidance, off when `weight` is 0: D = (1 + w) D(x|y) − w D'(x), within an
/// interval of sigma.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guidance {
    /// The weight w of the formula above.
    pub weight: f64,
    /// Lowest sigma at which it acts.
    pub sigma_lo: f64,
    /// Highest sigma at which it acts.
    pub sigma_hi: f64,
}

impl Default for Guidance {
    fn default() -> Self {
        Self {
            weight: 0.0,
            sigma_lo: 0.0,
            sigma_hi: 1e9,
        }
    }
}
