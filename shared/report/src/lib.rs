//! The report of a sweep: one self-contained HTML file, the same results as JSON, and a CSV file of
//! every table.
//!
//! A pure function of a [`SweepOutcome`] and the bytes of the artefacts it names: it knows no
//! network, no clock and no tensor library, and writes nothing. What is missing is shown as missing
//! with its reason, and never as zero.
//!
//! [`render`] is the way in. Inside, a `ReportContext` answers questions about the outcome, each
//! module of `sections` makes one part of the page, `chart` draws, and each module of `csv_files`
//! makes one file.

#![forbid(unsafe_code)]

mod artefacts;
mod assignments;
mod chart;
mod context;
mod csv_files;
mod format;
mod measure;
mod page;
mod reasons;
mod section;
mod sections;
mod tiles;
mod training_curve;
mod trainings;

use cedm_catalogue::metrics::Metric;
use cedm_contract::ObjectRef;
use cedm_sweep::outcome::SweepOutcome;
use context::ReportContext;
use measure::Measure;

/// Where the bytes of artefacts come from.
pub trait Artefacts {
    /// The bytes of an object.
    ///
    /// # Errors
    /// A short reason for people; the report shows it where the picture or curve would be.
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String>;
}

impl<F: Fn(&ObjectRef) -> Result<Vec<u8>, String>> Artefacts for F {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        self(object)
    }
}

/// No artefact can be read: the report is made of the numbers alone.
pub struct NoArtefacts;

impl Artefacts for NoArtefacts {
    fn bytes(&self, _object: &ObjectRef) -> Result<Vec<u8>, String> {
        Err("the artefacts were not available when this report was made".to_owned())
    }
}

/// A file beside the HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the file, such as `scores.csv`.
    pub name: String,
    /// Content of the file.
    pub text: String,
}

/// A rendered report: the page, its data and its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer in one line; "no answer yet" where there is none.
    pub headline: String,
    /// `report.html`: opens in any browser and fetches nothing.
    pub html: String,
    /// `report.json`: the outcome itself, and the definitions of its scores.
    pub json: String,
    /// `scores.csv`, `clusterings.csv`, `jobs.csv`, …
    pub csvs: Vec<Attachment>,
}

/// The report of a sweep, finished or not.
pub fn render(outcome: &SweepOutcome, artefacts: &dyn Artefacts) -> Report {
    let merged = trainings::merged(outcome);
    let networks = merged.as_deref().unwrap_or(&outcome.cells);
    let context = ReportContext::new(outcome, networks, artefacts);
    let sections = sections::all(&context);
    Report {
        headline: outcome.answer.as_ref().map_or_else(
            || "no answer yet".to_owned(),
            |answer| answer.headline.clone(),
        ),
        html: page::document(&context, &sections),
        json: json(&context),
        csvs: csv_files::all(&context),
    }
}

/// The outcome with the definitions of its scores beside it.
fn json(context: &ReportContext) -> String {
    #[derive(serde::Serialize)]
    struct WithDefinitions<'a> {
        #[serde(flatten)]
        outcome: &'a SweepOutcome,
        metrics: Vec<&'static Metric>,
    }
    let document = WithDefinitions {
        outcome: context.outcome,
        metrics: Measure::metrics(context.measures()),
    };
    serde_json::to_string_pretty(&document)
        .expect("invariant: outcomes are plain data and always encode")
}
