//! The answer in one sentence: what is best, and what would make that wrong.

use cedm_catalogue::metrics::Direction;
use cedm_sweep::outcome::{Answer, Comparison, Edge, Granularity};
use std::collections::BTreeMap;

/// Most granularities that are named one by one.
const NAMED: usize = 4;

/// The sentence. It claims no more than was measured: who won where the unconditional network did,
/// which other granularities may be best, and that the best C may lie beyond those that were tried.
pub(super) fn headline(
    answer: &Answer,
    title: &str,
    direction: Direction,
    unconditional: Option<&str>,
) -> String {
    let mut others = answer.comparisons.iter();
    let unconditional = others.find(|other| Some(other.with.as_str()) == unconditional);
    let mut parts = vec![subject(answer, title, direction, unconditional)];
    parts.extend(edges(answer));
    parts.push(certainty(answer));
    if let Some(c_max) = answer.c_max {
        parts.push(format!("C_max = {c_max}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn subject(
    answer: &Answer,
    title: &str,
    direction: Direction,
    unconditional: Option<&Comparison>,
) -> String {
    let (best, count) = (&answer.best, answer.granularities.len());
    let score = format!("{:.3}", answer.score.mean);
    let spread = match answer.score.std {
        Some(std) if answer.certainty.trainings > 1 => format!(" ± {std:.3} over trainings"),
        Some(std) => format!(" ± {std:.3} over sample sets"),
        None => String::new(),
    };
    if let Some(other) = unconditional.filter(|other| !other.better) {
        return format!(
            "No clustering beats the unconditional network: {title} {:.3} without a condition, \
             {score}{spread} with {best}, the best of {count}",
            other.other
        );
    }
    let most = match direction {
        Direction::Higher => "highest",
        Direction::Lower => "lowest",
        Direction::Target(_) | Direction::Neither => "best",
    };
    let claim = match (count, answer.uncertain) {
        (1, _) => format!("{best} is the only granularity trained: {title} {score}{spread}"),
        (_, false) => format!("{best} is best of {count}: {title} {score}{spread}"),
        (_, true) => format!("{best} has the {most} {title} of {count}: {score}{spread}"),
    };
    claim + &unconditional.map(against).unwrap_or_default()
}

/// How far it is from the network without a condition, which it beats by the mean.
fn against(other: &Comparison) -> String {
    let side = if other.relative < 0.0 {
        "below"
    } else {
        "above"
    };
    let percent = 100.0 * other.relative.abs();
    // A percentage that is rounded to nothing would read as no difference.
    let percent = if percent < 1.0 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.0}")
    };
    let within = match other.ahead {
        Some((least, _)) if least <= 0.0 => ", which may be chance",
        _ => "",
    };
    format!(", {percent} % {side} {}{within}", other.with)
}

/// Where the best C lies at an edge of what was trained, and which methods were tried at one C
/// only.
fn edges(answer: &Answer) -> Vec<String> {
    let mut said = Vec::new();
    let best = answer
        .granularities
        .iter()
        .find(|one| one.label == answer.best);
    match best.and_then(|best| best.edge) {
        Some(Edge::Smallest) => said.push(format!(
            "C = {} is the smallest trained, a smaller one may be better",
            answer.clusters
        )),
        Some(Edge::Largest) => said.push(format!(
            "C = {} is the largest trained, a larger one may be better",
            answer.clusters
        )),
        Some(Edge::Only) | None => {}
    }
    let mut tried: BTreeMap<&str, u32> = BTreeMap::new();
    for one in &answer.granularities {
        if one.edge == Some(Edge::Only) {
            tried.insert(&one.clustering, one.clusters);
        }
    }
    let only = tried
        .iter()
        .map(|(name, c)| format!("{name} was tried at C = {c} only"));
    said.extend(only);
    said
}

/// Which granularities may be best, or that it cannot be known.
fn certainty(answer: &Answer) -> String {
    let others = answer.ties.len();
    let mut said = Vec::new();
    if answer.certainty.degrees == 0 {
        said.push("trained once each".to_owned());
    }
    if answer.certainty.sets == 1 {
        said.push("one sample set each".to_owned());
    }
    let known = answer.certainty.degrees > 0;
    let count = answer.granularities.len();
    match (known, others) {
        (_, _) if count == 1 => {}
        (false, _) => said.push(format!("so that any of the {count} may be the best")),
        (true, 0) => {}
        (true, _) => said.push(may_be_best(answer)),
    }
    if !known && count == 1 {
        said.push("so that the spread of the score is not known".to_owned());
    }
    said.join(", ")
}

/// "with 95 % confidence the best is among temi C=20 (61 %), temi C=40 (30 %)".
fn may_be_best(answer: &Answer) -> String {
    let left: Vec<&Granularity> = answer
        .granularities
        .iter()
        .filter(|one| one.may_be_best)
        .collect();
    let named = left.iter().take(NAMED).map(|one| match one.probability {
        Some(probability) => format!("{} ({:.0} %)", one.label, 100.0 * probability),
        None => one.label.clone(),
    });
    let mut names = named.collect::<Vec<_>>().join(", ");
    if left.len() > NAMED {
        names += &format!(" and {} more", left.len() - NAMED);
    }
    format!(
        "with {:.0} % confidence the best is among {names}",
        100.0 * answer.certainty.confidence
    )
}
