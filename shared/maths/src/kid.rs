//! Kernel distance: unbiased squared MMD under a cubic kernel (spec §10.5).

use crate::{Features, MathsError};
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// Unbiased MMD² of every pair of subsets: rows `subsets[s].0` of `a` against rows `subsets[s].1` of `b` (as many of each), kernel
/// (x·y/d + 1)³, computed in the features' kind.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width, [`MathsError::Shape`] for subsets of different or less than two rows.
pub fn kid(a: &Features, b: &Features, subsets: &[(Vec<i64>, Vec<i64>)]) -> Result<Vec<f64>, MathsError> {
    b.require_width_of(a)?;
    subsets
        .iter()
        .map(|(rows_a, rows_b)| {
            if rows_a.len() != rows_b.len() || rows_a.len() < 2 {
                let found = vec![rows_a.len() as i64, rows_b.len() as i64];
                return Err(MathsError::Shape {
                    what: "a pair of subsets".to_owned(),
                    found,
                    expected: "twice the same, at least 2".to_owned(),
                });
            }
            Ok(mmd2(a.select(rows_a)?.rows(), b.select(rows_b)?.rows()))
        })
        .collect()
}

fn mmd2(x: &Tensor, y: &Tensor) -> f64 {
    let (count, width) = (x.size()[0] as f64, x.size()[1] as f64);
    let kernel = |x: &Tensor, y: &Tensor| (x.matmul(&y.tr()) / width + 1.0).pow_tensor_scalar(3);
    let sum = |tensor: &Tensor| tensor.sum(tensor.kind()).double_value(&[]);
    let off_diagonal = |kernel: Tensor| sum(&kernel) - sum(&kernel.diag(0));
    let within = off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y));
    within / (count * (count - 1.0)) - 2.0 * sum(&kernel(x, y)) / (count * count)
}

/// `subsets` sets of `size` different row indices below `count`, from one ChaCha8 stream per subset.
///
/// # Errors
/// [`MathsError::OutOfRange`] when `size` exceeds `count`.
pub fn random_subsets(seed: u64, count: i64, size: i64, subsets: usize) -> Result<Vec<Vec<i64>>, MathsError> {
    if size < 1 || size > count {
        let expected = format!("1 to {count}");
        return Err(MathsError::OutOfRange {
            what: "size of a random subset".to_owned(),
            found: size.to_string(),
            expected,
        });
    }
    let draw = |stream: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream as u64);
        sample(&mut random, count as usize, size as usize)
            .into_iter()
            .map(|index| index as i64)
            .collect()
    };
    Ok((0..subsets).map(draw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn subsets_are_without_replacement_and_depend_on_their_own_stream_only() {
        let all = random_subsets(3, 50, 20, 4).unwrap();
        for subset in &all {
            assert_eq!(subset.iter().collect::<BTreeSet<_>>().len(), 20);
            assert!(subset.iter().all(|&row| (0..50).contains(&row)));
        }
        assert_ne!(all[0], all[1]);
        assert_eq!(random_subsets(3, 50, 20, 2).unwrap(), all[..2]);
        assert_ne!(random_subsets(4, 50, 20, 4).unwrap(), all);
        assert!(matches!(random_subsets(3, 5, 6, 1), Err(MathsError::OutOfRange { .. })));
    }
}
