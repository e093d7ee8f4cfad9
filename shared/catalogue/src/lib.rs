//! The catalogue: the feature extractors and the metrics that a sweep file may name, with their
//! definitions, requirements and sources.
//!
//! Tables of plain data, from which the sweep file's checks, `cedm extractors`, the evaluator, the
//! report and the documents are made. This crate imports no other crate of the workspace.
//!
//! Modules in the order of the pipeline: [`extractors`] (images to features), [`metrics`] (scores
//! of samples).

#![forbid(unsafe_code)]

pub mod extractors;
pub mod metrics;
