//! The sweep: what a researcher asks for in one TOML file, and what became of it.
//!
//! [`SweepSpec::parse`] reads the file; every error points at line and column. [`Sweep`] is what
//! the store keeps at `sweep/<id>/spec`: the checked spec, the image set it is about, and the
//! file's own text. [`outcome::SweepOutcome`] is what `cedm status`, the report and the JSON beside
//! it are made from; the planner folds it from manifests.
//!
//! Pure data: no I/O, no async, no tensors.

#![forbid(unsafe_code)]

mod file;
mod findings;
pub mod outcome;
mod overrides;
mod presets;
mod rules;
mod spec;
mod suggest;
mod training;

pub use findings::{Finding, SweepFileError};
pub use presets::{Preset, preset, preset_names};
pub use spec::{
    BoundSpec, ClusteringSpec, Clusters, EvaluationSpec, ExtractorChoice, FileRef, Method,
    NeighbourSpec, PAPER_SET_IMAGES, SamplingSpec, Sweep, SweepSpec, TrainingSpec,
};
pub use suggest::did_you_mean;
pub use training::largest_divisor;
