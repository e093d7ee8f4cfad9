//! Valid sweep files and what they resolve to.

#![forbid(unsafe_code)]

use cedm_contract::{
    ObjectRef, Precision, Priority,
    kinds::{adapt::VitSize, bound::FineGrid, cluster::TemiParams, sample::LabelSource},
};

use cedm_sweep::{CandidateRule, Clusters, Method, SweepSpec, preset, preset_names};
use std::collections::BTreeMap;

const GOOD: &str = include_str!("good_sweep.toml");

#[test]
fn defaults_of_a_valid_file_are_filled_in() {
    let spec = SweepSpec::parse(GOOD).unwrap();
    assert_eq!(spec.name.as_ref().unwrap().as_str(), "digits");
    assert_eq!(spec.priority, Priority::P0);
    assert_eq!(
        spec.clusterings
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>(),
        ["temi", "kmeans", "ground-truth", "none"]
    );
    let Method::Temi(temi) = &spec.clusterings[0].method else {
        panic!("temi")
    };
    assert_eq!(
        *temi,
        TemiParams {
            heads: 8,
            epochs: 60,
            batch: 256,
            ..TemiParams::default()
        }
    );
    assert_eq!(
        spec.clusterings[1].clusters,
        Clusters::List(vec![10, 40]),
        "lists are sorted"
    );
    assert_eq!(spec.clusterings[1].seed, 3);
    assert_eq!(
        (
            spec.neighbours.parts(600),
            spec.neighbours.parts(601),
            spec.neighbours.parts(1_900)
        ),
        (1, 3, 5)
    );
    let never = GOOD.replace("part_rows = 600", "part_rows = 0");
    assert_eq!(
        SweepSpec::parse(&never).unwrap().neighbours.parts(1 << 40),
        1
    );
    assert_eq!(
        spec.neighbours.parts(1 << 40),
        251,
        "more parts would not fit into a message"
    );
    assert_eq!(spec.bound.params.fine, FineGrid::Step { step: 5 });
    assert_eq!(spec.bound.candidate_rule, CandidateRule::Logarithmic);
    assert_eq!(
        (
            spec.bound.params.start,
            spec.bound.params.seeds,
            spec.bound.candidates
        ),
        (10, 1, 3)
    );
    // 20,000 images in batches of 128: every snapshot is the next whole batch.
    assert_eq!(
        spec.training.snapshots_nimg,
        [5_120, 10_112, 15_104, 20_096]
    );
    assert_eq!(
        (
            spec.training.optimiser.batch,
            spec.training.optimiser.micro_batch,
            spec.training.optimiser.lr
        ),
        (128, 32, 1e-3)
    );
    assert_eq!(
        spec.training.network.augment_dim, 0,
        "no augmentation, no augmentation labels"
    );
    assert_eq!(
        (
            spec.sampling.sets,
            spec.sampling.sampler.steps,
            spec.sampling.sampler.labels
        ),
        (3, 12, LabelSource::Uniform)
    );
    assert_eq!(spec.evaluations.len(), 1);
    assert_eq!(
        (
            spec.evaluations[0].name.as_str(),
            spec.evaluations[0].primary.as_str()
        ),
        ("pca", "fd")
    );
}

#[test]
fn sampling_defaults_to_that_of_the_paper() {
    let start = GOOD.find("[sampling]").unwrap();
    let end = GOOD.find("[evaluation]").unwrap();
    let spec = SweepSpec::parse(&format!("{}{}", &GOOD[..start], &GOOD[end..])).unwrap();
    assert_eq!((spec.sampling.sets, spec.sampling.images), (3, 50_000));
    assert_eq!(spec.sampling.sampler.labels, LabelSource::Prior);
}

#[test]
fn a_spec_round_trips_through_json() {
    let spec = SweepSpec::parse(GOOD).unwrap();
    let json = serde_json::to_vec(&spec).unwrap();
    assert_eq!(serde_json::from_slice::<SweepSpec>(&json).unwrap(), spec);
}

#[test]
fn files_are_listed_once_and_replaced_by_stored_objects() {
    let text = GOOD
        .replace(
            "extractor = { name = \"pca\", dim = 32 }",
            "extractor = { name = \"cifar_resnet56\", weights = \"w.th\", precision = \"bf16\" }",
        )
        .replace(
            "[extractor]\nname = \"pca\"\ndim = 32",
            "[extractor]\nname = \"dino_vitb16\"\nweights = \"w.th\"",
        )
        .replace(
            "method = \"kmeans\"\nclusters = [40, 10]",
            "method = \"imported\"\nclusters = 10\nfile = \"ids.npy\"",
        );
    let mut spec = SweepSpec::parse(&text).unwrap();
    assert_eq!(
        spec.files().into_iter().collect::<Vec<_>>(),
        ["ids.npy", "w.th"]
    );
    assert_eq!(spec.evaluations[0].extractor.precision, Precision::Bf16);
    assert_eq!(spec.extractor.spec(), None, "not stored yet");
    let stored: ObjectRef = serde_json::from_value(
        serde_json::json!({"object": "blob/x", "size": 3, "digest": "0".repeat(64)}),
    )
    .unwrap();
    spec.store_files(&BTreeMap::from([
        ("w.th".to_owned(), stored.clone()),
        ("ids.npy".to_owned(), stored.clone()),
    ]));
    assert_eq!(spec.extractor.spec().unwrap().weights, Some(stored.clone()));
    let Method::Imported { ids } = &spec.clusterings[1].method else {
        panic!("imported")
    };
    assert_eq!(ids.object.as_ref(), Some(&stored));
}

