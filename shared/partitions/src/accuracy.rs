//! Clustering accuracy after matching clusters to labels.

use crate::{Contingency, PartitionError, best_matching};

/// Share of images whose cluster is matched one-to-one to their label; unmatched clusters count 0.
///
/// # Errors
/// When the two differ in length or are empty.
pub fn one_to_one_accuracy(labels: &[i64], clusters: &[i64]) -> Result<f64, PartitionError> {
    let table = Contingency::new(labels, clusters)?;
    Ok(matched(&table, &best_matching(&table)))
}

/// Accuracy by TEMI's rule: after the one-to-one matching, and only where clusters outnumber
/// labels, every unmatched cluster takes its majority label. It rises with C, so values at
/// different C are not comparable.
///
/// # Errors
/// When the two differ in length or are empty.
pub fn accuracy(labels: &[i64], clusters: &[i64]) -> Result<f64, PartitionError> {
    let table = Contingency::new(labels, clusters)?;
    let mut matching = best_matching(&table);
    if table.clusters.len() > table.labels.len() {
        let mut majority: Vec<(u64, usize)> = vec![(0, 0); table.clusters.len()];
        for (&(label, cluster), &images) in &table.cells {
            // Strictly: of equal labels the first counts, as in numpy's argmax.
            if images > majority[cluster].0 {
                majority[cluster] = (images, label);
            }
        }
        for (place, (_, label)) in matching.iter_mut().zip(majority) {
            place.get_or_insert(label);
        }
    }
    Ok(matched(&table, &matching))
}

/// Share of images whose cluster is matched to their label.
fn matched(table: &Contingency, matching: &[Option<usize>]) -> f64 {
    let cells = table
        .cells
        .iter()
        .filter(|&(&(label, cluster), _)| matching[cluster] == Some(label));
    cells.map(|(_, &images)| images).sum::<u64>() as f64 / table.total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmatched_clusters_take_their_majority_label() {
        let (labels, clusters) = ([0, 0, 0, 1, 1, 1], [4, 4, 9, 7, 7, 2]);
        assert_eq!(one_to_one_accuracy(&labels, &clusters).unwrap(), 4.0 / 6.0);
        assert_eq!(accuracy(&labels, &clusters).unwrap(), 1.0);
    }

    #[test]
    fn fewer_clusters_than_labels_stay_one_to_one() {
        let (labels, clusters) = ([0, 1, 2, 3], [0, 0, 1, 1]);
        assert_eq!(accuracy(&labels, &clusters).unwrap(), 0.5);
    }
}
