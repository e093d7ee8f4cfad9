//! The report of a finished sweep; committed by the coordinator, never queued.

use super::JobKind;
use crate::{OutputName, Service, SweepId, inputs::inputs};
use serde::{Deserialize, Serialize};

/// The sweep that is reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportParams {
    /// Name of the sweep.
    pub sweep: SweepId,
}

impl JobKind for ReportParams {
    const SERVICE: Service = Service::Coordinator;
    const VERSION: u32 = 1;
    const IS_QUEUED: bool = false;
    type Inputs<T> = ReportInputs<T>;
    type Result = ReportResult;
}

inputs! {
    /// What a report is made from.
    pub struct ReportInputs<T> {
        /// Every result that it shows; the role is what the plan calls the job.
        pub results: Vec<(String, T)> as "<job>",
    }
}

/// The report as one HTML page.
pub const PAGE: OutputName = OutputName::stable("report.html");

/// Everything on the page as data. The tables beside it are CSV files that name themselves.
pub const DATA: OutputName = OutputName::stable("report.json");

/// What the report says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportResult {
    /// The answer in one line.
    pub headline: String,
}
