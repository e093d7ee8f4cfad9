//! Whole trainings on small data: they learn, repeat, resume bit by bit, and refuse what cannot
//! work.

use cedm_clustering::{ClusteringError, neighbours::nearest, temi::Training};
use cedm_contract::kinds::cluster::TemiParams;
use cedm_maths::Features;
use tch::{Device, Kind, Tensor};

/// Six directions with noise, 40 rows each.
fn data() -> (Features, Tensor) {
    let noise = (Tensor::arange(240 * 12, (Kind::Float, Device::Cpu)) * 12.9898)
        .sin()
        .view([240, 12])
        * 0.3;
    let centres = (Tensor::arange(6 * 12, (Kind::Float, Device::Cpu)) * 1.3)
        .cos()
        .view([6, 12])
        * 2.0;
    let features = Features::new("features", &(noise + centres.repeat([40, 1]))).unwrap();
    let neighbours = nearest(&features, 10, 1 << 20, &mut |_, _| true)
        .unwrap()
        .unwrap();
    (features, neighbours.indices)
}

fn params() -> TemiParams {
    TemiParams {
        heads: 3,
        hidden: 32,
        bottleneck: 16,
        epochs: 20,
        batch: 48,
        base_lr: 0.02,
        min_lr: 0.002,
        warmup_epochs: 2,
        teacher_momentum: 0.9,
        teacher_momentum_end: 0.95,
        weight_decay_end: 1e-2,
        clip: 3.0,
        neighbours: 10,
        ..TemiParams::default()
    }
}

fn training(params: &TemiParams) -> Training {
    let (features, neighbours) = data();
    Training::new(params, 6, 5, &features, &neighbours).unwrap()
}

fn finish(mut training: Training) -> Training {
    while !training.finished() {
        training.advance().unwrap();
    }
    training
}

fn assert_same(a: &Training, b: &Training) {
    let (x, y) = (a.assign(), b.assign());
    assert!(x.ids.equal(&y.ids) && x.log_confidence.equal(&y.log_confidence));
    assert_eq!(a.history(), b.history());
    assert!(
        a.student()
            .tensors()
            .iter()
            .zip(b.student().tensors())
            .all(|(a, b)| a.equal(b)),
        "students differ"
    );
    assert!(a.marginal().equal(b.marginal()), "marginals differ");
}

#[test]
fn separate_directions_become_clusters() {
    let trained = finish(training(&params()));
    let ids = Vec::<i64>::try_from(&trained.assign().ids).unwrap();
    let pure = (0..240).filter(|&row| ids[row] == ids[row % 6]).count();
    let mut used = ids[..6].to_vec();
    used.sort_unstable();
    used.dedup();
    // Five clusters for six directions leave the 40 rows of one direction undecided; by chance 40
    // rows in all would agree.
    assert!(
        pure >= 200 && used.len() >= 5,
        "{pure} of 240 rows agree, {} clusters",
        used.len()
    );
    let history = trained.history();
    assert_eq!((history.len(), history[0].len()), (20, 3));
    let (head, loss) = trained.best_head().unwrap();
    assert!(history[19].iter().all(|&other| loss <= other) && history[19][head] == loss);
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one() {
    let whole = finish(training(&params()));
    let folder = tempfile::tempdir().unwrap();
    // in the first epoch, in mid-epoch, and right at the end of an epoch
    for stop in [2, 37, 50] {
        let mut first = training(&params());
        for _ in 0..stop {
            first.advance().unwrap();
        }
        let file = folder.path().join(format!("{stop}.safetensors"));
        first.save(&file).unwrap();
        drop(first);
        let mut second = training(&params());
        second.load(&file).unwrap();
        assert_eq!(second.steps_done(), stop);
        assert_same(&finish(second), &whole);
    }
}

#[test]
fn a_state_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    let mut first = training(&params());
    first.advance().unwrap();
    first.save(&file).unwrap();
    let mut other = training(&TemiParams {
        beta: 1.0,
        ..params()
    });
    let error = other.load(&file).unwrap_err().to_string();
    assert!(error.contains("state of another training"), "{error}");
    assert_eq!(other.steps_done(), 0);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = training(&params()).load(&file).unwrap_err();
    assert!(matches!(error, ClusteringError::Checkpoint(_)), "{error}");
}

#[test]
fn the_last_layer_is_frozen_at_first() {
    let mut trained = training(&TemiParams {
        warmup_epochs: 0,
        ..params()
    });
    let start = trained.student().map(Tensor::copy);
    for _ in 0..trained.steps_per_epoch() {
        trained.advance().unwrap();
    }
    assert!(
        trained.student().weight_v.equal(&start.weight_v)
            && trained.student().weight_g.equal(&start.weight_g)
    );
    assert!(!trained.student().weights[0].equal(&start.weights[0]));
    trained.advance().unwrap();
    assert!(!trained.student().weight_v.equal(&start.weight_v));
}

#[test]
fn float64_agrees_with_float32() {
    let (features, neighbours) = data();
    let double = Features::new("features", &features.rows().to_kind(Kind::Double)).unwrap();
    let short = TemiParams {
        epochs: 3,
        ..params()
    };
    let single = finish(Training::new(&short, 6, 5, &features, &neighbours).unwrap());
    let double = finish(Training::new(&short, 6, 5, &double, &neighbours).unwrap());
    let worst = single
        .history()
        .iter()
        .flatten()
        .zip(double.history().iter().flatten())
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn impossible_settings_are_refused() {
    let (features, neighbours) = data();
    let check = |params: TemiParams, clusters: u32, expect: &str| {
        let error = Training::new(&params, clusters, 0, &features, &neighbours)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(params(), 1, "clusters is 1, expected at least 2");
    check(
        params(),
        241,
        "clusters is 241, expected at most the number of images, 240",
    );
    check(
        TemiParams {
            batch: 512,
            ..params()
        },
        6,
        "batch is 512, expected at most the number of images, 240",
    );
    check(
        TemiParams {
            beta: 0.0,
            ..params()
        },
        6,
        "beta is 0, expected a number above 0",
    );
    check(
        TemiParams {
            teacher_momentum: 1.5,
            ..params()
        },
        6,
        "teacher_momentum is 1.5, expected a number from 0 to 1",
    );
    check(
        TemiParams {
            neighbours: 11,
            ..params()
        },
        6,
        "neighbours is Int [240, 10], expected integers [240, at least 11]",
    );
    check(
        TemiParams {
            warmup_epochs: 21,
            ..params()
        },
        6,
        "warmup_epochs is 21, expected at most epochs (20)",
    );
    let constant = Features::new(
        "features",
        &Tensor::cat(
            &[
                features.rows(),
                &Tensor::ones([240, 1], (Kind::Float, Device::Cpu)),
            ],
            1,
        ),
    )
    .unwrap();
    let error = Training::new(
        &TemiParams {
            standardise: true,
            ..params()
        },
        6,
        0,
        &constant,
        &neighbours,
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("feature 12 is the same in every row"),
        "{error}"
    );
}

#[test]
fn a_diverging_loss_is_an_error() {
    let (features, neighbours) = data();
    let wild = TemiParams {
        base_lr: 1e30,
        min_lr: 1e30,
        warmup_epochs: 0,
        clip: 0.0,
        ..params()
    };
    let mut training = Training::new(&wild, 6, 0, &features, &neighbours).unwrap();
    let error = (0..100)
        .find_map(|_| training.advance().err())
        .map(|error| error.to_string());
    assert!(
        error
            .as_deref()
            .is_some_and(|error| error.contains("lower base_lr")),
        "{error:?}"
    );
}
