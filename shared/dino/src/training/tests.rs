//! Training learns something, a run that was interrupted ends with the same bits, and whatever
//! cannot be trained is refused with a reason.

use super::*;
use cedm_contract::{Precision, kinds::adapt::VitSize};
use cedm_images::Shard;

/// Two kinds of image: stripes along x or y, with a phase.
fn images() -> ImageSource {
    let pixel = |index: usize, x: usize, y: usize| {
        let along = if index.is_multiple_of(2) { x } else { y };
        if (along + index / 2) % 4 < 2 {
            220u8
        } else {
            30
        }
    };
    let mut images = ImageSource::default();
    for indices in [0..10usize, 10..24] {
        let shard = Shard {
            count: indices.len(),
            channels: 1,
            resolution: 8,
            images: indices
                .flat_map(|index| (0..64).map(move |at| pixel(index, at % 8, at / 8)))
                .collect(),
            ..Shard::default()
        };
        images.add(shard).unwrap();
    }
    images
}

fn params() -> DinoParams {
    DinoParams {
        vit: VitSize {
            image: 8,
            patch: 2,
            dim: 16,
            depth: 1,
            heads: 2,
        },
        epochs: 3,
        batch: 8,
        local_crops: 2,
        local_size: 4,
        flip: false,
        head: (32, 16, 24),
        learning_rate: 0.05,
        ..DinoParams::default()
    }
}

fn start(name: &str, params: &DinoParams, weights: Option<&Path>) -> Result<Training, DinoError> {
    let extractor = ExtractorSpec {
        name: name.to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    };
    Training::new(&extractor, params, weights, images(), Device::Cpu)
}

fn training() -> Training {
    start("vit", &params(), None).unwrap()
}

fn saved(training: &Training) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    training.save(&file).unwrap();
    std::fs::read(file).unwrap()
}

fn finish(training: &mut Training) {
    while !training.finished() {
        training.step().unwrap();
    }
}

#[test]
fn a_resumed_training_ends_with_the_same_bits() {
    tch::set_num_threads(1);
    let mut whole = training();
    finish(&mut whole);
    assert_eq!(whole.steps_done(), 9);
    let (mut first, mut second) = (training(), training());
    for _ in 0..4 {
        first.step().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    first.save(&file).unwrap();
    second.restore(&file).unwrap();
    finish(&mut second);
    assert_eq!(second.curve(), whole.curve());
    assert!(saved(&whole) == saved(&second));
}

#[test]
fn the_teacher_changes_and_does_not_collapse() {
    let mut training = training();
    let before = saved(&training);
    finish(&mut training);
    let (loss, spread) = (training.recent_loss(), training.spread());
    assert!(loss.is_finite() && loss <= (24f64).ln() + 0.5, "{loss}");
    assert!(spread > 1e-4, "{spread}");
    assert!(saved(&training) != before);
}

#[test]
fn parameters_outside_their_range_are_refused() {
    let check = |params: DinoParams, expect: &str| {
        let error = start("vit", &params, None).err().unwrap().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let with = |change: fn(&mut DinoParams)| {
        let mut params = params();
        change(&mut params);
        params
    };
    check(
        with(|params| params.batch = 25),
        "24 images are fewer than one batch of 25",
    );
    check(
        with(|params| params.local_size = 1),
        "local_size is 1, expected a multiple of the patch side 2",
    );
    check(
        with(|params| params.local_scale = (0.0, 0.5)),
        "crop scales",
    );
    check(with(|params| params.head = (8, 8, 1)), "head is 8, 8, 1");
    check(
        with(|params| params.vit.image = 9),
        "images of 9 pixels hold no whole number of patches of 2",
    );
}

#[test]
fn backbones_that_cannot_be_adapted_are_refused() {
    let check = |name: &str, weights: Option<&Path>, expect: &str| {
        let error = start(name, &params(), weights).err().unwrap().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("pca", None, "`pca` is not a vision transformer");
    check("dino_vitb16", None, "needs its weight file");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.safetensors");
    training().write_backbone(&file).unwrap();
    check("dino_vitb16", Some(&file), "missing");
}

#[test]
fn a_checkpoint_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    training().save(&file).unwrap();
    let wider = DinoParams {
        head: (32, 16, 48),
        ..params()
    };
    let mut other = start("vit", &wider, None).unwrap();
    let error = other.restore(&file).err().unwrap().to_string();
    assert!(error.contains("last_layer"), "{error}");
}

#[test]
fn a_backbone_that_was_adapted_can_be_adapted_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vit.safetensors");
    let first = training();
    first.write_backbone(&file).unwrap();
    let other_seed = DinoParams {
        seed: 5,
        ..params()
    };
    let again = start("vit", &other_seed, Some(&file)).unwrap();
    assert_eq!(
        again.config(),
        first.config(),
        "its size stands in the file, heads included"
    );
    let copy = folder.path().join("again.safetensors");
    again.write_backbone(&copy).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&copy).unwrap());
}
