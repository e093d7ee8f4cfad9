//! One score against another: whether both order the networks alike.

use super::by_clustering;
use crate::{
    chart::{Chart, Line, Point},
    context::ReportContext,
    format,
    measure::Measure,
};

/// One mark per network at the end of its training, with `x` and `y` its two scores.
pub fn chart(context: &ReportContext, x: &Measure, y: &Measure) -> Chart {
    let cells = context.outcome.cells.iter();
    let series = by_clustering(context, cells, Line::Marks, |cell| {
        let (at, up) = (context.score(cell, &x.key)?, context.score(cell, &y.key)?);
        Some(Point {
            x: at.mean,
            y: up.mean,
            error: up.std,
            tooltip: format!(
                "{}: {} {}, {} {}",
                cell.label,
                x.title,
                format::number(at.mean),
                y.title,
                format::spread(up.mean, up.std)
            ),
        })
    });
    Chart::new(x.axis(), y.axis(), series)
}
