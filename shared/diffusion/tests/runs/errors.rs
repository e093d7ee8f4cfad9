//! Errors name the setting, file or tensor, the value found and the value expected.

use super::{four_steps, lock_generator, random_network, recipe, training};
use cedm_contract::kinds::sample::SamplerParams;
use cedm_diffusion::{
    Condition, DiffusionError, Network, Parameters, Recipe, Training,
    sampler::{LabelDistribution, Sampler},
    weights,
};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

#[test]
fn setting_errors_name_the_field_the_value_and_the_range() {
    let _guard = lock_generator();
    let says = |result: Result<Training, DiffusionError>| result.expect_err("an error").to_string();
    let with = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(8, 0.0);
        change(&mut recipe);
        says(training(recipe))
    };
    assert_eq!(
        with(|r| r.network.channels = 3),
        "training images has shape Uint8 [20, 1, 8, 8], expected Uint8 [n, 3, 8, 8] with n of at \
         least 1, as the network has"
    );
    assert_eq!(
        with(|r| r.network.label_dim = 5),
        "condition: 3 label slots, expected label_dim 5, as the network has"
    );
    assert_eq!(
        with(|r| r.optimiser.micro_batch = 3),
        "`micro_batch` is 3 for a batch of 8, expected a divisor of the batch"
    );
    assert_eq!(
        with(|r| r.optimiser.batch = 0),
        "`batch` is 0, expected at least 1"
    );
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
    assert_eq!(
        with(|r| r.network.dropout = 1.0),
        "`dropout` is 1, expected at least 0 and below 1"
    );
    assert_eq!(
        with(|r| r.optimiser.lr = 0.0),
        "`lr` is 0, expected a positive number"
    );
    assert_eq!(
        with(|r| r.optimiser.p_mean = f64::NAN),
        "`p_mean` is NaN, expected a finite number"
    );
    assert_eq!(
        with(|r| r.augment.p = 1.5),
        "`augment.p` is 1.5, expected a probability"
    );

    let (network, own) = random_network(3);
    let sampling_error = |params: SamplerParams, labels| {
        Sampler::new(network.clone(), &own, params, labels, Device::Cpu)
            .expect_err("an error")
            .to_string()
    };
    assert_eq!(
        sampling_error(
            SamplerParams {
                sigma_min: 90.0,
                ..four_steps()
            },
            LabelDistribution::Uniform(3)
        ),
        "`sigma_min` is 90 with sigma_max 80, expected above 0 and below sigma_max"
    );
    assert_eq!(
        sampling_error(
            SamplerParams {
                s_min: 5.0,
                s_max: 1.0,
                ..four_steps()
            },
            LabelDistribution::Uniform(3)
        ),
        "`s_churn` is s_churn 0, s_min 5, s_max 1, expected s_churn of at least 0 and s_min up to s_max"
    );
    assert_eq!(
        sampling_error(
            SamplerParams {
                steps: 0,
                ..four_steps()
            },
            LabelDistribution::Uniform(3)
        ),
        "`steps` is 0, expected at least 1"
    );
    assert_eq!(
        sampling_error(four_steps(), LabelDistribution::Fixed(3)),
        "fixed label: label 3, expected 3 label slots, as the network has"
    );
    assert_eq!(
        sampling_error(four_steps(), LabelDistribution::Prior(vec![1, 2])),
        "prior: 2 label slots, expected 3 label slots, as the network has"
    );
}

#[test]
fn weights_of_another_network_are_rejected() {
    let _guard = lock_generator();
    let (network, own) = random_network(3);
    let (other, _) = random_network(5);
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
        Parameters::from_tensors(
            &network.layout,
            held,
            "a.safetensors",
            Kind::Float,
            Device::Cpu,
        )
        .unwrap_err()
        .to_string()
    };
    assert_eq!(
        says(&other, &held),
        "a.safetensors holds weights of another network: 1 of another shape: \
         model.map_label.weight is [16, 3] instead of [16, 5]"
    );
    held.remove("model.map_layer0.bias");
    held.insert(
        "model.head.weight".into(),
        Tensor::zeros([1], (Kind::Float, Device::Cpu)),
    );
    assert_eq!(
        says(&network, &held),
        "a.safetensors holds weights of another network: 1 missing: model.map_layer0.bias; 1 \
         unexpected: model.head.weight"
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
    let _guard = lock_generator();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    training(recipe(8, 0.0)).unwrap().save_state(&file).unwrap();
    let says = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(8, 0.0);
        change(&mut recipe);
        training(recipe)
            .unwrap()
            .load_state(&file)
            .unwrap_err()
            .to_string()
    };
    assert!(
        says(|r| r.seed = 1)
            .ends_with("is the state of another run: its seed is 42, this run's is 1")
    );
    assert!(
        says(|r| r.optimiser.lr = 1.0).contains("its optimiser.lr is 0.002, this run's is 1.0")
    );
    let wider = says(|r| r.network.channel_mult_noise = Some(4));
    assert!(
        wider.contains("its network.channel_mult_noise is null, this run's is 4"),
        "{wider}"
    );
    let mut wide = recipe(8, 0.0);
    wide.network.channel_mult_noise = Some(4);
    training(wide).unwrap().save_state(&file).unwrap();
    let narrower = says(|_| ());
    assert!(
        narrower.contains("its network.channel_mult_noise is 4, this run's is null"),
        "{narrower}"
    );
    cedm_torch::tensor_files::write(
        &file,
        &[("x", &Tensor::zeros([1], (Kind::Float, Device::Cpu)))],
        &[],
    )
    .unwrap();
    assert!(says(|_| ()).contains("metadata has no `cedm_run`"));
    std::fs::write(&file, b"no").unwrap();
    assert!(says(|_| ()).contains("not a valid safetensors file"));
}

