//! Fréchet distance extrapolated to infinitely many samples: its bias is linear in 1/N to first
//! order (Chong & Forsyth 2020; spec §10.5).

use crate::{Features, Gaussian, MathsError, MeanStd, Moments, frechet_to, random_subsets};
use tch::Tensor;

/// Number of subset sizes at which the distance is computed, as in dgm-eval.
pub const SIZES: usize = 15;

/// The extrapolated distance with the line it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct FdInfinity {
    /// Intercept of the line at 1/N = 0.
    pub distance: f64,
    /// Slope of the line: distance per 1/N.
    pub slope: f64,
    /// Standard deviation of the points around the line.
    pub residual: f64,
    /// (N, distance) of every subset, by ascending N.
    pub points: Vec<(i64, f64)>,
}

/// FD∞ of `generated` to a reference whose [`Gaussian::root`] is given: a line through the
/// distances of random subsets, drawn by `seed`, of 15 sizes evenly spaced from min(5000, max(N/10,
/// 2)) to N.
///
/// # Errors
/// [`MathsError::TooFew`] for fewer than 30 rows; otherwise as [`frechet_to`].
pub fn fd_infinity(
    root: &Tensor,
    reference: &Gaussian,
    generated: &Features,
    seed: u64,
) -> Result<FdInfinity, MathsError> {
    generated.require(2 * SIZES as i64, "a line through 15 sizes")?;
    let count = generated.count();
    // dgm-eval starts at 5,000 images; smaller sets start at a tenth, but with two rows, which a
    // covariance needs.
    let least = (count / 10).clamp(2, 5000);
    let mut points = Vec::with_capacity(SIZES);
    for index in 0..SIZES {
        let size = least + (count - least) * index as i64 / (SIZES as i64 - 1);
        let rows = if size == count {
            (0..count).collect()
        } else {
            // One stream per size: a subset does not depend on those before it.
            random_subsets(seed.wrapping_add(index as u64), count, size, 1)?.remove(0)
        };
        let gaussian = Moments::of(&generated.select(&rows)?).gaussian()?;
        points.push((size, frechet_to(root, reference, &gaussian)?.distance));
    }
    let (distance, slope) = line(&points);
    let deviations: Vec<f64> = points
        .iter()
        .map(|&(size, fd)| fd - distance - slope / size as f64)
        .collect();
    Ok(FdInfinity {
        distance,
        slope,
        residual: MeanStd::of(&deviations).std,
        points,
    })
}

/// Least-squares fit of distance = intercept + slope / N: (intercept, slope).
fn line(points: &[(i64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean_x = points
        .iter()
        .map(|&(size, _)| 1.0 / size as f64)
        .sum::<f64>()
        / count;
    let mean_y = points.iter().map(|&(_, fd)| fd).sum::<f64>() / count;
    let (mut xy, mut xx) = (0.0, 0.0);
    for &(size, fd) in points {
        let x = 1.0 / size as f64 - mean_x;
        xy += x * (fd - mean_y);
        xx += x * x;
    }
    let slope = xy / xx;
    (mean_y - slope * mean_x, slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn points_on_a_line_give_that_line() {
        let points: Vec<(i64, f64)> = [10, 20, 50, 400]
            .map(|n| (n, 3.0 + 7.0 / n as f64))
            .to_vec();
        let (intercept, slope) = line(&points);
        assert!((intercept - 3.0).abs() < 1e-12 && (slope - 7.0).abs() < 1e-10);
    }

    #[test]
    fn extrapolation_removes_most_of_the_bias() {
        // Two sets of one standard normal distribution: the distance is all bias.
        tch::manual_seed(1);
        let draw = |name: &str, n| {
            Features::new(name, &Tensor::randn([n, 8], (Kind::Double, Device::Cpu))).unwrap()
        };
        let (real, fake) = (draw("real", 20_000), draw("fake", 2_000));
        let reference = Moments::of(&real).gaussian().unwrap();
        let root = reference.root().unwrap();
        let found = fd_infinity(&root, &reference, &fake, 7).unwrap();
        let plain = found.points.last().unwrap().1;
        assert_eq!(found.points.len(), SIZES);
        assert!(
            found.distance.abs() < plain / 2.0,
            "{} against {plain}",
            found.distance
        );
        assert_eq!(found, fd_infinity(&root, &reference, &fake, 7).unwrap());
    }
}
