//! The sweep's answer: the best C, how certain that is, and what it is better than.

mod agreement;
mod efficiency;
mod uniform;

use cedm_catalogue::metrics::metric;

use cedm_sweep::{
    Sweep,
    outcome::{Answer, BoundOutcome, CellOutcome, Comparison, RunnerUp, Summary},
};

use std::collections::HashMap;

/// The best granularity by the primary metric of the first feature space; `None` while no
/// clustering has a score.
pub(super) fn answer(
    sweep: &Sweep,
    cells: &[CellOutcome],
    bounds: &[BoundOutcome],
) -> Option<Answer> {
    let evaluation = sweep.spec.evaluations.first()?;
    let row = metric(&evaluation.primary)?;
    let name = format!("{}/{}", evaluation.name, evaluation.primary);
    let objective = |value: f64| row.direction.objective(value).unwrap_or(f64::INFINITY);
    let scored: Vec<(&CellOutcome, &Summary)> = cells
        .iter()
        .filter_map(|cell| Some((cell, final_score(cell, &name)?)))
        .collect();
    let mut choices: Vec<(&CellOutcome, &Summary)> = scored
        .iter()
        .copied()
        .filter(|(cell, _)| is_granularity(cell))
        .collect();
    choices.sort_by(|a, b| objective(a.1.mean).total_cmp(&objective(b.1.mean)));

    let (best, score) = *choices.first()?;
    let ties: Vec<String> = choices[1..]
        .iter()
        .filter(|(_, other)| within_spread(score, other))
        .map(|(cell, _)| cell.label.clone())
        .collect();
    let c_max = c_max_of(sweep, bounds, best);

    let mut others: Vec<(&CellOutcome, &Summary)> = scored
        .iter()
        .copied()
        .filter(|(cell, _)| !is_granularity(cell))
        .collect();
    // The best of each other clustering: the last that is put in stays.
    let first: HashMap<&str, &(&CellOutcome, &Summary)> = choices
        .iter()
        .rev()
        .map(|choice| (choice.0.clustering.as_str(), choice))
        .collect();
    for clustering in sweep
        .spec
        .clusterings
        .iter()
        .filter(|clustering| clustering.name != best.clustering)
    {
        others.extend(first.get(clustering.name.as_str()).copied().copied());
    }
    let compare = |(cell, other): &(&CellOutcome, &Summary)| Comparison {
        with: cell.label.clone(),
        other: other.mean,
        relative: (score.mean - other.mean) / other.mean.abs(),
        better: objective(score.mean) < objective(other.mean),
        sets: other.values.len() as u32,
        images: other.images,
    };
    let comparisons: Vec<Comparison> = others
        .iter()
        .map(compare)
        .filter(|comparison| comparison.relative.is_finite())
        .collect();
    let clusters = best.clusters?;
    Some(Answer {
        headline: headline(
            best,
            score,
            &row.title_in(&evaluation.extractor.name),
            &comparisons,
            c_max,
        ),
        metric: name.clone(),
        best: best.label.clone(),
        clustering: best.clustering.clone(),
        clusters,
        score: score.clone(),
        uncertain: !ties.is_empty(),
        ties,
        runner_up: choices
            .get(1)
            .map(|(cell, other)| runner_up(cell, score, other)),
        c_max,
        within_bound: c_max.map(|c_max| clusters <= c_max),
        comparisons,
        efficiency: efficiency::efficiency(cells, &name, row.direction),
        agreement: agreement::agreement(sweep, cells, bounds, best),
        uniform: uniform::effects(sweep, cells),
    })
}

/// Whether a cell competes: a clustering with a choice of C.
fn is_granularity(cell: &CellOutcome) -> bool {
    cell.has_a_choice_of_c()
}

fn final_score<'a>(cell: &'a CellOutcome, metric: &str) -> Option<&'a Summary> {
    cell.snapshots
        .iter()
        .find(|snapshot| snapshot.last)?
        .summary
        .get(metric)
}

/// C_max of the search that bounds a cell's clustering: its own, or the one that it follows.
fn c_max_of(sweep: &Sweep, bounds: &[BoundOutcome], cell: &CellOutcome) -> Option<u32> {
    let clustering = sweep
        .spec
        .clusterings
        .iter()
        .find(|clustering| clustering.name == cell.clustering)?;
    let source = sweep.spec.bound_source(clustering)?;
    bounds
        .iter()
        .find(|bound| bound.clustering == source.name)?
        .c_max
}

/// Whether two means differ by no more than their pooled standard deviation; never where a spread
/// is unknown.
fn within_spread(a: &Summary, b: &Summary) -> bool {
    match (a.std, b.std) {
        (Some(x), Some(y)) => (a.mean - b.mean).abs() <= ((x * x + y * y) / 2.0).sqrt(),
        _ => false,
    }
}

/// Values of sets that both have, in pairs.
fn paired(a: &Summary, b: &Summary) -> Vec<(f64, f64)> {
    let other = |index: u32| {
        b.values
            .iter()
            .find(|(found, _)| *found == index)
            .map(|(_, value)| *value)
    };
    a.values
        .iter()
        .filter_map(|(index, value)| Some((*value, other(*index)?)))
        .collect()
}

fn runner_up(cell: &CellOutcome, best: &Summary, second: &Summary) -> RunnerUp {
    let differences: Vec<f64> = paired(best, second)
        .into_iter()
        .map(|(best, second)| second - best)
        .collect();
    let spread = (!differences.is_empty()).then(|| super::summary::mean_and_std(&differences));
    RunnerUp {
        cell: cell.label.clone(),
        score: second.mean,
        difference: spread.map_or(second.mean - best.mean, |(mean, _)| mean),
        standard_error: spread
            .and_then(|(_, std)| std)
            .map(|std| std / (differences.len() as f64).sqrt()),
    }
}

/// The answer in one line: what is best, its score, how far it is from the network without a
/// condition, and the bound.
fn headline(
    best: &CellOutcome,
    score: &Summary,
    title: &str,
    comparisons: &[Comparison],
    c_max: Option<u32>,
) -> String {
    let spread = score
        .std
        .map(|std| format!(" ± {std:.3}"))
        .unwrap_or_default();
    let sets = if score.values.len() == 1 {
        "1 set".to_owned()
    } else {
        format!("{} sets", score.values.len())
    };
    let mut text = format!(
        "{} is best: {title} {:.3}{spread} over {sets} of {} images",
        best.label, score.mean, score.images
    );
    let unconditional = comparisons
        .iter()
        .find(|comparison| comparison.with == "unconditional");
    if let Some(other) = unconditional.or(comparisons.first()) {
        let side = if other.relative < 0.0 {
            "below"
        } else {
            "above"
        };
        let percent = 100.0 * other.relative.abs();
        text += &format!(", {percent:.0} % {side} {}", other.with);
    }
    if let Some(c_max) = c_max {
        text += &format!("; C_max = {c_max}");
    }
    text
}
