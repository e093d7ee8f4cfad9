//! A micro-batch that does not fit into memory is computed in parts, with the same numbers.

use super::{lock_generator, recipe, training};
use cedm_diffusion::Training;
use tch::Tensor;

/// Losses of three steps, and the weights after them, with at most so many images at once.
fn three_steps(micro_batch: u32, at_once: u32) -> (Vec<f64>, Tensor) {
    // Without a ramp, so that the layers that start near zero get away from it.
    let mut recipe = recipe(micro_batch, 0.3);
    recipe.optimiser.lr_rampup_kimg = 0.0;
    let mut run: Training = training(recipe).unwrap();
    run.limit_images_at_once(at_once);
    assert_eq!(run.images_at_once(), at_once);
    let losses = (0..3)
        .map(|_| run.step().unwrap().loss.double_value(&[]))
        .collect();
    (losses, run.learner.weights.flat.copy())
}

/// Dropout is on: its masks are those of the whole micro-batch. That they are not without care is
/// what `micro_batches_change_only_rounding_and_dropout_masks` shows.
#[test]
fn parts_of_a_micro_batch_change_only_rounding() {
    let _guard = lock_generator();
    for (micro_batch, parts) in [(8, [4, 2, 1].as_slice()), (4, &[2, 1])] {
        let (losses, _) = three_steps(micro_batch, micro_batch);
        for &at_once in parts {
            let (found, _) = three_steps(micro_batch, at_once);
            for (step, (whole, parts)) in losses.iter().zip(&found).enumerate() {
                assert!(
                    (whole / parts - 1.0).abs() < 1e-4,
                    "step {step}, {at_once} of {micro_batch} at once: {whole} and {parts}"
                );
            }
            assert_eq!(
                three_steps(micro_batch, at_once).1,
                three_steps(micro_batch, at_once).1,
                "the same cut gives the same bits"
            );
        }
    }
}
