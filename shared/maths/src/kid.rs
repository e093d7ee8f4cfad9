//! Kernel distance: unbiased squared MMD under a cubic kernel (spec §10.5).

use crate::{Features, MathsError};
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

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

/// Rows of a set against itself that are taken at a time: of a symmetric kernel the blocks below the diagonal need not be computed.
const STRIPE: i64 = 256;

fn mmd2(x: &Tensor, y: &Tensor) -> f64 {
    let count = x.size()[0] as f64;
    let within = off_diagonal(x) + off_diagonal(y);
    within / (count * (count - 1.0)) - 2.0 * sum(&kernel(x, y)) / (count * count)
}

fn sum(tensor: &Tensor) -> f64 {
    tensor.sum(Kind::Double).double_value(&[])
}

/// (x·y/d + 1)³ of every pair of rows.
fn kernel(x: &Tensor, y: &Tensor) -> Tensor {
    let mut base = x.matmul(&y.tr());
    base = base.g_mul_scalar_(1.0 / x.size()[1] as f64).g_add_scalar_(1.0);
    let square = base.square();
    base.g_mul_(&square)
}

/// Sum of the kernel over the ordered pairs of different rows of `x`.
fn off_diagonal(x: &Tensor) -> f64 {
    let count = x.size()[0];
    (0..count)
        .step_by(STRIPE as usize)
        .map(|first| {
            let (rows, end) = (STRIPE.min(count - first), count.min(first + STRIPE));
            let stripe = x.narrow(0, first, rows);
            let block = kernel(&stripe, &stripe);
            let right = if end < count {
                2.0 * sum(&kernel(&stripe, &x.narrow(0, end, count - end)))
            } else {
                0.0
            };
            sum(&block) - sum(&block.diag(0)) + right
        })
        .sum()
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
    fn stripes_add_up_to_the_formula() {
        let count = 2 * STRIPE + 37;
        let rows = |shift: f64| {
            ((Tensor::arange(count * 3, (Kind::Double, tch::Device::Cpu)) + shift) * 12.9898)
                .sin()
                .view([count, 3])
        };
        let (x, y, n) = (rows(0.0), rows(0.3), count as f64);
        let whole = |a: &Tensor, b: &Tensor| (a.matmul(&b.tr()) / 3.0 + 1.0).pow_tensor_scalar(3);
        let apart = |k: Tensor| (k.sum(Kind::Double) - k.trace()).double_value(&[]) / (n * (n - 1.0));
        let expected = apart(whole(&x, &x)) + apart(whole(&y, &y)) - 2.0 * whole(&x, &y).mean(Kind::Double).double_value(&[]);
        assert!((mmd2(&x, &y) - expected).abs() < 1e-13, "{} {expected}", mmd2(&x, &y));
    }

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
