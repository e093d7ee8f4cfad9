//! The bound search over the published utilisation tables.

use super::comparison;
use crate::fixture::{Fixture, Verdict};
use anyhow::Context;
use cedm_bounds::search::{Observation, next, utilisation};
use cedm_contract::kinds::bound::{BoundDecision, BoundParams, FineGrid};
use serde_json::Value;

pub(super) fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    let Ok(json) = serde_json::from_slice::<Value>(&std::fs::read(&fixture.path)?) else {
        return Ok(Verdict::NotRecognised);
    };
    let (Some(tables), Some(expected)) = (
        json["tables"].as_object(),
        json["expected_C_max"].as_object(),
    ) else {
        return Ok(Verdict::NotRecognised);
    };
    let (mut rows, mut wrong_ratios, mut searches, mut wrong_bounds) = (0, 0, 0, 0);
    for (backbone, by_beta) in tables {
        for (beta, table) in by_beta
            .as_object()
            .context("a backbone's tables are not an object")?
        {
            let mut observations = Vec::new();
            for row in table.as_array().context("a table is not a list")? {
                let number = |name: &str| {
                    row[name]
                        .as_u64()
                        .with_context(|| format!("{backbone} {beta}: `{name}`"))
                };
                let observation = Observation {
                    clusters: number("C")? as u32,
                    used: vec![number("utilised")? as u32],
                };
                rows += 1;
                wrong_ratios +=
                    usize::from(Some(utilisation(&observation)) != row["ratio"].as_f64());
                observations.push(observation);
            }
            for outcome in expected[backbone][beta].as_array().into_iter().flatten() {
                let alpha = outcome["alpha"].as_f64().context("`alpha`")?;
                for (start, outcome) in outcome["doubling"].as_object().context("`doubling`")? {
                    let c_max = c_max_in(&observations, alpha, start.parse()?)?.map(u64::from);
                    // A null bound: the first C fails already.
                    searches += 1;
                    wrong_bounds += usize::from(c_max != outcome["C_max_strict_gt_both"].as_u64());
                }
            }
        }
    }
    Ok(Verdict::Checked(vec![
        comparison(
            format!("{rows} utilisations that differ from the literal"),
            wrong_ratios as f64,
            0.0,
        ),
        comparison(
            format!("{searches} searches whose C_max differs (strict rule)"),
            wrong_bounds as f64,
            if searches > 0 { 0.0 } else { f64::NAN },
        ),
    ]))
}

/// C_max of the service's search from `start` where the clusterings are those of a table: doubling
/// as far as the table goes, then every entry up to the first that failed.
fn c_max_in(table: &[Observation], alpha: f64, start: u32) -> anyhow::Result<Option<u32>> {
    let passes = |c: u32| {
        let entry = table.iter().find(|entry| entry.clusters == c);
        entry.map(|entry| utilisation(entry) > alpha)
    };
    let mut last = start;
    while passes(last) == Some(true) && passes(last * 2).is_some() {
        last *= 2;
    }
    let failed = passes(last) == Some(false);
    let history: Vec<Observation> = table
        .iter()
        .filter(|entry| !failed || entry.clusters <= last)
        .cloned()
        .collect();
    let params = BoundParams {
        alpha,
        start,
        cap: last,
        // Wider than any table: its entries are the finer grid.
        fine: FineGrid::Step { step: u32::MAX },
        seeds: 1,
    };
    match next(&history, &params, u64::MAX)?.decision {
        BoundDecision::Found { c_max, .. } => Ok(c_max),
        BoundDecision::Probe { clusters } => {
            anyhow::bail!("the search asks for {clusters:?}, which the table does not have")
        }
    }
}
