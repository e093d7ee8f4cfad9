//! Interrupted and cut into rounds: what must not change, and what may.

use super::{alone, recipe, state_bytes, steps, training};
use cedm_contract::Precision;
use cedm_diffusion::Recipe;
use cedm_sweep::preset;
use tch::{Device, Kind, Tensor};

#[test]
fn killed_anywhere_and_resumed_ends_on_the_same_bytes() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut whole = training(recipe(4, 0.3)).unwrap();
    steps(&mut whole, 9);
    let expected = state_bytes(&whole, folder.path());
    for kills in (1..9).map(|step| vec![step]).chain([vec![2, 3, 7]]) {
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
            assert!(
                run.load_state(&file).unwrap().is_some(),
                "the checkpoint carries its curve"
            );
        }
        steps(&mut run, 9 - at);
        assert!(
            state_bytes(&run, folder.path()) == expected,
            "killed after {kills:?}"
        );
    }
    assert!(
        whole
            .learner
            .weights
            .flat
            .ne_tensor(&whole.learner.ema)
            .any()
            .int64_value(&[])
            == 1,
        "the EMA lags behind"
    );
}

#[test]
fn other_rounds_change_rounding_and_dropout_masks_only() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    // Without a ramp, so that the layers that start near zero are away from it when the rounds
    // change.
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
        (0..3)
            .map(|_| run.step().unwrap().loss.double_value(&[]))
            .collect()
    };
    let apart = |a: Vec<f64>, b: Vec<f64>| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a / b - 1.0).abs())
            .fold(0.0, f64::max)
    };
    assert_eq!(losses(8, 0.0), losses(8, 0.0));
    let (rounding, masks) = (
        apart(losses(8, 0.0), losses(2, 0.0)),
        apart(losses(8, 0.3), losses(2, 0.3)),
    );
    assert!(
        rounding < 1e-4,
        "without dropout only rounding differs: {rounding}"
    );
    assert!(
        masks > 10.0 * rounding,
        "dropout masks are drawn per round: {masks}"
    );
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
    assert!(
        mean(100..120) < 0.6 * mean(0..20),
        "from {} to {}",
        mean(0..20),
        mean(100..120)
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
            assert!(
                (half / full - 1.0).abs() < 0.05,
                "{precision:?}: loss {half} instead of {full}"
            );
        }
        assert!(run.learner.weights.flat.isfinite().all().int64_value(&[]) == 1);
    }
}
