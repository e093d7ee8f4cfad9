//! How evenly a clustering uses its C clusters: compact ids, prior p(c), utilisation, entropy (spec
//! §4.6, §6.1).

use crate::{PartitionError, agreement::entropy};

/// Usage of the clusters of one clustering.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// C, the number of clusters that images could be assigned to.
    pub slots: u32,
    /// Distinct ids in ascending order; the rank of an id is its compact id.
    pub used_ids: Vec<i64>,
    /// Number of images of each used id.
    pub counts: Vec<u64>,
    /// p(c) of each used id: its share of the images.
    pub prior: Vec<f64>,
}

/// Compact ids (rank among the distinct ids) and the usage of `slots` clusters. Raw ids may have
/// gaps and exceed `slots`.
///
/// # Errors
/// When there are no ids, one is negative, or more than `slots` distinct ones occur.
pub fn compact(raw_ids: &[i64], slots: u32) -> Result<(Vec<i64>, Usage), PartitionError> {
    if raw_ids.is_empty() {
        let (what, found, expected) = (
            "number of cluster ids".to_owned(),
            "0".to_owned(),
            "at least one".to_owned(),
        );
        return Err(PartitionError {
            what,
            found,
            expected,
        });
    }
    if let Some((row, id)) = raw_ids.iter().enumerate().find(|&(_, &id)| id < 0) {
        let (what, found) = (format!("cluster id of image {row}"), id.to_string());
        return Err(PartitionError {
            what,
            found,
            expected: "0 or more".to_owned(),
        });
    }
    // Ranks and not the ids themselves: p(c) and class embeddings have one entry for each used
    // cluster.
    let (rank, used) = crate::ranks(raw_ids);
    if used as u64 > u64::from(slots) {
        let (what, found) = (
            "number of distinct cluster ids".to_owned(),
            used.to_string(),
        );
        return Err(PartitionError {
            what,
            found,
            expected: format!("at most C = {slots}"),
        });
    }
    let ids: Vec<i64> = raw_ids.iter().map(|id| rank[id] as i64).collect();
    let mut counts = vec![0u64; used];
    for &id in &ids {
        counts[id as usize] += 1;
    }
    let prior = counts
        .iter()
        .map(|&count| count as f64 / raw_ids.len() as f64)
        .collect();
    Ok((
        ids,
        Usage {
            slots,
            used_ids: rank.into_keys().collect(),
            counts,
            prior,
        },
    ))
}

impl Usage {
    /// U, the number of clusters with at least one image.
    pub fn used(&self) -> u32 {
        self.counts.len() as u32
    }
    /// r_C = U / C by one division, so that 0.96 of 600 is the literal 0.96 (spec §6.1).
    pub fn utilisation(&self) -> f64 {
        f64::from(self.used()) / f64::from(self.slots)
    }
    /// Entropy of p(c) in nats.
    pub fn marginal_entropy(&self) -> f64 {
        entropy(&self.counts)
    }
    /// KL(uniform over used clusters || p) in nats: −mean ln(U p_c).
    pub fn kl_uniform(&self) -> f64 {
        let used = self.prior.len() as f64;
        // Rounding may leave a uniform prior slightly below 0.
        (-self.prior.iter().map(|p| (used * p).ln()).sum::<f64>() / used).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_close_in_ascending_order() {
        let (ids, usage) = compact(&[7, 2, 7, 9, 2, 7], 10).unwrap();
        assert_eq!(ids, [1, 0, 1, 2, 0, 1]);
        assert_eq!(
            (usage.used_ids.as_slice(), usage.counts.as_slice()),
            ([2, 7, 9].as_slice(), [2, 3, 1].as_slice())
        );
        assert_eq!(usage.utilisation(), 0.3);
    }

    #[test]
    fn equal_sizes_are_uniform() {
        let (_, usage) = compact(&[0, 1, 2, 3], 4).unwrap();
        assert!((usage.marginal_entropy() - 4f64.ln()).abs() < 1e-15);
        assert_eq!(usage.kl_uniform(), 0.0);
    }

    #[test]
    fn utilisation_equals_the_literal() {
        let ids: Vec<i64> = (0..576).collect();
        assert_eq!(compact(&ids, 600).unwrap().1.utilisation(), 0.96);
    }

    #[test]
    fn impossible_ids_are_refused() {
        let check = |ids: &[i64], slots, expect: &str| {
            assert_eq!(compact(ids, slots).unwrap_err().to_string(), expect)
        };
        check(
            &[0, 1, -1],
            5,
            "cluster id of image 2 is -1, expected 0 or more",
        );
        check(
            &[0, 7, 9],
            2,
            "number of distinct cluster ids is 3, expected at most C = 2",
        );
        check(&[], 2, "number of cluster ids is 0, expected at least one");
    }
}
