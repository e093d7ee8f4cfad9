//! The pairs of an epoch: every image once in random order, each with a partner drawn anew among
//! its neighbours (spec §3).

use crate::random::{Purpose, stream};
use cedm_maths::draws::shuffle;
use rand::Rng;
use tch::{Device, Tensor};

/// The pairs of one epoch, step by step.
#[derive(Debug)]
pub struct EpochDraws {
    /// Row of each image: i64 \[steps, B\].
    pub anchors: Tensor,
    /// Position in the image's list of neighbours of its partner: i64 \[steps, B\], in 0..k.
    pub choices: Tensor,
}

/// The pairs of epoch `epoch`, a function of seed and epoch alone. Images that fill no whole batch
/// are left out, as with PyTorch's `drop_last`.
pub fn epoch_draws(
    seed: u64,
    epoch: u32,
    rows: i64,
    neighbours: i64,
    batch: i64,
    device: Device,
) -> EpochDraws {
    let mut rng = stream(seed, Purpose::Epoch, epoch.into());
    let steps = rows / batch;
    let mut anchors: Vec<i64> = (0..rows).collect();
    shuffle(&mut rng, &mut anchors);
    anchors.truncate((steps * batch) as usize);
    let choices: Vec<i64> = anchors
        .iter()
        .map(|_| rng.random_range(0..neighbours))
        .collect();
    let place = |values: &[i64]| {
        Tensor::from_slice(values)
            .view([steps, batch])
            .to_device(device)
    };
    EpochDraws {
        anchors: place(&anchors),
        choices: place(&choices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_a_function_of_seed_and_epoch() {
        let draws = |seed, epoch| epoch_draws(seed, epoch, 103, 5, 10, Device::Cpu);
        assert!(
            draws(1, 4).anchors.equal(&draws(1, 4).anchors)
                && draws(1, 4).choices.equal(&draws(1, 4).choices)
        );
        assert!(
            !draws(1, 4).anchors.equal(&draws(1, 5).anchors)
                && !draws(1, 4).anchors.equal(&draws(2, 4).anchors)
        );
    }

    #[test]
    fn an_epoch_has_no_image_twice_and_draws_all_neighbours() {
        let draws = epoch_draws(0, 0, 1003, 5, 10, Device::Cpu);
        assert_eq!(draws.anchors.size(), [100, 10]);
        let mut seen = Vec::<i64>::try_from(draws.anchors.view(-1)).unwrap();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
        let choices = Vec::<i64>::try_from(draws.choices.view(-1)).unwrap();
        let count = |c| choices.iter().filter(|&&choice| choice == c).count();
        assert!((0..5).all(|c| count(c) > 140) && choices.iter().all(|c| (0..5).contains(c)));
    }
}
