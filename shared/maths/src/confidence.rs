//! Maximum-softmax confidence of cluster assignments, computed where probabilities saturate (spec
//! §11).

use tch::{Kind, Tensor};

/// Cluster and confidence of each row of logits.
#[derive(Debug)]
pub struct Confidence {
    /// Index of the largest logit, the lowest one where several are equal; i64 \[n\].
    pub cluster: Tensor,
    /// Maximum of log softmax(logits / temperature), f64 \[n\]. At TEMI's temperature of 0.1 many
    /// probabilities are 1 even in float64; their logarithms still differ.
    pub log_confidence: Tensor,
}

/// Cluster and confidence of logits \[n, clusters\] at a temperature, computed in float64.
pub fn confidence(logits: &Tensor, temperature: f64) -> Confidence {
    let logits = logits.to_kind(Kind::Double);
    let largest = logits.amax([1].as_slice(), true);
    let columns = Tensor::arange(logits.size()[1], (Kind::Int64, logits.device()));
    // The lowest of several equal columns, on every device.
    let cluster = columns
        .expand_as(&logits)
        .where_scalarother(&logits.eq_tensor(&largest), i64::MAX)
        .amin([1].as_slice(), false);
    // ln p = −ln(1 + Σ exp of the other logits' distances to the largest): `log1p` of the sum
    // without the largest keeps terms below 1e-16 that 1 + Σ would round away.
    let others = ((&logits - &largest) / temperature)
        .exp()
        .masked_fill(&columns.eq_tensor(&cluster.unsqueeze(1)), 0.0);
    let log_confidence = -others
        .sum_dim_intlist([1].as_slice(), false, Kind::Double)
        .log1p();
    Confidence {
        cluster,
        log_confidence,
    }
}

impl Confidence {
    /// Maximum softmax probability, f64 \[n\].
    pub fn probability(&self) -> Tensor {
        self.log_confidence.exp()
    }
    /// Row indices by descending confidence, equal ones by ascending row.
    pub fn descending(&self) -> Vec<i64> {
        let values = Vec::<f64>::try_from(&self.log_confidence.to_device(tch::Device::Cpu))
            .expect("invariant: a vector of float64");
        let mut rows: Vec<i64> = (0..values.len() as i64).collect();
        rows.sort_by(|&a, &b| {
            values[b as usize]
                .total_cmp(&values[a as usize])
                .then(a.cmp(&b))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_take_the_lowest_index() {
        let found = confidence(
            &Tensor::from_slice2(&[[1f32, 3.0, 3.0], [2.0, 2.0, 2.0]]),
            0.1,
        );
        assert_eq!(Vec::<i64>::try_from(&found.cluster).unwrap(), [1, 0]);
        assert!((found.probability().double_value(&[1]) - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn rows_with_probability_one_are_ranked_by_log_confidence() {
        let found = confidence(
            &Tensor::from_slice2(&[[0f64, 60.0], [0.0, 80.0], [0.0, 70.0]]),
            1.0,
        );
        assert_eq!(found.descending(), [1, 2, 0]);
    }
}