#[test]
fn out_of_memory_advises_a_smaller_micro_batch() {
    let _guard = lock_generator();
    let error = cedm_diffusion::guard_memory("training step 0", "micro_batch = 4", || {
        drop(Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu)))
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "out of memory at training step 0: try micro_batch = 4"
    );
}

#[test]
fn a_state_resumes_only_with_its_own_data() {
    let _guard = lock_generator();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    training(recipe(8, 0.0)).unwrap().save_state(&file).unwrap();
    let (images, ids) = super::data();
    let expect_error = |images: &Tensor, ids: &[i64]| {
        let mut other = Training::new(
            recipe(8, 0.0),
            images,
            Condition::compact(ids).unwrap(),
            Device::Cpu,
        )
        .unwrap();
        let error = other.load_state(&file).unwrap_err().to_string();
        assert!(
            error.contains("is the state of another run: its images and condition is"),
            "{error}"
        );
    };
    expect_error(&(255i64 - &images).to_kind(Kind::Uint8), &ids);
    let mut renamed = ids.clone();
    renamed.rotate_left(1);
    expect_error(&images, &renamed);
}

#[test]
fn a_file_with_several_networks_yields_the_ema() {
    let _guard = lock_generator();
    let (network, own) = random_network(3);
    let named = |prefix: &str, parameters: &Parameters| -> HashMap<String, Tensor> {
        let names = network
            .layout
            .entries
            .iter()
            .map(|entry| format!("{prefix}{}", entry.name));
        names.zip(parameters.tensors(&network.layout)).collect()
    };
    let zeros = Parameters::zeros(&network.layout, Kind::Float, Device::Cpu);
    let read = |held: &HashMap<String, Tensor>| {
        Parameters::from_tensors(&network.layout, held, "a.pt", Kind::Float, Device::Cpu)
    };
    let same = |read: &Parameters| read.tensors(&network.layout) == own.tensors(&network.layout);
    let mut both = named("net.", &zeros);
    both.extend(named("ema.module.", &own));
    both.insert("optimizer.step".into(), Tensor::from_slice(&[3i64]));
    assert!(same(&read(&both).unwrap()));
    // Only the inner network, as `state_dict()` of SongUNet itself gives it.
    let inner = named("", &own)
        .into_iter()
        .map(|(name, tensor)| (name["model.".len()..].to_owned(), tensor));
    assert!(same(&read(&inner.collect()).unwrap()));
    let mut two = named("net.", &zeros);
    two.extend(named("teacher.", &own));
    assert_eq!(
        read(&two).unwrap_err().to_string(),
        "a.pt holds weights of another network: 2 networks, below `net.`, `teacher.`: expected \
         one, or one called `ema.`"
    );
}

#[test]
fn vectors_are_finite_and_of_unit_length() {
    let condition =
        Condition::vectors(&Tensor::from_slice(&[3f32, 4.0, 0.0, 0.0]).view([2, 2])).unwrap();
    let Condition::Vectors { rows } = &condition else {
        panic!("vectors")
    };
    assert!(
        (rows - Tensor::from_slice(&[0.6f32, 0.8, 0.0, 0.0]).view([2, 2]))
            .abs()
            .max()
            .double_value(&[])
            < 1e-6
    );
    assert!(condition.check(2, 2).is_ok());
    let error = Condition::vectors(&Tensor::from_slice(&[f32::NAN, 1.0]).view([1, 2])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "condition: vectors that are not finite, expected finite numbers"
    );
    assert!(Condition::vectors(&Tensor::from_slice(&[1f32])).is_err());
    // At unit length one number is its sign.
    let single = Tensor::from_slice(&[0.2f32, 0.7]).view([2, 1]);
    let error = Condition::vectors(&single).unwrap_err().to_string();
    assert!(error.contains("vectors of one number"), "{error}");
}

#[test]
fn a_guide_with_other_labels_is_rejected() {
    let _guard = lock_generator();
    let (network, own) = random_network(3);
    let (five, five_weights) = random_network(5);
    let guided = Sampler::new(
        network,
        &own,
        four_steps(),
        LabelDistribution::Uniform(3),
        Device::Cpu,
    )
    .unwrap()
    .guided_by(five, &five_weights);
    assert_eq!(
        guided.unwrap_err().to_string(),
        "guide has shape (1, 8, 8) with 5 labels, expected (1, 8, 8) with 3 labels or none"
    );
}
