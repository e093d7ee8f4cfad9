//! The clusterer: features in; nearest neighbours, cluster ids and their prior out (spec §§3–5).
//!
//! It performs `neighbours` and `cluster` jobs. The numbers come from `cedm-clustering` and `cedm-maths`; here are the recipes,
//! the artefacts and the files. Nothing here draws random numbers.

#![forbid(unsafe_code)]

mod artefact;
mod authors;
mod compute;
mod inputs;
mod read;
mod run;
mod worker;

pub use artefact::{Artefact, Clustering, Context};
pub use authors::{Layout, write_pt};
pub use compute::{cluster_kmeans, cluster_temi, neighbours};
pub use read::{read_features, read_ids};
pub use run::{ExportArgs, NeighboursArgs, RunArgs};
pub use worker::ClustererWorker;
