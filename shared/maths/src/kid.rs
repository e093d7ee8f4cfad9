//! Kernel distance (KID): unbiased squared MMD under a cubic kernel (Bińkowski et al. 2018; spec
//! §10.5).

use crate::{Features, MathsError};
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Unbiased MMD² of every pair of subsets: rows `subsets[s].0` of `a` against as many rows
/// `subsets[s].1` of `b`, under the kernel (x·y/d + 1)³, computed in the features' type and summed
/// in float64.
///
/// Subsets overlap. If all of them together contain more pairs of rows than the two sets do, the
/// kernel of every pair of rows is computed once and weighted by the number of subsets that
/// contain it.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width, [`MathsError::Shape`] for a pair of subsets
/// of different size or of fewer than two rows, [`MathsError::OutOfRange`] for rows that a set does
/// not have.
pub fn kid(
    a: &Features,
    b: &Features,
    subsets: &[(Vec<i64>, Vec<i64>)],
) -> Result<Vec<f64>, MathsError> {
    b.require_width_of(a)?;
    for (rows_a, rows_b) in subsets {
        if rows_a.len() != rows_b.len() || rows_a.len() < 2 {
            return Err(MathsError::Shape {
                what: "a pair of subsets".to_owned(),
                found: vec![rows_a.len() as i64, rows_b.len() as i64],
                expected: "two equal sizes of at least 2".to_owned(),
            });
        }
        a.require_rows(rows_a)?;
        b.require_rows(rows_b)?;
    }
    let (rows, width) = ((a.count() + b.count()) as f64, a.rows().size()[1] as f64);
    let requested: f64 = subsets
        .iter()
        .map(|(rows, _)| (2 * rows.len()).pow(2) as f64)
        .sum();
    // Weighting a pair for s subsets costs as much as s more features in its scalar product.
    if rows * rows * (1.0 + subsets.len() as f64 / width) < requested {
        let all = |of: &Features, times: Vec<Tensor>| Weighted {
            rows: of.rows().shallow_clone(),
            weights: Tensor::stack(&times, 0),
        };
        let first = subsets
            .iter()
            .map(|(rows, _)| occurrences(rows, a))
            .collect();
        let second = subsets
            .iter()
            .map(|(_, rows)| occurrences(rows, b))
            .collect();
        return Ok(mmd2(&all(a, first), &all(b, second)));
    }
    let once = |rows: &[i64], of: &Features| -> Result<Weighted, MathsError> {
        let rows = of.select(rows)?.rows().shallow_clone();
        let weights = Tensor::ones([1, rows.size()[0]], (Kind::Double, rows.device()));
        Ok(Weighted { rows, weights })
    };
    let mut found = Vec::with_capacity(subsets.len());
    for (rows_a, rows_b) in subsets {
        found.extend(mmd2(&once(rows_a, a)?, &once(rows_b, b)?));
    }
    Ok(found)
}

/// How often each row of a set occurs in `rows`, f64 \[n\].
fn occurrences(rows: &[i64], of: &Features) -> Tensor {
    let device = of.rows().device();
    let places = Tensor::from_slice(rows).to_device(device);
    Tensor::zeros([of.count()], (Kind::Double, device)).index_add(
        0,
        &places,
        &Tensor::ones_like(&places).to_kind(Kind::Double),
    )
}

/// Rows \[n, d\] with how often each subset contains them, f64 \[subsets, n\].
struct Weighted {
    rows: Tensor,
    weights: Tensor,
}

impl Weighted {
    fn part(&self, first: i64, count: i64) -> Self {
        Self {
            rows: self.rows.narrow(0, first, count),
            weights: self.weights.narrow(1, first, count),
        }
    }
    fn count(&self) -> i64 {
        self.rows.size()[0]
    }
    /// Consecutive parts of at most [`STRIPE`] rows, each with the number of rows up to its end.
    fn stripes(&self) -> impl Iterator<Item = (Self, i64)> {
        let count = self.count();
        (0..count).step_by(STRIPE as usize).map(move |first| {
            let rows = STRIPE.min(count - first);
            (self.part(first, rows), first + rows)
        })
    }
}

/// Rows whose kernel with all others is computed at a time: memory stays bounded, and of a
/// symmetric kernel the blocks below the diagonal are skipped.
const STRIPE: i64 = 256;

