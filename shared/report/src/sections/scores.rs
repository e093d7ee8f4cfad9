//! Scores as charts: against granularity, against training images, against each other.

mod against_clusters;
mod against_images;
mod against_scores;
mod other;

pub use against_clusters::section as against_clusters;
pub use against_images::section as against_images;
pub use against_scores::chart as against_score;
pub use other::section as other;

use crate::{
    chart::{Line, Point, Series},
    context::{ReportContext, end},
    format,
    measure::Measure,
};
use cedm_sweep::outcome::{CellOutcome, Summary};

/// Networks whose training has an end in the outcome, for tables and lists of what is missing.
pub fn finished_cells<'a>(context: &ReportContext<'a>) -> impl Iterator<Item = &'a CellOutcome> {
    let cells = context.outcome.cells.iter();
    cells.filter(|cell| end(cell).is_some())
}

/// One series for each clustering among these networks, in their order; networks without a point
/// are left out.
fn by_clustering<'a>(
    context: &ReportContext,
    cells: impl Iterator<Item = &'a CellOutcome>,
    line: Line,
    point: impl Fn(&'a CellOutcome) -> Option<Point>,
) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for cell in cells {
        let name = match cell.clusters {
            Some(_) => &cell.clustering,
            None => &cell.label,
        };
        let at = all.iter().position(|series| series.name == *name);
        let at = at.unwrap_or_else(|| {
            all.push(Series {
                name: name.clone(),
                style: context.style(&cell.clustering),
                line,
                points: Vec::new(),
            });
            all.len() - 1
        });
        all[at].points.extend(point(cell));
    }
    for series in &mut all {
        series.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    all
}

/// A network's score at the end of its training as a point at `x`.
pub fn end_point(
    context: &ReportContext,
    cell: &CellOutcome,
    measure: &Measure,
    score: &Summary,
    x: f64,
) -> Point {
    Point {
        x,
        y: score.mean,
        error: score.std,
        tooltip: format!(
            "{}: {} {}, {}",
            cell.label,
            measure.title,
            format::spread(score.mean, score.std),
            context.sample_counts(score)
        ),
    }
}
