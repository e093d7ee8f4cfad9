//! The sweep's answer: the best C, how certain that is, and what it is better than.

mod agreement;
mod certainty;
mod efficiency;
mod groups;
mod headline;
#[cfg(test)]
mod tests;
mod uniform;

use cedm_catalogue::metrics::metric;

use cedm_sweep::{
    Sweep,
    outcome::{Answer, BoundOutcome, CellOutcome, Comparison, Granularity, RunnerUp, Summary},
};

use certainty::Evidence;
use groups::{Group, edge, groups};
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
    let scored = groups(&sweep.spec, cells, &name, row.direction);
    let evidence = Evidence::of(&scored);
    let mut choices: Vec<&Group<'_>> = scored.iter().filter(|group| group.competes).collect();
    choices.sort_by(|a, b| a.objective().total_cmp(&b.objective()));
    let best = *choices.first()?;
    let clusters = best.clusters?;
    let score = best.summary();
    let granularities = granularities(cells, &choices, &evidence);
    let ties: Vec<String> = granularities[1..]
        .iter()
        .filter(|one| one.may_be_best)
        .map(|one| one.label.clone())
        .collect();
    let c_max = c_max_of(sweep, bounds, best.clustering);
    let compare = |other: &&Group<'_>| Comparison {
        with: other.label.to_owned(),
        other: other.score(),
        relative: (score.mean - other.score()) / other.score().abs(),
        better: best.objective() < other.objective(),
        ahead: evidence.ahead(best, other),
        sets: other.summary().values.len() as u32,
        images: other.trainings[0].images,
    };
    let comparisons = others(sweep, &scored, &choices);
    let comparisons = comparisons
        .iter()
        .map(compare)
        .filter(|comparison| comparison.relative.is_finite());
    let mut answer = Answer {
        metric: name.clone(),
        best: best.label.to_owned(),
        clustering: best.clustering.to_owned(),
        clusters,
        uncertain: !ties.is_empty(),
        ties,
        runner_up: choices.get(1).map(|second| RunnerUp {
            cell: second.label.to_owned(),
            score: second.score(),
            difference: second.score() - score.mean,
            standard_error: evidence.standard_error(best, second),
        }),
        comparisons: comparisons.collect(),
        certainty: evidence.certainty,
        granularities,
        score,
        c_max,
        within_bound: c_max.map(|c_max| clusters <= c_max),
        efficiency: efficiency::efficiency(cells, &name, row.direction),
        agreement: agreement::agreement(sweep, cells, bounds, best),
        uniform: uniform::effects(sweep, cells),
        headline: String::new(),
    };
    let title = row.title_in(&evaluation.extractor.name);
    let mut groups = scored.iter();
    let unconditional = groups.find(|group| group.is_unconditional);
    let unconditional = unconditional.map(|group| group.label);
    answer.headline = headline::headline(&answer, &title, row.direction, unconditional);
    Some(answer)
}

/// What is known of every granularity that competes, in their order.
fn granularities(
    cells: &[CellOutcome],
    choices: &[&Group<'_>],
    evidence: &Evidence,
) -> Vec<Granularity> {
    let standings = evidence.standings(choices);
    let one = |(group, standing): (&&Group<'_>, Option<crate::statistics::Standing>)| {
        let clusters = group.clusters?;
        Some(Granularity {
            label: group.label.to_owned(),
            clustering: group.clustering.to_owned(),
            clusters,
            mean: group.score(),
            trainings: group.trainings.len() as u32,
            behind: standing.map(|standing| standing.behind),
            probability: standing.map(|standing| standing.probability),
            may_be_best: standing.is_none_or(|standing| standing.may_be_best),
            edge: edge(cells, group.clustering, clusters),
        })
    };
    choices.iter().zip(standings).filter_map(one).collect()
}

/// What the best is compared with: every network that does not compete, and the best of each other
/// clustering.
fn others<'g, 'a>(
    sweep: &Sweep,
    scored: &'g [Group<'a>],
    choices: &[&'g Group<'a>],
) -> Vec<&'g Group<'a>> {
    let mut others: Vec<&Group<'_>> = scored.iter().filter(|group| !group.competes).collect();
    // The best of each clustering: the last that is put in stays.
    let first: HashMap<&str, &Group<'_>> = choices
        .iter()
        .rev()
        .map(|choice| (choice.clustering, *choice))
        .collect();
    let best = choices.first().map(|best| best.clustering);
    let rest = sweep.spec.clusterings.iter();
    let rest = rest.filter(|clustering| Some(clustering.name.as_str()) != best);
    others.extend(rest.filter_map(|clustering| first.get(clustering.name.as_str()).copied()));
    others
}

fn final_score<'a>(cell: &'a CellOutcome, metric: &str) -> Option<&'a Summary> {
    cell.snapshots
        .iter()
        .find(|snapshot| snapshot.last)?
        .summary
        .get(metric)
}

/// C_max of the search that bounds a clustering: its own, or the one that it follows.
fn c_max_of(sweep: &Sweep, bounds: &[BoundOutcome], clustering: &str) -> Option<u32> {
    let clustering = sweep
        .spec
        .clusterings
        .iter()
        .find(|one| one.name == clustering)?;
    let source = sweep.spec.bound_source(clustering)?;
    bounds
        .iter()
        .find(|bound| bound.clustering == source.name)?
        .c_max
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
