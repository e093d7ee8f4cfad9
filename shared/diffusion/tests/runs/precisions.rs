//! Every preset trains, resumes and samples in every arithmetic.

use super::{four_steps, lock_generator};
use cedm_contract::{
    Precision,
    kinds::{
        sample::SamplerParams,
        train::{NetworkSpec, OptimiserParams},
    },
};
use cedm_diffusion::{
    Condition, Recipe, Training,
    sampler::{LabelDistribution, Sampler},
};
use cedm_sweep::{preset, preset_names};
use tch::{Device, Kind, Tensor};

/// Narrow enough for a test; everything else is the preset's own.
const CHANNELS: u32 = 16;

fn narrow(name: &str, precision: Precision) -> (Recipe, Tensor) {
    let preset = preset(name).unwrap();
    let recipe = Recipe {
        network: NetworkSpec {
            model_channels: preset.network.model_channels.min(CHANNELS),
            // Large images cost a test much time and take no other path.
            resolution: preset.network.resolution.min(32),
            num_blocks: 1,
            label_dim: 2,
            ..preset.network
        },
        optimiser: OptimiserParams {
            batch: 2,
            micro_batch: 1,
            ..preset.optimiser
        },
        augment: preset.augment,
        precision,
        seed: 5,
    };
    let side = i64::from(recipe.network.resolution);
    let size = [2, i64::from(recipe.network.channels), side, side];
    tch::manual_seed(1);
    let images = Tensor::randint(256, size, (Kind::Uint8, Device::Cpu));
    (recipe, images)
}

#[test]
fn every_preset_trains_resumes_and_samples_in_every_arithmetic() {
    let _guard = lock_generator();
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    for name in preset_names() {
        let mut full = f64::NAN;
        for precision in [
            Precision::Fp32,
            Precision::Tf32,
            Precision::Bf16,
            Precision::Fp16,
        ] {
            let what = format!("{name} in {precision:?}");
            let (recipe, images) = narrow(name, precision);
            let begin = || {
                let condition = Condition::compact(&[0, 1]).unwrap();
                Training::new(recipe.clone(), &images, condition, Device::Cpu).unwrap()
            };
            let mut run = begin();
            let loss = run.step().unwrap().loss.double_value(&[]);
            if precision == Precision::Fp32 {
                full = loss;
            }
            assert!(
                (loss / full - 1.0).abs() < 0.05,
                "{what}: {loss}, {full} in fp32"
            );
            run.save_state(&file).unwrap();
            let next = run.step().unwrap().loss.double_value(&[]);
            let mut resumed = begin();
            resumed.load_state(&file).unwrap();
            let again = resumed.step().unwrap().loss.double_value(&[]);
            assert_eq!(next, again, "{what}: resumed");

            let params = SamplerParams {
                steps: 2,
                precision,
                ..four_steps()
            };
            let sampler = Sampler::new(
                run.learner.network.clone(),
                &run.learner.weights,
                params,
                LabelDistribution::Uniform(2),
                Device::Cpu,
            )
            .unwrap();
            let drawn = sampler.images(0, 1, &mut |_| true).unwrap().unwrap();
            assert_eq!(drawn.images.size()[1..], images.size()[1..], "{what}");
        }
    }
}
