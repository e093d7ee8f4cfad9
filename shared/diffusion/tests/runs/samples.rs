//! Samples by seed, guidance, and weights on disk.

use super::{four_steps, lock_generator, random_network, recipe, sampler};
use cedm_contract::kinds::{
    sample::{Guidance, SamplerParams},
    train::{Embedding, NetworkSpec},
};
use cedm_diffusion::{
    Architecture, ImagePath, Labels, Mode, Network, Parameters,
    sampler::{LabelDistribution, block_size},
    weights,
};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

#[test]
fn an_image_depends_on_its_seed_and_not_on_its_shard() {
    let _guard = lock_generator();
    tch::set_num_threads(1);
    let (network, weights) = random_network(3);
    let block = block_size(8, Device::Cpu);
    for churn in [0.0, 10.0] {
        let sampler = sampler(
            &network,
            &weights,
            SamplerParams {
                s_churn: churn,
                ..four_steps()
            },
            LabelDistribution::Prior(vec![1, 5, 2]),
        );
        let get = |first, count| {
            sampler
                .images(first, count, &mut |_| true)
                .unwrap()
                .unwrap()
        };
        let (first, count) = (3, 2 * block + 10);
        let whole = get(first, count);
        let cuts = [1, 6, block, block + 1, count - 1];
        for cut in cuts {
            let parts = [get(first, cut), get(first + cut, count - cut)];
            assert_eq!(
                Tensor::cat(&[&parts[0].images, &parts[1].images], 0),
                whole.images,
                "cut at {cut}"
            );
            assert_eq!(
                Tensor::cat(&[&parts[0].labels, &parts[1].labels], 0),
                whole.labels,
                "cut at {cut}"
            );
        }
        assert_eq!(
            whole.seeds,
            Tensor::arange_start(
                first as i64,
                (first + count) as i64,
                (Kind::Int64, Device::Cpu)
            )
        );
        assert!(whole.images.get(0) != whole.images.get(1));
        // Another block is another rounding, nothing else.
        let small = sampler
            .with_block_size(7)
            .unwrap()
            .images(first, count, &mut |_| true)
            .unwrap()
            .unwrap();
        let apart = (small.images.to_kind(Kind::Int) - whole.images.to_kind(Kind::Int))
            .abs()
            .max()
            .int64_value(&[]);
        assert!(apart <= 1 && small.labels == whole.labels, "{apart}");
    }
}

#[test]
fn guidance_is_off_by_default_and_acts_in_its_interval() {
    let _guard = lock_generator();
    let (network, weights) = random_network(3);
    let images = |guidance: Guidance| {
        let sampler = sampler(
            &network,
            &weights,
            SamplerParams {
                guidance,
                ..four_steps()
            },
            LabelDistribution::Fixed(1),
        );
        sampler.images(0, 4, &mut |_| true).unwrap().unwrap().images
    };
    let plain = images(Guidance::default());
    let within = |sigma_lo, sigma_hi| {
        images(Guidance {
            weight: 2.0,
            sigma_lo,
            sigma_hi,
        })
    };
    assert!(plain != within(0.0, 1e9));
    assert_eq!(plain, within(100.0, 200.0));
    assert!(within(0.0, 1.0) != within(0.0, 1e9));
    let (weaker, weaker_weights) = random_network(0);
    let auto = sampler(
        &network,
        &weights,
        SamplerParams {
            guidance: Guidance {
                weight: 2.0,
                ..Guidance::default()
            },
            ..four_steps()
        },
        LabelDistribution::Fixed(1),
    );
    let auto = auto.guided_by(weaker, &weaker_weights).unwrap();
    assert!(auto.images(0, 4, &mut |_| true).unwrap().unwrap().images != within(0.0, 1e9));
}

#[test]
fn equal_seeds_start_from_equal_noise_whatever_the_labels() {
    let _guard = lock_generator();
    let draw = |labels: &LabelDistribution| {
        cedm_diffusion::sampler::draw_start(77, [1, 8, 8], labels, Some(2))
    };
    let (none, prior) = (
        draw(&LabelDistribution::None),
        draw(&LabelDistribution::Prior(vec![1, 1, 8])),
    );
    assert_eq!(none.latents, prior.latents);
    assert_eq!(none.label, -1);
    let counts = (0..3000).fold([0; 3], |mut counts, seed| {
        counts[cedm_diffusion::sampler::draw_start(
            seed,
            [1, 8, 8],
            &LabelDistribution::Prior(vec![1, 1, 8]),
            None,
        )
        .label as usize] += 1;
        counts
    });
    assert!(
        counts[2] > 2250 && counts[2] < 2550 && counts[0] > 220,
        "{counts:?}"
    );
}

#[test]
fn written_weights_read_back_with_their_architecture() {
    let _guard = lock_generator();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ema.safetensors");
    let ncsnpp = NetworkSpec {
        embedding: Embedding::Ncsnpp,
        ..recipe(8, 0.0).network
    };
    let wide_embedding = NetworkSpec {
        channel_mult_noise: Some(3),
        ..ncsnpp.clone()
    };
    let published = [recipe(8, 0.0).network, ncsnpp, wide_embedding]
        .map(|spec| Architecture::try_from(&spec).unwrap());
    assert_eq!(
        published.each_ref().map(Architecture::noise_channels),
        [16, 32, 48]
    );
    // Upstream's constructor can mix the parts of the two published forms, and has a third way for
    // the image on each side.
    let mixed = Architecture {
        channel_mult_noise: 2,
        resample_filter: vec![1.0, 3.0, 3.0, 1.0],
        encoder: ImagePath::Skip,
        skip_decoder: true,
        attn_resolutions: vec![8],
        ..published[0].clone()
    };
    for architecture in published.into_iter().chain([mixed]) {
        let network = Network::new(architecture).unwrap();
        let own = Parameters::initial(
            &network.layout,
            &network.architecture.resample_filter,
            9,
            Device::Cpu,
        );
        weights::save(&path, &network, &own).unwrap();
        let tensors = cedm_torch::tensor_files::read(&path).unwrap();
        let recognised = weights::recognise(&tensors, "file").unwrap();
        assert_eq!(
            recognised,
            Architecture {
                label_dropout: 0.0,
                ..network.architecture.clone()
            }
        );
        let prefixed: HashMap<String, Tensor> = tensors
            .into_iter()
            .map(|(name, tensor)| (format!("module.{name}"), tensor))
            .collect();
        let read =
            Parameters::from_tensors(&network.layout, &prefixed, "file", Kind::Float, Device::Cpu)
                .unwrap();
        assert_eq!(read.flat, own.flat);
        assert_eq!(weights::noted_sigma_data(&path).unwrap(), Some(0.5));
        let (x, sigma) = (
            Tensor::ones([2, 1, 8, 8], (Kind::Float, Device::Cpu)),
            Tensor::from_slice(&[0.5f32, 2.0]),
        );
        let out = tch::no_grad(|| {
            network.denoise(
                &read.views(&network.layout, None),
                &x,
                &sigma,
                Labels::default(),
                Mode::EVAL,
            )
        });
        assert_eq!(
            (out.size(), out.isfinite().all().int64_value(&[])),
            (x.size(), 1)
        );
    }
}
