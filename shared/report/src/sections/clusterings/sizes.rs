//! Cluster sizes, relative to equal shares.

use crate::{
    assignments::Assignments,
    chart::{Axis, Chart, Level, Line, Point, Series},
    context::ReportContext,
};

/// Above so many clusters a curve has no marks.
const MAX_MARKS: usize = 24;

/// Sizes of the clusterings that condition networks, and (clustering, reason) of those that cannot
/// be read.
pub fn chart(context: &ReportContext) -> (Chart, Vec<(String, String)>) {
    let (mut series, mut unread) = (Vec::new(), Vec::new());
    let trained = context.outcome.clusterings.iter().filter(|one| one.trained);
    for clustering in trained {
        let label = format!("{} C={}", clustering.name, clustering.clusters);
        match Assignments::of(context, clustering).and_then(|file| file.counts()) {
            Err(reason) => unread.push((label, reason)),
            Ok(counts) => series.push(curve(label, series.len(), counts)),
        }
    }
    let equal_shares = Level {
        name: "equal shares".to_owned(),
        style: None,
        y: 1.0,
    };
    let chart = Chart {
        levels: vec![equal_shares],
        ..Chart::new(
            Axis::fraction("rank of the cluster / number of used clusters"),
            Axis::from_zero("images × U / all images"),
            series,
        )
    };
    (chart, unread)
}

/// Sizes in descending order, over the rank in the middle of each cluster's share of the axis.
fn curve(label: String, style: usize, mut counts: Vec<i64>) -> Series {
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let (total, used) = (counts.iter().sum::<i64>() as f64, counts.len() as f64);
    let point = |(rank, count): (usize, &i64)| Point {
        x: (rank as f64 + 0.5) / used,
        y: *count as f64 * used / total,
        error: None,
        tooltip: format!("{label}, rank {}: {count} images", rank + 1),
    };
    let line = if counts.len() <= MAX_MARKS {
        Line::JoinedMarks
    } else {
        Line::Curve
    };
    Series {
        style,
        line,
        points: counts.iter().enumerate().map(point).collect(),
        name: label,
    }
}
