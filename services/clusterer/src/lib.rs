//! The clusterer: features in; nearest neighbours, cluster ids and their prior out (spec §§3–5).
//!
//! It performs `neighbours` and `cluster` jobs. The numbers come from `cedm-clustering` and
//! `cedm-maths`; here are the recipes, the artefacts and the files. Nothing here draws random
//! numbers.

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

pub use artefact::{Artefact, Clustering, Context, Course};
pub use authors::{Layout, write_pt};
pub use compute::{cluster_kmeans, cluster_mini_batch, cluster_temi, neighbours};
pub use feature_files::FeatureFiles;
pub use read::{read_features, read_ids, read_labels};
pub use run::{ExportArgs, GalleryArgs, Memory, NeighboursArgs, RunArgs};
pub use worker::ClustererWorker;
