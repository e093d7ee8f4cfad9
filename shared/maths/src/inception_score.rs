//! Inception Score and mean softmax score, which need the class probabilities of generated images
//! alone (Salimans et al. 2016; spec §10.5).

use crate::{Features, MathsError, MeanStd};
use tch::{Kind, Tensor};

/// How rows are divided into splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splits {
    /// Split s holds rows ⌊sN/S⌋ to ⌊(s+1)N/S⌋: every row counts (torch-fidelity).
    Proportional,
    /// Split s holds rows s⌊N/S⌋ to (s+1)⌊N/S⌋: the remainder is dropped (dgm-eval).
    DropRemainder,
}

/// Inception Score exp(mean KL(p(y|x) ‖ p(y))): mean and standard deviation over `splits` splits.
///
/// `logits` is \[n, classes\]; the softmax is computed in their type, everything after it in
/// float64. `permutation` is applied first: row i of the shuffled set is `logits[permutation[i]]`.
///
/// # Errors
/// [`MathsError::TooFew`] for fewer rows than splits, [`MathsError::OutOfRange`] for a
/// `permutation` that does not hold every row once.
pub fn inception_score(
    logits: &Features,
    splits: i64,
    rule: Splits,
    permutation: Option<&[i64]>,
) -> Result<MeanStd, MathsError> {
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
            // p(y) is the mean over the images of this split alone.
            let q = p
                .mean_dim([0i64].as_slice(), true, Kind::Double)
                .expand_as(&p);
            // `xlogy` has 0 log 0 = 0: classes of probability 0 add nothing, where ln p would give
            // NaN.
            let divergence = (p.special_xlogy(&p) - p.special_xlogy(&q)).sum_dim_intlist(
                [1i64].as_slice(),
                false,
                Kind::Double,
            );
            divergence.mean(Kind::Double).double_value(&[]).exp()
        })
        .collect();
    Ok(MeanStd::of(&scores))
}

/// Mean and standard deviation over rows of the largest class probability, for logits \[n,
/// classes\]; each row weighs the same (spec §10.5, "MSS").
pub fn mean_softmax_score(logits: &Features) -> MeanStd {
    let largest = logits
        .rows()
        .softmax(1, logits.kind())
        .to_kind(Kind::Double)
        .amax([1i64].as_slice(), false);
    let largest: Vec<f64> =
        Vec::try_from(largest.to_device(tch::Device::Cpu)).expect("invariant: a vector on the CPU");
    MeanStd::of(&largest)
}

/// Class probabilities f64 \[n, classes\]: softmax in the logits' type, then normalised in float64.
/// Rows of a float32 softmax miss the sum 1 by about 1e-7, which would bias every divergence.
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
    fn certain_and_balanced_predictions_score_the_number_of_classes() {
        let certain = logits(&[900.0, 0.0, 0.0, 0.0, 900.0, 0.0, 0.0, 0.0, 900.0], 3);
        let score = inception_score(&certain, 1, Splits::Proportional, None).unwrap();
        assert!((score.mean - 3.0).abs() < 1e-12);
        assert_eq!(
            mean_softmax_score(&certain),
            MeanStd {
                mean: 1.0,
                std: 0.0
            }
        );
    }

    #[test]
    fn uniform_predictions_score_one() {
        let flat = logits(&[0.0; 12], 3);
        assert_eq!(
            inception_score(&flat, 2, Splits::Proportional, None).unwrap(),
            MeanStd {
                mean: 1.0,
                std: 0.0
            }
        );
        assert!((mean_softmax_score(&flat).mean - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn too_few_rows_and_invalid_permutations_are_rejected() {
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
