//! The report of a sweep: one self-contained HTML file, the same facts as JSON, and CSV files of
//! every table.
//!
//! A pure function of a [`SweepOutcome`] and the bytes of the artefacts it names. Knows no network,
//! no clock and no tensor library; writes nothing. What is missing is shown as missing, with its
//! reason, and never as zero.

#![forbid(unsafe_code)]

mod artefacts;
mod chart;
mod csv;
mod facts;
mod page;
mod section;
mod sections;
mod tiles;
mod words;

use cedm_contract::ObjectRef;

use cedm_catalogue::metrics::Metric;

use cedm_sweep::outcome::SweepOutcome;
use facts::Facts;

/// Where the bytes of artefacts come from.
pub trait Artefacts {
    /// The bytes of an object.
    ///
    /// # Errors
    /// A short reason for people; the report shows it where the picture or curve would stand.
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String>;
}

/// No artefacts at hand: the report is made of the numbers alone.
pub struct NoArtefacts;

impl Artefacts for NoArtefacts {
    fn bytes(&self, _object: &ObjectRef) -> Result<Vec<u8>, String> {
        Err("the artefacts were not at hand when this report was made".to_owned())
    }
}

/// A file beside the HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File name: `scores.csv`.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// A finished report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer in one line.
    pub headline: String,
    /// `report.html`: opens anywhere, asks for nothing.
    pub html: String,
    /// `report.json`: the outcome itself, and what its scores mean.
    pub json: String,
    /// `scores.csv`, `clusterings.csv`, `jobs.csv`, …
    pub csvs: Vec<Attachment>,
}

/// The outcome with the definitions of its scores beside it.
fn json(facts: &Facts) -> String {
    #[derive(serde::Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        outcome: &'a SweepOutcome,
        metrics: Vec<&'static Metric>,
    }
    let mut metrics: Vec<&'static Metric> = Vec::new();
    for measure in facts.measures() {
        if !metrics
            .iter()
            .any(|found| found.name == measure.metric.name)
        {
            metrics.push(measure.metric);
        }
    }
    let whole = Whole {
        outcome: facts.outcome,
        metrics,
    };
    serde_json::to_string_pretty(&whole)
        .expect("invariant: outcomes are plain data and always encode")
}

/// The report of a sweep, finished or not.
pub fn render(outcome: &SweepOutcome, artefacts: &dyn Artefacts) -> Report {
    let facts = Facts::new(outcome, artefacts);
    let sections = sections::all(&facts);
    Report {
        headline: outcome.answer.as_ref().map_or_else(
            || "no answer yet".to_owned(),
            |answer| answer.headline.clone(),
        ),
        html: page::document(&facts, &sections),
        json: json(&facts),
        csvs: csv::all(&facts),
    }
}