#[test]
fn several_evaluations_are_allowed() {
    let text = GOOD.replace(
        "[evaluation]\n",
        "[[evaluation]]\nextractor = \"pixels\"\nmetrics = [\"fd\"]\n\n[[evaluation]]\n",
    );
    let spec = SweepSpec::parse(&text).unwrap();
    assert_eq!(
        spec.evaluations
            .iter()
            .map(|e| e.name.as_str())
            .collect::<Vec<_>>(),
        ["pixels", "pca"]
    );
}

#[test]
fn listed_snapshots_end_with_the_budget() {
    let text = GOOD.replace("snapshots = 4", "snapshots_kimg = [1, 2.5]");
    assert_eq!(
        SweepSpec::parse(&text).unwrap().training.snapshots_nimg,
        [1_024, 2_560, 20_096]
    );
    let text = GOOD.replace("snapshots = 4\n", "");
    assert_eq!(
        SweepSpec::parse(&text).unwrap().training.snapshots_nimg,
        [20_096]
    );
}

#[test]
fn equal_networks_have_equal_descriptions() {
    let with = |multiplier: u32| {
        let network =
            format!("[training.network]\nchannel_mult_noise = {multiplier}\n[training.optimiser]");
        SweepSpec::parse(&GOOD.replace("[training.optimiser]", &network))
            .unwrap()
            .training
    };
    let plain = SweepSpec::parse(GOOD).unwrap().training;
    assert_eq!(with(1), plain);
    assert_eq!(with(4).network.channel_mult_noise, Some(4));
    let written = |training| serde_json::to_string(training).unwrap();
    assert!(
        !written(&plain).contains("channel_mult_noise")
            && written(&with(4)).contains("\"channel_mult_noise\":4")
    );
}

#[test]
fn every_preset_makes_a_valid_sweep() {
    for name in preset_names() {
        let text = GOOD
            .replace("digits8", name)
            .replace("[training.optimiser]\nbatch = 128\nlr = 1e-3\n", "");
        let spec = SweepSpec::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let preset = preset(name).unwrap();
        assert_eq!(spec.training.network, preset.network, "{name}");
        assert_eq!(spec.training.optimiser, preset.optimiser, "{name}");
    }
}

/// The presets of the paper have the values of the table in spec §7.5.
#[test]
fn presets_of_the_paper_match_its_table() {
    for (name, resolution, batch, lr, mult, dropout, p, steps) in [
        ("cifar10", 32, 1024, 1e-3, vec![2, 2, 2], 0.13, 0.12, 18),
        ("cifar100", 32, 1024, 1e-3, vec![2, 2, 2], 0.13, 0.12, 18),
        ("ffhq64", 64, 512, 2e-4, vec![1, 2, 2, 2], 0.05, 0.15, 40),
        ("afhq64", 64, 512, 2e-4, vec![1, 2, 2, 2], 0.25, 0.15, 40),
        ("ffhq128", 128, 512, 2e-4, vec![1, 2, 2, 2], 0.05, 0.15, 40),
    ] {
        let preset = preset(name).unwrap();
        let (network, optimiser) = (&preset.network, &preset.optimiser);
        assert_eq!(
            (
                network.resolution,
                network.model_channels,
                network.num_blocks
            ),
            (resolution, 128, 4),
            "{name}"
        );
        assert_eq!(
            (
                &network.channel_mult,
                network.dropout,
                &network.attn_resolutions
            ),
            (&mult, dropout, &vec![16]),
            "{name}"
        );
        assert_eq!(
            (optimiser.batch, optimiser.lr, optimiser.lr_rampup_kimg),
            (batch, lr, 10_000.0),
            "{name}"
        );
        assert_eq!(
            (optimiser.ema_halflife_kimg, optimiser.ema_rampup_ratio),
            (500.0, Some(0.05)),
            "{name}"
        );
        assert_eq!(
            (preset.augment.p, preset.augment.xflip, preset.sampler_steps),
            (p, 1e8, steps),
            "{name}"
        );
    }
}

#[test]
fn a_backbone_can_be_adapted() {
    let adapted = |section: &str| {
        SweepSpec::parse(&GOOD.replacen("name = \"pca\"\ndim = 32\n", section, 1))
            .unwrap()
            .extractor
    };
    let small = adapted(
        "name = \"vit\"\n[extractor.adapt]\nepochs = 3\nflip = \
         false\n[extractor.adapt.vit]\nimage = 16\npatch = 4\n",
    );
    let training = small.adapt.as_ref().unwrap();
    assert_eq!(
        (training.epochs, training.flip, training.batch),
        (3, false, 64)
    );
    let size = VitSize {
        image: 16,
        patch: 4,
        ..VitSize::default()
    };
    assert_eq!(training.vit, size);
    assert_eq!(
        small.spec().unwrap().weights,
        None,
        "a network trained from scratch needs no file"
    );
    let published = adapted(
        "name = \"dino_vitb16\"\nweights = \"dino.pth\"\nadapt = { learning_rate = 1e-5 }\n",
    );
    let training = published.adapt.unwrap();
    assert_eq!((training.learning_rate, training.local_size), (1e-5, 96));
    let published = adapted("name = \"dinov2_vitl14\"\nweights = \"v2.pth\"\nadapt = {}\n");
    let training = published.adapt.unwrap();
    assert_eq!((training.learning_rate, training.local_size), (5e-5, 98));
    assert_eq!(adapted("name = \"pca\"\n").adapt, None);
}
