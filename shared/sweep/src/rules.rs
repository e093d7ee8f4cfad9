//! What a sweep file must satisfy beyond its types: ranges, names, and what fits together.

mod adapt;
mod clusters;
mod scores;
mod training;

use crate::{
    ExtractorChoice, SweepSpec,
    file::{BoundFile, ClusteringFile},
    findings::Findings,
    suggest::did_you_mean,
};
use cedm_catalogue::extractors::{EXTRACTORS, extractor};

/// Most shards of a sample set: a job names each of them, and a message holds 64 KiB.
const MAX_SHARDS: u64 = 250;

/// Rules about keys that are gone once defaults are filled in.
pub(super) fn as_written(
    clusterings: &[ClusteringFile],
    bound: &BoundFile,
    findings: &mut Findings,
) {
    for (index, clustering) in clusterings.iter().enumerate() {
        clusters::as_written(clustering, &format!("clustering.{index}"), findings);
    }
    findings.check(
        bound.fine_step.is_none() || bound.bisect_to.is_none(),
        "bound.bisect_to",
        "`fine_step` and `bisect_to` exclude each other: keep one of them",
    );
}

/// Rules about the whole spec.
pub(super) fn resolved(spec: &SweepSpec, findings: &mut Findings) {
    findings.check(
        !spec.image_set.trim().is_empty(),
        "images.set",
        "the name of the image set is empty: expected a name that `cedm import` gave",
    );
    check_extractor(&spec.extractor, "extractor", findings);
    adapt::resolved(spec, findings);
    clusters::resolved(spec, findings);
    training::resolved(&spec.training, findings);
    scores::sampling(spec, findings);
    scores::evaluations(spec, findings);
}

/// An extractor by name, with what it needs and nothing else.
fn check_extractor(choice: &ExtractorChoice, path: &str, findings: &mut Findings) {
    let Some(known) = extractor(&choice.name) else {
        let names: Vec<&str> = EXTRACTORS.iter().map(|extractor| extractor.name).collect();
        findings.add(
            format!("{path}.name"),
            unknown("extractor", &choice.name, &names),
        );
        return;
    };
    let name = known.name;
    // A small network from nothing has no file yet.
    let from_nothing = choice.adapt.is_some() && known.adapts && known.dim.is_none();
    match &choice.weights {
        None => findings.check(
            !known.needs_weights || from_nothing,
            format!("{path}.name"),
            format!("`{name}` needs `weights = \"<file or URI>\"`"),
        ),
        Some(file) => {
            findings.check(
                known.needs_weights,
                format!("{path}.weights"),
                format!("`{name}` has no weights: remove this key"),
            );
            findings.check(
                !file.path.is_empty(),
                format!("{path}.weights"),
                "the path is empty: expected a file or URI",
            );
        }
    }
    if let Some(dim) = choice.dim {
        findings.check(
            known.chooses_dim,
            format!("{path}.dim"),
            format!("`{name}` has a width of its own: remove this key"),
        );
        findings.check(
            dim >= 1,
            format!("{path}.dim"),
            "a width of 0: expected at least 1",
        );
    }
}

/// "unknown metric `precison`; did you mean `precision`?"
fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    match did_you_mean(found, known.iter().copied()) {
        Some(close) => format!("unknown {what} `{found}`; did you mean `{close}`?"),
        None => format!("unknown {what} `{found}`; known are {}", known.join(", ")),
    }
}

/// Range checks of one section, each naming key, value and what was expected.
struct Section<'a> {
    path: &'a str,
    findings: &'a mut Findings,
}

impl Section<'_> {
    fn at_least(&mut self, key: &str, value: u64, least: u64) {
        self.findings.check(
            value >= least,
            format!("{}.{key}", self.path),
            format!("`{key}` is {value}: expected at least {least}"),
        );
    }
    fn positive(&mut self, key: &str, value: f64) {
        self.that(value > 0.0 && value.is_finite(), key, value, "more than 0");
    }
    fn not_negative(&mut self, key: &str, value: f64) {
        self.that(value >= 0.0 && value.is_finite(), key, value, "at least 0");
    }
    /// In \[0, 1\].
    fn fraction(&mut self, key: &str, value: f64) {
        self.that((0.0..=1.0).contains(&value), key, value, "0 to 1");
    }
    /// In \[0, 1).
    fn below_one(&mut self, key: &str, value: f64) {
        self.that(
            (0.0..1.0).contains(&value),
            key,
            value,
            "at least 0 and below 1",
        );
    }
    fn that(&mut self, fine: bool, key: &str, value: f64, expected: &str) {
        self.findings.check(
            fine,
            format!("{}.{key}", self.path),
            format!("`{key}` is {value}: expected {expected}"),
        );
    }
    fn say(&mut self, fine: bool, key: &str, message: impl Into<String>) {
        self.findings
            .check(fine, format!("{}.{key}", self.path), message);
    }
}
