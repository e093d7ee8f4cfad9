//! The tables as CSV files: full precision, one fact per column, empty where a number is missing.

mod answer;

use crate::{Attachment, facts::Facts, sections::curve_of};
use answer::{agreement, comparisons, efficiency, metrics, uniform};
use cedm_sweep::outcome::SetOutcome;

/// Every file.
pub fn all(facts: &Facts) -> Vec<Attachment> {
    vec![
        scores(facts),
        summaries(facts),
        clusterings(facts),
        bounds(facts),
        curves(facts),
        jobs(facts),
        costs(facts),
        missing(facts),
        comparisons(facts),
        efficiency(facts),
        agreement(facts),
        uniform(facts),
        metrics(facts),
    ]
}

struct Csv(String);

impl Csv {
    fn new(heads: &[&str]) -> Self {
        Self(heads.join(",") + "\n")
    }
    fn row(&mut self, cells: &[String]) {
        let quoted: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        self.0 += &(quoted.join(",") + "\n");
    }
    fn named(self, name: &str) -> Attachment {
        Attachment {
            name: name.to_owned(),
            text: self.0,
        }
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Every single score: network, snapshot, set, space, metric.
fn scores(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "network",
        "clustering",
        "method",
        "C",
        "U",
        "utilisation",
        "training_images",
        "last",
        "purpose",
        "set",
        "first_seed",
        "space",
        "metric",
        "value",
        "std_within",
        "images",
        "reference_images",
        "missing",
        "digest",
    ]);
    for cell in &facts.outcome.cells {
        for snapshot in &cell.snapshots {
            let judged = snapshot.sets.iter().map(|set| ("judge", set));
            let curve = snapshot.curve_set.iter().map(|set| ("curve", set));
            let uniform = snapshot.uniform_sets.iter().map(|set| ("uniform", set));
            for (purpose, set) in judged.chain(curve).chain(uniform) {
                let SetOutcome {
                    index,
                    first_seed,
                    scores,
                    ..
                } = set;
                for (space, found) in scores {
                    for (metric, score) in &found.result.scores {
                        csv.row(&[
                            cell.label.clone(),
                            cell.clustering.clone(),
                            cell.method.clone(),
                            text(cell.clusters),
                            text(cell.used),
                            text(cell.utilisation),
                            snapshot.nimg.to_string(),
                            snapshot.last.to_string(),
                            purpose.to_owned(),
                            index.to_string(),
                            first_seed.to_string(),
                            space.clone(),
                            metric.clone(),
                            text(score.value),
                            text(score.std),
                            found.result.count.to_string(),
                            found.result.reference_count.to_string(),
                            text(score.missing.as_ref()),
                            found.artefact.digest.to_string(),
                        ]);
                    }
                }
            }
        }
    }
    csv.named("scores.csv")
}

/// Means over sets.
fn summaries(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "network",
        "clustering",
        "C",
        "training_images",
        "last",
        "purpose",
        "score",
        "mean",
        "std",
        "sets",
        "images_per_set",
        "reference_images",
    ]);
    for cell in &facts.outcome.cells {
        for snapshot in &cell.snapshots {
            let judged = snapshot.summary.iter().map(|entry| ("judge", entry));
            let curve = snapshot
                .on_equal_terms
                .iter()
                .filter(|_| snapshot.curve_set.is_some())
                .map(|entry| ("curve", entry));
            let uniform = snapshot.uniform.iter().map(|entry| ("uniform", entry));
            for (purpose, (key, summary)) in judged.chain(curve).chain(uniform) {
                csv.row(&[
                    cell.label.clone(),
                    cell.clustering.clone(),
                    text(cell.clusters),
                    snapshot.nimg.to_string(),
                    snapshot.last.to_string(),
                    purpose.to_owned(),
                    key.clone(),
                    summary.mean.to_string(),
                    text(summary.std),
                    summary.values.len().to_string(),
                    summary.images.to_string(),
                    summary.reference_images.to_string(),
                ]);
            }
        }
    }
    csv.named("summaries.csv")
}

