//! Training runs: bit-exact resume, what a cut into rounds may change, samples that do not depend on their shard, clear errors.

use cedm_contract::{
    params::{AugmentParams, Embedding, Guidance, NetworkSpec, OptimiserParams, Precision, SamplerParams},
    sweep::preset,
};
use cedm_diffusion::{
    Architecture, Condition, DiffusionError, Network, Parameters, Recipe, Training,
    sampler::{LabelSupply, Sampler, block_size},
    weights,
};
use std::{collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

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

fn training(recipe: Recipe) -> Result<Training, DiffusionError> {
    tch::set_num_threads(1);
    let images = Tensor::arange(20 * 64, (Kind::Int64, Device::Cpu))
        .g_mul_scalar(7i64)
        .remainder(251i64)
        .to_kind(Kind::Uint8)
        .view([20, 1, 8, 8]);
    let ids: Vec<i64> = (0..20).map(|index| index % 3).collect();
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

/// libtorch's generator is one for the process, and a service has one compute thread: so have these tests.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn killed_anywhere_and_resumed_ends_on_the_same_bytes() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut whole = training(recipe(4, 0.3)).unwrap();
    steps(&mut whole, 9);
    let expected = state_bytes(&whole, folder.path());
    for kills in [vec![1], vec![4], vec![8], vec![2, 3, 7]] {
        let (mut at, mut run) = (0, training(recipe(4, 0.3)).unwrap());
        for kill in &kills {
            steps(&mut run, kill - at);
            at = *kill;
            let file = folder.path().join(format!("killed-{kill}.safetensors"));
            run.save_checkpoint(&file, &Tensor::zeros([1, 6], (Kind::Double, Device::Cpu)))
                .unwrap();
            // Whatever else draws in between must not matter.
            tch::manual_seed(999);
            run = training(recipe(4, 0.3)).unwrap();
            assert!(run.load_state(&file).unwrap().is_some(), "the checkpoint carries its curve");
        }
        steps(&mut run, 9 - at);
        assert!(state_bytes(&run, folder.path()) == expected, "killed after {kills:?}");
    }
    assert!(
        whole.weights.flat.ne_tensor(&whole.ema).any().int64_value(&[]) == 1,
        "the EMA lags behind"
    );
}

#[test]
fn other_rounds_change_rounding_and_dropout_masks_only() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    // Without a ramp, so that the layers that start near zero are away from it when the rounds change.
    let fast = |micro_batch, dropout| {
        let mut recipe = recipe(micro_batch, dropout);
        recipe.optimiser.lr_rampup_kimg = 0.0;
        training(recipe).unwrap()
    };
    let losses = |micro_batch: u32, dropout: f64| -> Vec<f64> {
        let mut first = fast(8, dropout);
        steps(&mut first, 3);
        first.save_state(&file).unwrap();
        let mut run = fast(micro_batch, dropout);
        run.load_state(&file).unwrap();
        (0..3).map(|_| run.step().unwrap().loss.double_value(&[])).collect()
    };
    let apart = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
    assert_eq!(losses(8, 0.0), losses(8, 0.0));
    let (rounding, masks) = (apart(losses(8, 0.0), losses(2, 0.0)), apart(losses(8, 0.3), losses(2, 0.3)));
    assert!(rounding < 1e-4, "without dropout only rounding differs: {rounding}");
    assert!(masks > 10.0 * rounding, "dropout masks are drawn per round: {masks}");
}

#[test]
fn the_loss_falls() {
    let _alone = alone();
    let mut run = training(Recipe {
        augment: preset("tiny8").unwrap().augment,
        ..recipe(8, 0.0)
    })
    .unwrap();
    let mut losses = Vec::new();
    for _ in 0..120 {
        losses.push(run.step().unwrap().loss.double_value(&[]));
    }
    let mean = |range: std::ops::Range<usize>| losses[range].iter().sum::<f64>() / 20.0;
    assert!(mean(100..120) < 0.6 * mean(0..20), "from {} to {}", mean(0..20), mean(100..120));
}

fn sampler(network: &Network, weights: &Parameters, params: SamplerParams, labels: LabelSupply) -> Sampler {
    Sampler::new(network.clone(), weights, params, labels, Device::Cpu).unwrap()
}

fn short() -> SamplerParams {
    SamplerParams {
        steps: 4,
        ..SamplerParams::default()
    }
}

/// A network whose last layers are not near zero, so that labels show.
fn lively(label_dim: u32) -> (Network, Parameters) {
    let network = Network::new(
        Architecture::try_from(&NetworkSpec {
            label_dim,
            ..recipe(8, 0.0).network
        })
        .unwrap(),
    )
    .unwrap();
    let mut weights = Parameters::initial(&network.layout, &network.architecture.resample_filter, 3, Device::Cpu);
    tch::manual_seed(17);
    weights.flat += weights.flat.randn_like() * 0.05;
    (network, weights)
}

