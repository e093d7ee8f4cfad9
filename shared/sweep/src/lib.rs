//! The sweep: what a researcher asks for in one TOML file, and its results.
//!
//! [`SweepSpec::parse`] reads the file; every error points at line and column. [`Sweep`] is the
//! record that the store keeps at `sweep/<id>/spec`: the resolved spec, the image set, and the
//! file's own text. [`lifecycle`] says where a sweep stands. [`outcome::SweepOutcome`] holds its
//! results: `cedm status` and the report are made from it, and the planner derives it from
//! manifests.
//!
//! Pure data: no I/O, no async, no tensors.

#![forbid(unsafe_code)]

mod file;
mod findings;
pub mod lifecycle;
mod method;
pub mod outcome;
mod overrides;
mod presets;
mod record;
#[cfg(test)]
mod reference;
mod rules;
mod spec;
mod suggest;
mod training;

pub use findings::{Finding, SweepFileError};
pub use method::{Method, Reads};
pub use presets::{Preset, preset, preset_names};
pub use record::Sweep;
pub use rules::limits::MAX_FILE_BYTES;
pub use rules::training::training_faults;
pub use spec::{
    BoundSpec, CandidateRule, ClusteringSpec, Clusters, EvaluationSpec, ExtractorChoice, FileRef,
    NeighbourSpec, PAPER_SET_IMAGES, SamplingSpec, SweepSpec, TrainingSpec,
};
pub use training::largest_divisor;
