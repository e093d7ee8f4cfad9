//! Rules that a sweep file must satisfy beyond its types: ranges, known names, and combinations.

mod adapt;
mod bound;
mod clusters;
pub(crate) mod limits;
mod scores;
pub(crate) mod training;

use crate::{
    ExtractorChoice, SweepSpec,
    file::{BoundFile, CandidatesFile},
    findings::Findings,
    method::ClusteringFile,
    suggest::did_you_mean,
};
use cedm_catalogue::extractors::{EXTRACTORS, extractor};

/// Rules about the file as written, for keys that the resolved spec no longer shows.
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
    if let Some(CandidatesFile::Word(word)) = &bound.candidates {
        findings.add(
            "bound.candidates",
            format!("`candidates` is \"{word}\": expected how many, or a list such as [10, 20]"),
        );
    }
    let listed = matches!(bound.candidates, Some(CandidatesFile::List(_)));
    findings.check(
        !listed || bound.candidate_rule.is_none(),
        "bound.candidate_rule",
        "the candidates are listed: no rule places them",
    );
}

/// Rules about the resolved spec.
pub(super) fn resolved(spec: &SweepSpec, findings: &mut Findings) {
    findings.check(
        !spec.image_set.trim().is_empty(),
        "images.set",
        "the name of the image set is empty: expected a name that `cedm import` gave",
    );
    check_extractor(&spec.extractor, "extractor", findings);
    adapt::resolved(spec, findings);
    clusters::resolved(spec, findings);
    bound::resolved(spec, findings);
    training::resolved(&spec.training, findings);
    scores::sampling(spec, findings);
    scores::evaluations(spec, findings);
    for (path, reason) in limits::beyond(spec) {
        findings.add(path, reason);
    }
}

/// Checks an extractor's name and that exactly the keys it needs are given.
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
    // A network that is trained from scratch has no file of weights.
    let from_scratch = choice.adapt.is_some() && known.adapts && known.dim.is_none();
    match &choice.weights {
        None => findings.check(
            !known.needs_weights || from_scratch,
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

/// A message such as "unknown metric `precison`; did you mean `precision`?"
fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    match did_you_mean(found, known.iter().copied()) {
        Some(close) => format!("unknown {what} `{found}`; did you mean `{close}`?"),
        None => format!("unknown {what} `{found}`; known are {}", known.join(", ")),
    }
}

/// Checks the keys of one section; every message names the key, its value and what was expected.
pub(crate) struct Section<'a> {
    pub(crate) path: &'a str,
    pub(crate) findings: &'a mut Findings,
}

impl Section<'_> {
    pub(crate) fn at_least(&mut self, key: &str, value: u64, least: u64) {
        self.findings.check(
            value >= least,
            format!("{}.{key}", self.path),
            format!("`{key}` is {value}: expected at least {least}"),
        );
    }
    pub(crate) fn positive(&mut self, key: &str, value: f64) {
        self.check_value(value > 0.0 && value.is_finite(), key, value, "more than 0");
    }
    pub(crate) fn not_negative(&mut self, key: &str, value: f64) {
        self.check_value(value >= 0.0 && value.is_finite(), key, value, "at least 0");
    }
    /// Requires a value in \[0, 1\].
    pub(crate) fn fraction(&mut self, key: &str, value: f64) {
        self.check_value((0.0..=1.0).contains(&value), key, value, "0 to 1");
    }
    /// Requires a value in \[0, 1).
    pub(crate) fn below_one(&mut self, key: &str, value: f64) {
        self.check_value(
            (0.0..1.0).contains(&value),
            key,
            value,
            "at least 0 and below 1",
        );
    }
    pub(crate) fn check_value(&mut self, fine: bool, key: &str, value: f64, expected: &str) {
        self.findings.check(
            fine,
            format!("{}.{key}", self.path),
            format!("`{key}` is {value}: expected {expected}"),
        );
    }
    pub(crate) fn check(&mut self, fine: bool, key: &str, message: impl Into<String>) {
        self.findings
            .check(fine, format!("{}.{key}", self.path), message);
    }
}
