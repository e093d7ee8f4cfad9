//! Training runs: bit-exact resume, what the size of a micro-batch may change, every arithmetic,
//! samples that do not depend on their shard, clear errors.

use cedm_contract::{
    Precision,
    kinds::{
        sample::SamplerParams,
        train::{AugmentParams, NetworkSpec, OptimiserParams},
    },
};

use cedm_diffusion::{
    Architecture, Condition, DiffusionError, Network, Parameters, Recipe, Training,
    sampler::{LabelDistribution, Sampler},
};
use cedm_sweep::preset;
use std::path::Path;
use tch::{Device, Kind, Tensor};

#[path = "runs/errors.rs"]
mod errors;
#[path = "runs/memory.rs"]
mod memory;
#[path = "runs/overflow.rs"]
mod overflow;
#[path = "runs/precisions.rs"]
mod precisions;
#[path = "runs/resume.rs"]
mod resume;
#[path = "runs/samples.rs"]
mod samples;

/// Everything that draws is on: augmentation, dropout, label dropout.
fn recipe(micro_batch: u32, dropout: f64) -> Recipe {
    let tiny = preset("tiny8").unwrap();
    let network = NetworkSpec {
        channels: 1,
        label_dim: 3,
        augment_dim: 9,
        dropout,
        label_dropout: 0.2,
        ..tiny.network
    };
    let optimiser = OptimiserParams {
        batch: 8,
        micro_batch,
        ..tiny.optimiser
    };
    let augment = AugmentParams {
        p: 0.5,
        xflip: 1.0,
        yflip: 1.0,
        scale: 1.0,
        rotate_frac: 1.0,
        aniso: 1.0,
        translate_frac: 1.0,
    };
    Recipe {
        network,
        optimiser,
        augment,
        precision: Precision::Fp32,
        seed: 42,
    }
}

/// Twenty images, and a class for each.
fn data() -> (Tensor, Vec<i64>) {
    let images = Tensor::arange(20 * 64, (Kind::Int64, Device::Cpu))
        .g_mul_scalar(7i64)
        .remainder(251i64)
        .to_kind(Kind::Uint8)
        .view([20, 1, 8, 8]);
    (images, (0..20).map(|index| index % 3).collect())
}

fn training(recipe: Recipe) -> Result<Training, DiffusionError> {
    tch::set_num_threads(1);
    let (images, ids) = data();
    Training::new(recipe, &images, Condition::compact(&ids)?, Device::Cpu)
}

fn steps(training: &mut Training, count: u64) {
    for _ in 0..count {
        let loss = training.step().unwrap().loss.double_value(&[]);
        assert!(loss.is_finite());
        training.tick.0 += loss;
        training.tick.1 += 1;
    }
}

fn state_bytes(training: &Training, folder: &Path) -> Vec<u8> {
    let path = folder.join("final.safetensors");
    training.save_state(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// Runs tests one at a time: libtorch has one default generator for the process, and a service
/// draws from it on one compute thread.
fn lock_generator() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn sampler(
    network: &Network,
    weights: &Parameters,
    params: SamplerParams,
    labels: LabelDistribution,
) -> Sampler {
    Sampler::new(network.clone(), weights, params, labels, Device::Cpu).unwrap()
}

fn four_steps() -> SamplerParams {
    SamplerParams {
        steps: 4,
        ..SamplerParams::default()
    }
}

/// A network with noise on all its weights: near-zero last layers would hide the labels' effect.
fn random_network(label_dim: u32) -> (Network, Parameters) {
    let network = Network::new(
        Architecture::try_from(&NetworkSpec {
            label_dim,
            ..recipe(8, 0.0).network
        })
        .unwrap(),
    )
    .unwrap();
    let mut weights = Parameters::initial(
        &network.layout,
        &network.architecture.resample_filter,
        3,
        Device::Cpu,
    );
    tch::manual_seed(17);
    weights.flat += weights.flat.randn_like() * 0.05;
    (network, weights)
}
