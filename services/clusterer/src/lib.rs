//! The clusterer service: features in; nearest neighbours, cluster ids and their prior out (spec
//! §3–§5). It performs `neighbours` and `cluster` jobs.
//!
//! It reads features and neighbours, and writes `neighbours.safetensors`, or
//! `assignments.safetensors` with `heads.safetensors` for TEMI. The algorithms are in
//! `cedm-clustering` and the scores of a clustering in `cedm-maths`; nothing here draws random
//! numbers.
//!
//! Modules in the order of a job: `inputs`, `feature_files`, `read` and `authors` (input files in
//! memory or on disk, and the C-EDM authors' layout), `compute` (the algorithms, with checkpoints
//! and metrics), `artefact` (what is stored of a clustering), `worker` (jobs from the queue) and
//! `run` (the commands for plain files).

#![forbid(unsafe_code)]

mod artefact;
mod authors;
mod compute;
mod feature_files;
mod inputs;
pub mod metrics;
mod read;
mod run;
mod worker;

pub use artefact::{Artefact, Clustering, QualityInputs, RunStatistics};
pub use authors::{Layout, write_pt};
pub use compute::{cluster_kmeans, cluster_mini_batch, cluster_temi, neighbours};
pub use feature_files::FeatureFiles;
pub use read::{read_features, read_ids, read_labels};
pub use run::{ExportArgs, GalleryArgs, Memory, NeighboursArgs, RunArgs};
pub use worker::ClustererWorker;
