//! The data-copying score C_T: whether generated images are closer to the training images than
//! unseen real images are (Meehan, Chaudhuri & Dasgupta 2020).

use crate::{Features, MathsError, nearest};

/// A cell counts when it holds more generated rows than this: fewer say nothing (upstream's
/// number).
const CELL_ROWS: f64 = 20.0;

/// C_T with the scores of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyingScore {
    /// Mean of the kept cells' Z scores, weighted by their share of test rows; negative for
    /// copying. `None` if no cell holds enough generated rows.
    pub score: Option<f64>,
    /// Z score of each cell; 0 for cells without generated or test rows.
    pub cells: Vec<f64>,
    /// Whether each cell counts, that is, holds more than 20 generated rows.
    pub kept: Vec<bool>,
}

/// Mann-Whitney U of the first sample: the number of pairs in which its value is larger, a tie
/// counting one half.
pub fn mann_whitney_u(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    first
        .iter()
        .map(|value| {
            let below = sorted.partition_point(|other| other < value);
            let not_above = sorted.partition_point(|other| other <= value);
            (below + not_above) as f64 / 2.0
        })
        .sum()
}

/// Z score of the U statistic of m generated distances against n test distances, (U − (nm/2 − ½)) /
/// √(nm(n + m + 1)/12). The ½ is upstream's continuity correction.
pub fn zu_score(generated: &[f64], test: &[f64]) -> f64 {
    let (m, n) = (generated.len() as f64, test.len() as f64);
    (mann_whitney_u(generated, test) - (n * m / 2.0 - 0.5)) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// A set of features with the cell of the feature space that each row lies in.
pub struct CellAssignment<'a> {
    /// Features of the set.
    pub features: &'a Features,
    /// Cell of each row, 0 to `cells` − 1.
    pub cells: &'a [i64],
}

impl CellAssignment<'_> {
    fn check(&self, cells: i64) -> Result<(), MathsError> {
        let name = self.features.name();
        if self.cells.len() as i64 != self.features.count() {
            let expected = format!("{} cell ids", self.features.count());
            return Err(MathsError::Shape {
                what: format!("cells of {name}"),
                found: vec![self.cells.len() as i64],
                expected,
            });
        }
        if let Some(bad) = self.cells.iter().find(|&&cell| cell < 0 || cell >= cells) {
            let expected = format!("0 to {}", cells - 1);
            return Err(MathsError::OutOfRange {
                what: format!("cell of {name}"),
                found: bad.to_string(),
                expected,
            });
        }
        Ok(())
    }

    /// Indices of the rows in a cell.
    fn rows_in(&self, cell: i64) -> Vec<i64> {
        (0..self.features.count())
            .filter(|&row| self.cells[row as usize] == cell)
            .collect()
    }
}

/// C_T over `cells` cells of the feature space; dgm-eval takes 3 k-means cells of the training set.
/// Distances are to the nearest training row of the same cell; only cells with more than 20
/// generated rows count.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width, [`MathsError::Shape`] and
/// [`MathsError::OutOfRange`] for cell ids that do not fit, [`MathsError::TooFew`] for a cell that
/// has generated and test rows but no training rows.
pub fn copying_score(
    train: &CellAssignment,
    test: &CellAssignment,
    generated: &CellAssignment,
    cells: i64,
) -> Result<CopyingScore, MathsError> {
    for set in [train, test, generated] {
        set.check(cells)?;
        set.features.require_width_of(train.features)?;
    }
    // As a share, for this is how upstream compares it; rounding then decides the same way.
    let tau = CELL_ROWS / generated.features.count() as f64;
    let (mut zs, mut kept, mut weighted, mut weight) = (Vec::new(), Vec::new(), 0.0, 0.0);
    for cell in 0..cells {
        let (train_rows, test_rows, generated_rows) = (
            train.rows_in(cell),
            test.rows_in(cell),
            generated.rows_in(cell),
        );
        let share = test_rows.len() as f64 / test.features.count() as f64;
        let z = if test_rows.is_empty() || generated_rows.is_empty() {
            0.0
        } else {
            if train_rows.is_empty() {
                let what = format!("cell {cell} of {}", train.features.name());
                return Err(MathsError::TooFew {
                    what,
                    found: 0,
                    needed: 1,
                    purpose: "the distance to the nearest training row",
                });
            }
            let base = train.features.select(&train_rows)?;
            let distances = |set: &CellAssignment, rows: &[i64]| -> Result<Vec<f64>, MathsError> {
                Ok(nearest(&set.features.select(rows)?, &base)?
                    .into_iter()
                    .map(|near| near.distance)
                    .collect())
            };
            zu_score(
                &distances(generated, &generated_rows)?,
                &distances(test, &test_rows)?,
            )
        };
        let keep = generated_rows.len() as f64 / generated.features.count() as f64 > tau;
        if keep {
            weighted += share * z;
            weight += share;
        }
        zs.push(z);
        kept.push(keep);
    }
    let score = (weight > 0.0).then(|| weighted / weight);
    Ok(CopyingScore {
        score,
        cells: zs,
        kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn u_counts_larger_pairs_and_half_of_ties() {
        assert_eq!(mann_whitney_u(&[3.0, 1.0], &[2.0, 1.0, 0.0]), 3.0 + 1.5);
        assert_eq!(mann_whitney_u(&[1.0, 2.0], &[1.0, 2.0]), 2.0);
    }

    #[test]
    fn copies_score_far_below_zero_and_distant_rows_far_above() {
        let rows = |n: i64, shift: f64| {
            (Tensor::arange(n * 2, (Kind::Double, Device::Cpu)) * 1.7 + shift)
                .sin()
                .view([n, 2])
        };
        let train = Features::new("train", &rows(60, 0.0)).unwrap();
        let test = Features::new("test", &rows(50, 0.4)).unwrap();
        let copies = Features::new("copies", train.rows()).unwrap();
        let strangers = Features::new("strangers", &(train.rows() + 5.0)).unwrap();
        let score = |generated: &Features| {
            let cells = vec![0; 60];
            let assigned = |features| CellAssignment {
                features,
                cells: &cells,
            };
            let test = CellAssignment {
                features: &test,
                cells: &cells[..50],
            };
            copying_score(&assigned(&train), &test, &assigned(generated), 1)
                .unwrap()
                .score
                .unwrap()
        };
        assert!(score(&copies) < -5.0);
        assert!(score(&strangers) > 5.0);
    }
}