#[test]
fn an_image_depends_on_its_seed_and_not_on_its_shard() {
    let _alone = alone();
    tch::set_num_threads(1);
    let (network, weights) = lively(3);
    let block = block_size(8, Device::Cpu);
    for churn in [0.0, 10.0] {
        let sampler = sampler(
            &network,
            &weights,
            SamplerParams { s_churn: churn, ..short() },
            LabelSupply::Prior(vec![1, 5, 2]),
        );
        let get = |first, count| sampler.images(first, count, &mut |_| true).unwrap().unwrap();
        let (first, count) = (3, 2 * block + 10);
        let whole = get(first, count);
        let cuts = [1, 6, block, block + 1, count - 1];
        for cut in cuts {
            let parts = [get(first, cut), get(first + cut, count - cut)];
            assert_eq!(Tensor::cat(&[&parts[0].images, &parts[1].images], 0), whole.images, "cut at {cut}");
            assert_eq!(Tensor::cat(&[&parts[0].labels, &parts[1].labels], 0), whole.labels, "cut at {cut}");
        }
        assert_eq!(
            whole.seeds,
            Tensor::arange_start(first as i64, (first + count) as i64, (Kind::Int64, Device::Cpu))
        );
        assert!(whole.images.get(0) != whole.images.get(1));
    }
}

#[test]
fn guidance_is_off_by_default_and_acts_in_its_interval() {
    let _alone = alone();
    let (network, weights) = lively(3);
    let images = |guidance: Guidance| {
        let sampler = sampler(&network, &weights, SamplerParams { guidance, ..short() }, LabelSupply::Fixed(1));
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
    let (weaker, weaker_weights) = lively(0);
    let auto = sampler(
        &network,
        &weights,
        SamplerParams {
            guidance: Guidance {
                weight: 2.0,
                ..Guidance::default()
            },
            ..short()
        },
        LabelSupply::Fixed(1),
    );
    let auto = auto.guided_by(weaker, &weaker_weights).unwrap();
    assert!(auto.images(0, 4, &mut |_| true).unwrap().unwrap().images != within(0.0, 1e9));
}

#[test]
fn equal_seeds_start_from_equal_noise_whatever_the_labels() {
    let _alone = alone();
    let draw = |labels: &LabelSupply| cedm_diffusion::sampler::draw(77, [1, 8, 8], labels, Some(2));
    let (none, prior) = (draw(&LabelSupply::None), draw(&LabelSupply::Prior(vec![1, 1, 8])));
    assert_eq!(none.latents, prior.latents);
    assert_eq!(none.label, -1);
    let counts = (0..3000).fold([0; 3], |mut counts, seed| {
        counts[cedm_diffusion::sampler::draw(seed, [1, 8, 8], &LabelSupply::Prior(vec![1, 1, 8]), None).label as usize] += 1;
        counts
    });
    assert!(counts[2] > 2250 && counts[2] < 2550 && counts[0] > 220, "{counts:?}");
}

#[test]
fn weights_survive_the_disk_and_say_what_they_are() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ema.safetensors");
    let ncsnpp = NetworkSpec {
        embedding: Embedding::Ncsnpp,
        ..recipe(8, 0.0).network
    };
    for spec in [recipe(8, 0.0).network, ncsnpp] {
        let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
        let own = Parameters::initial(&network.layout, &network.architecture.resample_filter, 9, Device::Cpu);
        weights::save(&path, &network.layout, &own).unwrap();
        let tensors = weights::read(&path).unwrap();
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
        let read = Parameters::from_tensors(&network.layout, &prefixed, "file", Kind::Float, Device::Cpu).unwrap();
        assert_eq!(read.flat, own.flat);
    }
}

