//! The same search over a table of clusterings that are there already: doubling as far as the table
//! goes, then every entry between the last C that passed and the first that failed.

use crate::search::{Observation, utilisation};

/// What a table says.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSearch {
    /// The doubling phase: (C, whether its utilisation exceeds alpha).
    pub ladder: Vec<(u32, bool)>,
    /// Entries looked at afterwards, ascending.
    pub fine_grid: Vec<u32>,
    /// The largest C that passed; absent when the first fails.
    pub c_max: Option<u32>,
    /// Whether the next doubling was not in the table, so that no C failed: the bound may be
    /// larger.
    pub exhausted: bool,
}

/// Searches `table` (any order, each C once) from `start`; `None` when `start` is not in it.
pub fn search_table(table: &[Observation], alpha: f64, start: u32) -> Option<TableSearch> {
    let passes = |c: u32| {
        table
            .iter()
            .find(|entry| entry.clusters == c)
            .map(|entry| utilisation(entry) > alpha)
    };
    let mut ladder = vec![(start, passes(start)?)];
    while let Some(&(c, true)) = ladder.last() {
        let Some(double) = c.checked_mul(2) else {
            break;
        };
        let Some(passed) = passes(double) else { break };
        ladder.push((double, passed));
    }
    let failed = ladder.last().filter(|(_, passed)| !passed).map(|(c, _)| *c);
    let Some(low) = ladder
        .iter()
        .filter(|(_, passed)| *passed)
        .map(|(c, _)| *c)
        .next_back()
    else {
        return Some(TableSearch {
            ladder,
            fine_grid: Vec::new(),
            c_max: None,
            exhausted: false,
        });
    };
    let between = |c: &u32| *c > low && failed.is_none_or(|failed| *c < failed);
    let mut fine_grid: Vec<u32> = table
        .iter()
        .map(|entry| entry.clusters)
        .filter(between)
        .collect();
    fine_grid.sort_unstable();
    let c_max = fine_grid
        .iter()
        .copied()
        .filter(|c| passes(*c) == Some(true))
        .max()
        .unwrap_or(low);
    Some(TableSearch {
        ladder,
        fine_grid,
        c_max: Some(c_max),
        exhausted: failed.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every published table of the paper at every threshold from 0.90 to 0.99, from every start.
    #[test]
    fn the_papers_tables_give_the_papers_bounds() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/parity/clustering/bound_cifar10.json"
        );
        let fixture: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut checked = 0;
        for (backbone, by_beta) in fixture["expected_C_max"].as_object().unwrap() {
            for (beta, thresholds) in by_beta.as_object().unwrap() {
                let table: Vec<Observation> = fixture["tables"][backbone][beta]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| Observation {
                        clusters: row["C"].as_u64().unwrap() as u32,
                        used: vec![row["utilised"].as_u64().unwrap() as u32],
                    })
                    .collect();
                for expected in thresholds.as_array().unwrap() {
                    let alpha = expected["alpha"].as_f64().unwrap();
                    for (start, outcome) in expected["doubling"].as_object().unwrap() {
                        let found = search_table(&table, alpha, start.parse().unwrap()).unwrap();
                        let c_max = outcome["C_max_strict_gt_both"].as_u64().map(|c| c as u32);
                        assert_eq!(
                            found.c_max, c_max,
                            "{backbone}, beta {beta}, alpha {alpha}, from {start}"
                        );
                        checked += 1;
                    }
                }
            }
        }
        assert!(checked > 100, "only {checked} cases");
    }

    #[test]
    fn a_start_outside_the_table_is_no_search() {
        assert_eq!(
            search_table(
                &[Observation {
                    clusters: 10,
                    used: vec![10]
                }],
                0.9,
                20
            ),
            None
        );
    }
}
