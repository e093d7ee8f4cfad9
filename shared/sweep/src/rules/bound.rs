//! Rules of `[bound]` and `[neighbours]`.

use super::{Findings, Section};
use crate::{BoundSpec, ClusteringSpec, Method, SweepSpec};
use cedm_contract::kinds::bound::FineGrid;

/// Checks the parameters of both sections, and that a bound search exists where one is needed.
pub(super) fn resolved(spec: &SweepSpec, findings: &mut Findings) {
    check_bound(&spec.bound, findings);
    check_neighbours(spec, findings);
    let searched = spec
        .clusterings
        .iter()
        .any(|clustering| clustering.clusters.needs_bound());
    findings.check(
        searched || !spec.bound.lower_bound,
        "bound.lower_bound",
        "the lower bound belongs to a bound search: give a TEMI clustering `clusters = \"bound\"` \
         or \"c_max\"",
    );
}

/// Parts of fewer rows than neighbours would only add work: each would pass on every row that it
/// compared.
fn check_neighbours(spec: &SweepSpec, findings: &mut Findings) {
    let most = |c: &ClusteringSpec| {
        if let Method::Temi(temi) = &c.method {
            temi.neighbours
        } else {
            0
        }
    };
    let k = spec.clusterings.iter().map(most).max().unwrap_or(0);
    let rows = spec.neighbours.part_rows;
    findings.check(
        rows == 0 || rows > k,
        "neighbours.part_rows",
        format!(
            "`part_rows` is {rows}: expected 0 for a single part, or more than the {k} \
             neighbours"
        ),
    );
}

fn check_bound(bound: &BoundSpec, findings: &mut Findings) {
    let mut at = Section {
        path: "bound",
        findings,
    };
    let params = &bound.params;
    at.check_value(
        params.alpha > 0.0 && params.alpha < 1.0,
        "alpha",
        params.alpha,
        "more than 0 and less than 1",
    );
    at.at_least("start", u64::from(params.start), 2);
    at.check(
        params.cap >= params.start,
        "cap",
        format!("`cap` is {}, below `start` {}", params.cap, params.start),
    );
    match params.fine {
        FineGrid::Step { step } => at.at_least("fine_step", u64::from(step), 1),
        FineGrid::Interval { .. } => {}
        FineGrid::Bisect { resolution } => at.at_least("bisect_to", u64::from(resolution), 1),
    }
    at.at_least("seeds", u64::from(params.seeds), 1);
    at.check(
        params.seeds <= 100,
        "seeds",
        format!("`seeds` is {}: expected at most 100", params.seeds),
    );
    at.at_least("candidates", u64::from(bound.candidates), 1);
    for (index, c) in bound.candidate_list.iter().enumerate() {
        at.check(
            *c >= 2,
            "candidates",
            format!("C = {c}: expected at least 2 clusters"),
        );
        at.check(
            index == 0 || bound.candidate_list[index - 1] != *c,
            "candidates",
            format!("C = {c} is listed twice"),
        );
    }
    let listed = !bound.lower_bound_clusters.is_empty();
    at.check(
        bound.lower_bound || !listed,
        "lower_bound_clusters",
        "these C are for the lower bound: set `lower_bound = true`",
    );
    for c in &bound.lower_bound_clusters {
        at.check(
            *c >= 2,
            "lower_bound_clusters",
            format!("C = {c}: expected at least 2 clusters"),
        );
    }
}