/// MMD² of each pair of subsets: mean kernel within each side without the pairs of a row with
/// itself, minus twice the mean kernel across.
fn mmd2(x: &Weighted, y: &Weighted) -> Vec<f64> {
    let zero = || Tensor::zeros([x.weights.size()[0]], (Kind::Double, x.rows.device()));
    let across = x
        .stripes()
        .fold(zero(), |sum, (stripe, _)| sum + between(&stripe, y));
    let within = [x, y].map(|set| {
        set.stripes().fold(zero(), |sum, (stripe, end)| {
            let block = kernel(&stripe.rows, &stripe.rows);
            // A kernel within a set is symmetric: the block of the stripe with itself, without the
            // pairs of a row with itself, and twice the rows after it.
            let own = weighted_sum(&block, &stripe.weights, &stripe.weights)
                - stripe.weights.matmul(&block.diag(0));
            let right = between(&stripe, &set.part(end, set.count() - end));
            sum + own + right * 2.0
        })
    });
    let count = x
        .weights
        .sum_dim_intlist([1].as_slice(), false, Kind::Double);
    let pairs = &count * (&count - 1.0);
    let found = (&within[0] + &within[1]) / pairs - across * 2.0 / count.square();
    Vec::try_from(found.to_device(Device::Cpu)).expect("invariant: a vector of float64")
}

/// Kernel (x·y/d + 1)³ of every pair of rows of \[n, d\] and \[m, d\]: f64 \[n, m\], computed in
/// the rows' type.
fn kernel(x: &Tensor, y: &Tensor) -> Tensor {
    // In place, since the block is the largest tensor here.
    let mut base = x.matmul(&y.tr());
    let cube = base
        .g_mul_scalar_(1.0 / x.size()[1] as f64)
        .g_add_scalar_(1.0)
        .pow_tensor_scalar(3);
    cube.to_kind(Kind::Double)
}

/// Sum of the kernel over the pairs of rows of each subset, f64 \[subsets\].
fn between(x: &Weighted, y: &Weighted) -> Tensor {
    weighted_sum(&kernel(&x.rows, &y.rows), &x.weights, &y.weights)
}

/// Σ_ij left_si kernel_ij right_sj for each subset s.
fn weighted_sum(kernel: &Tensor, left: &Tensor, right: &Tensor) -> Tensor {
    (kernel.matmul(&right.tr()) * left.tr()).sum_dim_intlist([0].as_slice(), false, Kind::Double)
}

/// `subsets` random sets of `size` distinct row indices below `count`. Each subset has its own
/// ChaCha8 stream of the seed, so it does not depend on how many there are.
///
/// # Errors
/// [`MathsError::OutOfRange`] if `size` is 0 or exceeds `count`.
pub fn random_subsets(
    seed: u64,
    count: i64,
    size: i64,
    subsets: usize,
) -> Result<Vec<Vec<i64>>, MathsError> {
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

    fn set(name: &str, count: i64, shift: f64) -> Features {
        let angles = (Tensor::arange(count * 3, (Kind::Double, Device::Cpu)) + shift) * 12.9898;
        Features::new(name, &angles.sin().view([count, 3])).unwrap()
    }

    /// MMD² by its definition, pair by pair.
    fn by_definition(x: &Tensor, y: &Tensor) -> f64 {
        let n = x.size()[0] as f64;
        let whole = |a: &Tensor, b: &Tensor| (a.matmul(&b.tr()) / 3.0 + 1.0).pow_tensor_scalar(3);
        let apart =
            |k: Tensor| (k.sum(Kind::Double) - k.trace()).double_value(&[]) / (n * (n - 1.0));
        apart(whole(x, x)) + apart(whole(y, y))
            - 2.0 * whole(x, y).mean(Kind::Double).double_value(&[])
    }

    #[test]
    fn it_equals_the_definition_whether_pairs_are_shared_or_not() {
        let count = 2 * STRIPE + 37;
        let (a, b) = (set("a", count, 0.0), set("b", count + 20, 0.3));
        for (size, subsets) in [(400, 1), (400, 9), (3, 2)] {
            let mut first = random_subsets(1, a.count(), size, subsets).unwrap();
            first[0][1] = first[0][0]; // a row that occurs twice counts twice
            let pairs: Vec<_> = first
                .into_iter()
                .zip(random_subsets(2, b.count(), size, subsets).unwrap())
                .collect();
            for (found, (rows_a, rows_b)) in kid(&a, &b, &pairs).unwrap().iter().zip(&pairs) {
                let expected = by_definition(
                    a.select(rows_a).unwrap().rows(),
                    b.select(rows_b).unwrap().rows(),
                );
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{size} rows, {subsets} subsets: {found} {expected}"
                );
            }
        }
        let outside = [(vec![0, count], vec![0, 1])];
        assert!(matches!(
            kid(&a, &b, &outside),
            Err(MathsError::OutOfRange { .. })
        ));
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
        assert!(matches!(
            random_subsets(3, 5, 6, 1),
            Err(MathsError::OutOfRange { .. })
        ));
    }
}
