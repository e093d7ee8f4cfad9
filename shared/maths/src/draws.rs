//! Random numbers that several methods draw: normal values and orders, each a pure function of the
//! generator that it is given.

use rand::Rng;

/// `count` normal draws of mean 0 and standard deviation `std`, two from each pair of uniform ones
/// (Box and Muller 1958).
pub fn normals(rng: &mut impl Rng, count: usize, std: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 − u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    // An odd count leaves one value over.
    values.truncate(count);
    values
}

/// Puts `items` into random order, by the shuffle of Fisher and Yates.
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn normals_have_their_moments() {
        let values = normals(&mut ChaCha8Rng::seed_from_u64(5), 100_001, 0.02);
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
    fn a_shuffle_keeps_every_item_once() {
        let mut order: Vec<i64> = (0..1000).collect();
        shuffle(&mut ChaCha8Rng::seed_from_u64(5), &mut order);
        assert_ne!(order[..10], (0..10).collect::<Vec<i64>>()[..]);
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<i64>>());
    }
}
