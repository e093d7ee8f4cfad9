//! The best one-to-one matching of labels and clusters, by the Hungarian method with potentials
//! (Jonker and Volgenant 1987).

use crate::Contingency;

/// The label matched to each cluster: no label twice, with as many images as possible in matched
/// pairs. Labels and clusters are indices into the table.
pub fn best_matching(table: &Contingency) -> Vec<Option<usize>> {
    let (labels, clusters) = (table.labels.len(), table.clusters.len());
    let mut matched = vec![None; clusters];
    // The method needs at least as many columns as rows.
    if labels <= clusters {
        let gain = |i: usize, j: usize| table.cells.get(&(i, j)).copied().unwrap_or(0) as i64;
        for (label, cluster) in assign(labels, clusters, &gain).into_iter().enumerate() {
            matched[cluster] = Some(label);
        }
    } else {
        let gain = |j: usize, i: usize| table.cells.get(&(i, j)).copied().unwrap_or(0) as i64;
        for (cluster, label) in assign(clusters, labels, &gain).into_iter().enumerate() {
            matched[cluster] = Some(label);
        }
    }
    matched
}

/// The column of each row, maximising the summed gain; rows must not outnumber columns.
fn assign(rows: usize, columns: usize, gain: &dyn Fn(usize, usize) -> i64) -> Vec<usize> {
    // Row and column 0 are sentinels: `owner[0]` is the row being placed.
    let (mut row_potential, mut column_potential) = (vec![0i64; rows + 1], vec![0i64; columns + 1]);
    let mut owner = vec![0usize; columns + 1];
    let mut from = vec![0usize; columns + 1];
    // Rows are placed one after the other, each by a shortest augmenting path over reduced costs.
    for row in 1..=rows {
        owner[0] = row;
        let mut column = 0;
        let mut slack = vec![i64::MAX; columns + 1];
        let mut visited = vec![false; columns + 1];
        while owner[column] != 0 {
            visited[column] = true;
            let (placed, mut least, mut next) = (owner[column], i64::MAX, 0);
            for j in 1..=columns {
                if visited[j] {
                    continue;
                }
                let cost = -gain(placed - 1, j - 1) - row_potential[placed] - column_potential[j];
                if cost < slack[j] {
                    slack[j] = cost;
                    from[j] = column;
                }
                if slack[j] < least {
                    least = slack[j];
                    next = j;
                }
            }
            for j in 0..=columns {
                if visited[j] {
                    row_potential[owner[j]] += least;
                    column_potential[j] -= least;
                } else {
                    slack[j] = slack[j].saturating_sub(least);
                }
            }
            column = next;
        }
        // Walk the path back and shift every row on it by one column.
        while column != 0 {
            owner[column] = owner[from[column]];
            column = from[column];
        }
    }
    let mut place = vec![0; rows];
    for (column, &row) in owner.iter().enumerate().skip(1) {
        if row > 0 {
            place[row - 1] = column - 1;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exhaustive(gains: &[Vec<i64>], row: usize, taken: &mut Vec<bool>) -> i64 {
        if row == gains.len() {
            return 0;
        }
        let mut best = i64::MIN;
        for j in 0..taken.len() {
            if !taken[j] {
                taken[j] = true;
                best = best.max(gains[row][j] + exhaustive(gains, row + 1, taken));
                taken[j] = false;
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_assignment_is_better(rows in 1usize..5, extra in 0usize..3, values in prop::collection::vec(0i64..20, 40)) {
            let columns = rows + extra;
            let gains: Vec<Vec<i64>> = (0..rows).map(|i| (0..columns).map(|j| values[(i * columns + j) % 40]).collect()).collect();
            let place = assign(rows, columns, &|i, j| gains[i][j]);
            let mut distinct = place.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), rows);
            let found: i64 = place.iter().enumerate().map(|(i, &j)| gains[i][j]).sum();
            prop_assert_eq!(found, exhaustive(&gains, 0, &mut vec![false; columns]));
        }
    }
}
