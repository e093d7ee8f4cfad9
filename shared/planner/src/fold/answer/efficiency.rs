//! Sample efficiency: after how many training images a network beats the unconditional one's best
//! (spec §13).

use cedm_catalogue::metrics::Direction;

use cedm_sweep::outcome::{CellOutcome, Efficiency, SnapshotOutcome, Summary};

/// One entry for each conditional network with a curve, over snapshots that are evaluated on
/// equally many images.
pub(super) fn efficiency(
    cells: &[CellOutcome],
    metric: &str,
    direction: Direction,
) -> Vec<Efficiency> {
    let curve = |cell: &CellOutcome| -> Vec<(u64, f64, u64)> {
        let points = cell
            .snapshots
            .iter()
            .filter_map(|snapshot| Some((snapshot.nimg, at(snapshot, metric)?)));
        points
            .filter_map(|(nimg, summary)| {
                Some((nimg, direction.objective(summary.mean)?, summary.images))
            })
            .collect()
    };
    let of = |cell: &CellOutcome| -> Option<Efficiency> {
        // Trained with the same seed.
        let mut others = cells.iter();
        let unconditional =
            others.find(|other| other.is_unconditional() && other.seed == cell.seed)?;
        // The earliest of equally good snapshots, so that a network that stops improving gains
        // nothing.
        let (best_nimg, best, images) = curve(unconditional)
            .into_iter()
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        let curve = curve(cell);
        curve.first()?;
        let at = curve.iter().position(|(_, objective, _)| *objective < best);
        let nimg = at.map(|at| curve[at].0);
        Some(Efficiency {
            cell: cell.label.clone(),
            nimg,
            ratio: nimg.map(|nimg| best_nimg as f64 / nimg as f64),
            crossing_nimg: at
                .filter(|at| *at > 0)
                .map(|at| crossing(&curve[at - 1], &curve[at], best)),
            unconditional_nimg: best_nimg,
            images,
        })
    };
    cells
        .iter()
        .filter(|cell| !cell.is_unconditional())
        .filter_map(of)
        .collect()
}

/// The score of a snapshot on a curve: of the last one on as many images as of the others.
fn at<'a>(snapshot: &'a SnapshotOutcome, metric: &str) -> Option<&'a Summary> {
    if snapshot.last {
        snapshot.on_equal_terms.get(metric)
    } else {
        snapshot.summary.get(metric)
    }
}

/// Where the line from a snapshot that is not better to one that is passes `level`.
fn crossing(before: &(u64, f64, u64), after: &(u64, f64, u64), level: f64) -> f64 {
    let (from, to) = (before.0 as f64, after.0 as f64);
    from + (to - from) * (before.1 - level) / (before.1 - after.1)
}

#[cfg(test)]
mod tests {
    use super::crossing;

    #[test]
    fn the_line_passes_the_level_between_the_snapshots() {
        assert_eq!(crossing(&(100, 4.0, 1), &(200, 2.0, 1), 3.0), 150.0);
        assert_eq!(
            crossing(&(100, 3.0, 1), &(200, 2.0, 1), 3.0),
            100.0,
            "as good as the level, not better"
        );
    }
}