#[test]
fn errors_say_what_and_what_was_expected() {
    let _alone = alone();
    let says = |result: Result<Training, DiffusionError>| result.expect_err("an error").to_string();
    let with = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(8, 0.0);
        change(&mut recipe);
        says(training(recipe))
    };
    assert_eq!(
        with(|r| r.network.channels = 3),
        "training images has shape Uint8 [20, 1, 8, 8], expected Uint8 [n, 3, 8, 8] with n of at least 1, as the network has"
    );
    assert_eq!(
        with(|r| r.network.label_dim = 5),
        "condition: 3 label slots, expected label_dim 5, as the network has"
    );
    assert_eq!(
        with(|r| r.optimiser.micro_batch = 3),
        "`micro_batch` is 3 for a batch of 8, expected a divisor of the batch"
    );
    assert_eq!(with(|r| r.optimiser.batch = 0), "`batch` is 0, expected at least 1");
    assert_eq!(
        with(|r| r.network.resolution = 9),
        "`resolution` is 9, expected a multiple of 2, because 2 levels halve it 1 times"
    );
    assert!(
        with(|r| r.network.model_channels = 34).contains("groups"),
        "{}",
        with(|r| r.network.model_channels = 34)
    );
    assert_eq!(
        with(|r| r.network.augment_dim = 4),
        "`augment_dim` is 4, expected 9 (all training transforms) or 9 (those that are on)"
    );
    assert_eq!(with(|r| r.network.dropout = 1.0), "`dropout` is 1, expected at least 0 and below 1");
    assert_eq!(with(|r| r.optimiser.lr = 0.0), "`lr` is 0, expected a positive number");

    let (network, own) = lively(3);
    let refuse = |params: SamplerParams, labels| {
        Sampler::new(network.clone(), &own, params, labels, Device::Cpu)
            .expect_err("an error")
            .to_string()
    };
    assert_eq!(
        refuse(
            SamplerParams {
                sigma_min: 90.0,
                ..short()
            },
            LabelSupply::Uniform(3)
        ),
        "`sigma_min` is 90 with sigma_max 80, expected above 0 and below sigma_max"
    );
    assert_eq!(
        refuse(SamplerParams { steps: 0, ..short() }, LabelSupply::Uniform(3)),
        "`steps` is 0, expected at least 1"
    );
    assert_eq!(
        refuse(short(), LabelSupply::Fixed(3)),
        "fixed label: label 3, expected 3 label slots, as the network has"
    );
    assert_eq!(
        refuse(short(), LabelSupply::Prior(vec![1, 2])),
        "prior: 2 label slots, expected 3 label slots, as the network has"
    );
}

#[test]
fn weights_of_another_network_are_told_apart() {
    let _alone = alone();
    let (network, own) = lively(3);
    let (other, _) = lively(5);
    let tensors = |network: &Network, own: &Parameters| -> HashMap<String, Tensor> {
        network
            .layout
            .entries
            .iter()
            .map(|entry| entry.name.clone())
            .zip(own.tensors(&network.layout))
            .collect()
    };
    let mut held = tensors(&network, &own);
    let says = |network: &Network, held: &HashMap<String, Tensor>| {
        Parameters::from_tensors(&network.layout, held, "a.safetensors", Kind::Float, Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        says(&other, &held),
        "a.safetensors holds weights of another network: 1 of another shape: model.map_label.weight is [16, 3] instead of [16, 5]"
    );
    held.remove("model.map_layer0.bias");
    held.insert("model.head.weight".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    assert_eq!(
        says(&network, &held),
        "a.safetensors holds weights of another network: 1 missing: model.map_layer0.bias; 1 unexpected: model.head.weight"
    );
    assert!(
        weights::recognise(&HashMap::new(), "b")
            .unwrap_err()
            .to_string()
            .contains("by which a SongUNet is known")
    );
}

#[test]
fn a_state_of_another_run_is_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    training(recipe(8, 0.0)).unwrap().save_state(&file).unwrap();
    let says = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(8, 0.0);
        change(&mut recipe);
        training(recipe).unwrap().load_state(&file).unwrap_err().to_string()
    };
    assert!(says(|r| r.seed = 1).ends_with("is the state of another run: its seed is 42, this run's is 1"));
    assert!(says(|r| r.optimiser.lr = 1.0).contains("its optimiser.lr is 0.002, this run's is 1.0"));
    weights::write(&file, &[("x", &Tensor::zeros([1], (Kind::Float, Device::Cpu)))], None).unwrap();
    assert!(says(|_| ()).contains("lacks the note"));
    std::fs::write(&file, b"no").unwrap();
    assert!(says(|_| ()).starts_with("cannot read"));
}

#[test]
fn memory_that_runs_out_names_a_smaller_batch() {
    let _alone = alone();
    let error = cedm_diffusion::guard_memory("training step 0", "micro_batch = 4", || {
        drop(Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu)))
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "out of memory at training step 0: try micro_batch = 4"
    );
}

#[test]
fn half_precision_trains() {
    let _alone = alone();
    for precision in [Precision::Bf16, Precision::Fp16] {
        let mut run = training(Recipe {
            precision,
            ..recipe(8, 0.0)
        })
        .unwrap();
        let mut single = training(recipe(8, 0.0)).unwrap();
        for _ in 0..3 {
            let (half, full) = (run.step().unwrap(), single.step().unwrap());
            let (half, full) = (half.loss.double_value(&[]), full.loss.double_value(&[]));
            assert!((half / full - 1.0).abs() < 0.05, "{precision:?}: loss {half} instead of {full}");
        }
        assert!(run.weights.flat.isfinite().all().int64_value(&[]) == 1);
    }
}
