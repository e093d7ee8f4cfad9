//! Random streams derived from (seed, purpose, index). No generator is kept from one use to the
//! next, so a saved state holds no generator state.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream is used for; part of its key, so that purposes never share draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Initial weights of one head.
    HeadWeights = 1,
    /// Order of the images in one epoch, and the partner of each.
    Epoch = 2,
    /// k-means++ of one start of k-means.
    Seeding = 3,
    /// Rows of one mini-batch of k-means.
    MiniBatch = 4,
}

/// The stream of this seed, purpose and index. All three are parts of the 32-byte key, so streams
/// differ by construction; the last eight bytes separate them from other users of the same seed.
pub(crate) fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(b"cedm/clu");
    ChaCha8Rng::from_seed(key)
}

/// `count` normal draws of mean 0 and standard deviation `std`, by the method of Box and Muller.
pub(crate) fn normals(rng: &mut ChaCha8Rng, count: usize, std: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 − u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(count);
    values
}

/// The numbers 0..count in random order, by the shuffle of Fisher and Yates.
pub(crate) fn permutation(rng: &mut ChaCha8Rng, count: i64) -> Vec<i64> {
    let mut order: Vec<i64> = (0..count).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part_of_their_key() {
        let first = |seed, purpose, index| stream(seed, purpose, index).random::<u64>();
        let base = first(1, Purpose::Epoch, 0);
        assert_eq!(base, first(1, Purpose::Epoch, 0));
        for other in [
            first(2, Purpose::Epoch, 0),
            first(1, Purpose::Seeding, 0),
            first(1, Purpose::Epoch, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normals_have_their_moments() {
        let values = normals(&mut stream(5, Purpose::HeadWeights, 0), 100_001, 0.02);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let variance = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / values.len() as f64;
        assert!(
            mean.abs() < 5e-4 && (variance.sqrt() - 0.02).abs() < 3e-4,
            "{mean} {variance}"
        );
    }

    #[test]
    fn permutations_hold_every_row_once() {
        let mut order = permutation(&mut stream(5, Purpose::Epoch, 3), 1000);
        assert_ne!(order[..10], (0..10).collect::<Vec<i64>>()[..]);
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<i64>>());
    }
}
