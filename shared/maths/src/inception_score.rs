//! Inception Score and mean softmax score: of class probabilities alone (spec §10.5).

use crate::{Features, MathsError, Spread};
use tch::{Kind, Tensor};

/// How rows are dealt to the splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splits {
    /// ⌊sN/S⌋ to ⌊(s+1)N/S⌋: every row counts (torch-fidelity).
    Proportional,
    /// s⌊N/S⌋ to (s+1)⌊N/S⌋: the remainder is dropped (dgm-eval).
    DropRemainder,
}

/// exp(mean KL(p(y|x) ‖ p(y))) over `splits` splits, with the population standard deviation.
/// `logits` \[n, classes\]; the softmax is in their kind, everything behind it in float64.
/// `permutation` is applied first: row i of the shuffled set is `logits[permutation[i]]`.
///
/// # Errors
/// [`MathsError::TooFew`] for less rows than splits, [`MathsError::OutOfRange`] for a permutation
/// that is none.
pub fn inception_score(
    logits: &Features,
    splits: i64,
    rule: Splits,
    permutation: Option<&[i64]>,
) -> Result<Spread, MathsError> {
    if splits < 1 {
        let expected = "at least 1".to_owned();
        return Err(MathsError::OutOfRange {
            what: "number of splits".to_owned(),
            found: splits.to_string(),
            expected,
        });
    }
    logits.require(splits, "an Inception Score (one row per split)")?;
    let count = logits.count();
    let probabilities = probabilities(logits);
    let probabilities = match permutation {
        None => probabilities,
        Some(order) => {
            require_permutation(order, count)?;
            probabilities.index_select(
                0,
                &Tensor::from_slice(order).to_device(probabilities.device()),
            )
        }
    };
    let bounds = |split: i64| match rule {
        Splits::Proportional => split * count / splits,
        Splits::DropRemainder => split * (count / splits),
    };
    let scores: Vec<f64> = (0..splits)
        .map(|split| {
            let p = probabilities.narrow(0, bounds(split), bounds(split + 1) - bounds(split));
            let q = p
                .mean_dim([0i64].as_slice(), true, Kind::Double)
                .expand_as(&p);
            // x log y with 0 log 0 = 0, as the limit demands
            let divergence = (p.special_xlogy(&p) - p.special_xlogy(&q)).sum_dim_intlist(
                [1i64].as_slice(),
                false,
                Kind::Double,
            );
            divergence.mean(Kind::Double).double_value(&[]).exp()
        })
        .collect();
    Ok(Spread::of(&scores))
}

/// Mean and standard deviation over rows of the largest class probability.
pub fn mean_softmax_score(logits: &Features) -> Spread {
    let largest = logits
        .rows()
        .softmax(1, logits.kind())
        .to_kind(Kind::Double)
        .amax([1i64].as_slice(), false);
    let largest: Vec<f64> =
        Vec::try_from(largest.to_device(tch::Device::Cpu)).expect("invariant: a vector on the CPU");
    Spread::of(&largest)
}

/// Softmax in the logits' kind, rows brought to sum 1 in float64: float32 rows miss it by 1e-7,
/// which would tilt every divergence.
fn probabilities(logits: &Features) -> Tensor {
    let raw = logits
        .rows()
        .softmax(1, logits.kind())
        .to_kind(Kind::Double);
    let sums = raw.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
    raw / sums
}

fn require_permutation(order: &[i64], count: i64) -> Result<(), MathsError> {
    let mut seen = vec![false; count as usize];
    let fits = order.len() as i64 == count
        && order.iter().all(|&row| {
            (0..count).contains(&row) && !std::mem::replace(&mut seen[row as usize], true)
        });
    if fits {
        return Ok(());
    }
    let expected = format!("every row from 0 to {} once", count - 1);
    Err(MathsError::OutOfRange {
        what: "permutation".to_owned(),
        found: format!("{} entries", order.len()),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(values: &[f64], classes: i64) -> Features {
        Features::new("logits", &Tensor::from_slice(values).view([-1, classes])).unwrap()
    }

    #[test]
    fn certain_and_balanced_classes_score_their_number() {
        let certain = logits(&[900.0, 0.0, 0.0, 0.0, 900.0, 0.0, 0.0, 0.0, 900.0], 3);
        let score = inception_score(&certain, 1, Splits::Proportional, None).unwrap();
        assert!((score.mean - 3.0).abs() < 1e-12);
        assert_eq!(
            mean_softmax_score(&certain),
            Spread {
                mean: 1.0,
                std: 0.0
            }
        );
    }

    #[test]
    fn undecided_classes_score_one() {
        let flat = logits(&[0.0; 12], 3);
        assert_eq!(
            inception_score(&flat, 2, Splits::Proportional, None).unwrap(),
            Spread {
                mean: 1.0,
                std: 0.0
            }
        );
        assert!((mean_softmax_score(&flat).mean - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn too_few_rows_and_false_permutations_are_refused() {
        let flat = logits(&[0.0; 12], 3);
        assert!(matches!(
            inception_score(&flat, 5, Splits::Proportional, None),
            Err(MathsError::TooFew {
                found: 4,
                needed: 5,
                ..
            })
        ));
        for order in [&[0, 1, 2][..], &[0, 1, 2, 2], &[0, 1, 2, 4]] {
            assert!(matches!(
                inception_score(&flat, 1, Splits::Proportional, Some(order)),
                Err(MathsError::OutOfRange { .. })
            ));
        }
    }
}