fn clusterings(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "clustering",
        "method",
        "C",
        "seed",
        "lower_bound",
        "trained",
        "U",
        "utilisation",
        "smallest",
        "largest",
        "marginal_entropy",
        "kl_uniform",
        "mean_confidence",
        "neighbour_agreement",
        "inertia",
        "nmi",
        "anmi",
        "ari",
        "acc",
        "digest",
    ]);
    for one in &facts.outcome.clusterings {
        let (result, quality) = (&one.result, one.result.quality.as_ref());
        csv.row(&[
            one.name.clone(),
            one.method.clone(),
            one.clusters.to_string(),
            one.seed.to_string(),
            one.lower_bound.to_string(),
            one.trained.to_string(),
            result.used.to_string(),
            result.utilisation.to_string(),
            result.smallest.to_string(),
            result.largest.to_string(),
            result.marginal_entropy.to_string(),
            result.kl_uniform.to_string(),
            text(result.mean_confidence),
            text(result.neighbour_agreement),
            text(result.inertia),
            text(quality.map(|q| q.nmi)),
            text(quality.map(|q| q.anmi)),
            text(quality.map(|q| q.ari)),
            text(quality.map(|q| q.acc)),
            one.artefact.digest.to_string(),
        ]);
    }
    csv.named("clusterings.csv")
}

fn bounds(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&["clustering", "alpha", "C", "utilisation", "passes", "C_max"]);
    for bound in &facts.outcome.bounds {
        for probe in bound.result.iter().flat_map(|result| &result.probes) {
            let cells = [
                bound.clustering.clone(),
                bound.alpha.to_string(),
                probe.clusters.to_string(),
                probe.utilisation.to_string(),
                probe.passes.to_string(),
                text(bound.c_max),
            ];
            csv.row(&cells);
        }
    }
    csv.named("bounds.csv")
}

/// Training curves, every tick.
fn curves(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&["network", "training_images", "quantity", "value"]);
    for cell in &facts.outcome.cells {
        for (nimg, quantity, value) in curve_of(facts, cell) {
            csv.row(&[
                cell.label.clone(),
                nimg.to_string(),
                quantity,
                value.to_string(),
            ]);
        }
    }
    csv.named("curves.csv")
}

fn jobs(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "job",
        "kind",
        "key",
        "digest",
        "inputs",
        "queued_ms",
        "started_ms",
        "finished_ms",
        "compute_ms",
        "attempts",
        "reused",
        "worker",
        "device",
        "version",
        "revision",
    ]);
    for node in &facts.outcome.lineage {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|input| format!("{}={}", input.role, input.key))
            .collect();
        csv.row(&[
            node.id.clone(),
            node.kind.to_string(),
            node.key.to_string(),
            node.digest.to_string(),
            inputs.join(" "),
            node.timings.queued_ms.to_string(),
            node.timings.started_ms.to_string(),
            node.timings.finished_ms.to_string(),
            node.timings.compute_ms.to_string(),
            node.attempts.to_string(),
            node.cached.to_string(),
            node.software.worker.clone(),
            node.software.device.clone(),
            node.software.version.clone(),
            node.software.revision.clone(),
        ]);
    }
    csv.named("jobs.csv")
}

fn costs(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&["kind", "jobs", "reused", "compute_s", "mean_wait_s"]);
    for cost in &facts.outcome.costs {
        csv.row(&[
            cost.kind.to_string(),
            cost.jobs.to_string(),
            cost.cached.to_string(),
            cost.compute_s.to_string(),
            text(cost.mean_wait_s),
        ]);
    }
    csv.named("costs.csv")
}

fn missing(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&["what", "reason", "key", "pending"]);
    for one in &facts.outcome.missing {
        csv.row(&[
            one.what.clone(),
            one.reason.clone(),
            text(one.key.as_ref()),
            one.pending.to_string(),
        ]);
    }
    csv.named("missing.csv")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        assert_eq!(
            (quoted("a"), quoted("a,b"), quoted("say \"x\"")),
            (
                "a".to_owned(),
                "\"a,b\"".to_owned(),
                "\"say \"\"x\"\"\"".to_owned()
            )
        );
    }
}
