//! The sweep's answer: the best C, how certain that is, and what it is better than.

use cedm_contract::{
    metrics::{Direction, metric},
    outcome::{Answer, BoundOutcome, CellOutcome, Comparison, Efficiency, Summary},
    sweep::Sweep,
};

/// The best granularity by the primary metric of the first feature space; `None` while no clustering has a score.
pub(super) fn answer(sweep: &Sweep, cells: &[CellOutcome], bounds: &[BoundOutcome]) -> Option<Answer> {
    let evaluation = sweep.spec.evaluations.first()?;
    let row = metric(&evaluation.primary)?;
    let name = format!("{}/{}", evaluation.name, evaluation.primary);
    let badness = |value: f64| row.direction.badness(value).unwrap_or(f64::INFINITY);
    let scored: Vec<(&CellOutcome, &Summary)> = cells.iter().filter_map(|cell| Some((cell, final_score(cell, &name)?))).collect();
    let by_badness = |a: &&(&CellOutcome, &Summary), b: &&(&CellOutcome, &Summary)| badness(a.1.mean).total_cmp(&badness(b.1.mean));

    let (best, score) = *scored.iter().filter(|(cell, _)| is_granularity(cell)).min_by(by_badness)?;
    let ties: Vec<String> = scored
        .iter()
        .filter(|(cell, other)| is_granularity(cell) && cell.label != best.label && within_spread(score, other))
        .map(|(cell, _)| cell.label.clone())
        .collect();
    let c_max = bounds
        .iter()
        .find(|bound| bound.clustering == best.clustering)
        .and_then(|bound| bound.c_max);

    let mut others: Vec<(&CellOutcome, &Summary)> = scored.iter().copied().filter(|(cell, _)| !is_granularity(cell)).collect();
    for clustering in &sweep.spec.clusterings {
        let own = scored
            .iter()
            .filter(|(cell, _)| is_granularity(cell) && cell.clustering == clustering.name && cell.clustering != best.clustering);
        others.extend(own.min_by(by_badness).copied());
    }
    let compare = |(cell, other): &(&CellOutcome, &Summary)| Comparison {
        with: cell.label.clone(),
        other: other.mean,
        relative: (score.mean - other.mean) / other.mean.abs(),
        better: badness(score.mean) < badness(other.mean),
    };
    let comparisons: Vec<Comparison> = others
        .iter()
        .map(compare)
        .filter(|comparison| comparison.relative.is_finite())
        .collect();
    let clusters = best.clusters?;
    Some(Answer {
        headline: headline(best, score, &row.title_in(&evaluation.extractor.name), &comparisons, c_max),
        metric: name.clone(),
        best: best.label.clone(),
        clustering: best.clustering.clone(),
        clusters,
        score: score.clone(),
        uncertain: !ties.is_empty(),
        ties,
        c_max,
        within_bound: c_max.map(|c_max| clusters <= c_max),
        comparisons,
        efficiency: efficiency(cells, &name, row.direction),
    })
}

/// Whether a cell competes: a clustering with a choice of C.
fn is_granularity(cell: &CellOutcome) -> bool {
    matches!(cell.method.as_str(), "temi" | "kmeans" | "imported")
}

fn final_score<'a>(cell: &'a CellOutcome, metric: &str) -> Option<&'a Summary> {
    cell.snapshots.iter().find(|snapshot| snapshot.last)?.summary.get(metric)
}

/// Whether two means differ by no more than their pooled standard deviation; never where a spread is unknown.
fn within_spread(a: &Summary, b: &Summary) -> bool {
    match (a.std, b.std) {
        (Some(x), Some(y)) => (a.mean - b.mean).abs() <= ((x * x + y * y) / 2.0).sqrt(),
        _ => false,
    }
}

fn headline(best: &CellOutcome, score: &Summary, title: &str, comparisons: &[Comparison], c_max: Option<u32>) -> String {
    let spread = score.std.map(|std| format!(" ± {std:.2}")).unwrap_or_default();
    let sets = if score.values.len() == 1 {
        "1 set".to_owned()
    } else {
        format!("{} sets", score.values.len())
    };
    let mut text = format!(
        "best: {} with {title} {:.3}{spread} over {sets} of {} images",
        best.label, score.mean, score.images
    );
    if let Some(other) = comparisons
        .iter()
        .find(|comparison| comparison.with == "unconditional")
        .or(comparisons.first())
    {
        text += &format!(", {:+.0} % against {}", 100.0 * other.relative, other.with);
    }
    if let Some(c_max) = c_max {
        text += &format!("; C_max = {c_max}");
    }
    text
}

/// Sample efficiency against the unconditional network (spec §13), over snapshots judged by equally many images.
fn efficiency(cells: &[CellOutcome], metric: &str, direction: Direction) -> Vec<Efficiency> {
    let Some(unconditional) = cells.iter().find(|cell| cell.method == "none") else {
        return Vec::new();
    };
    let Some(images) = unconditional
        .snapshots
        .first()
        .and_then(|snapshot| snapshot.summary.get(metric))
        .map(|summary| summary.images)
    else {
        return Vec::new();
    };
    let curve = |cell: &CellOutcome| -> Vec<(u64, f64)> {
        let points = cell
            .snapshots
            .iter()
            .filter_map(|snapshot| Some((snapshot.nimg, snapshot.summary.get(metric)?)));
        points
            .filter(|(_, summary)| summary.images == images)
            .filter_map(|(nimg, summary)| Some((nimg, direction.badness(summary.mean)?)))
            .collect()
    };
    let Some((best_nimg, best)) = curve(unconditional).into_iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Vec::new();
    };
    let of = |cell: &CellOutcome| {
        let nimg = curve(cell).into_iter().find(|(_, badness)| *badness < best).map(|(nimg, _)| nimg);
        Efficiency {
            cell: cell.label.clone(),
            nimg,
            ratio: nimg.map(|nimg| best_nimg as f64 / nimg as f64),
        }
    };
    cells
        .iter()
        .filter(|cell| cell.method != "none" && !curve(cell).is_empty())
        .map(of)
        .collect()
}
