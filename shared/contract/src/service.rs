//! The services: which program performs which kinds of job.

use crate::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A program of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Plans sweeps and collects results.
    Coordinator,
    /// Extracts features from images, and fits or adapts extractors.
    Extractor,
    /// Finds nearest neighbours and clusters features.
    Clusterer,
    /// Searches the upper bound C_max by the utilisation of earlier clusterings.
    Bounds,
    /// Trains networks on images and their condition.
    Trainer,
    /// Samples images from trained networks.
    Sampler,
    /// Measures image sets and computes scores.
    Evaluator,
    /// The `cedm` command, which commits imports itself.
    Cli,
}

impl Service {
    /// Every service that runs as a process of its own, in the order of the pipeline.
    pub const RUNNING: &'static [Service] = &[
        Service::Coordinator,
        Service::Extractor,
        Service::Clusterer,
        Service::Bounds,
        Service::Trainer,
        Service::Sampler,
        Service::Evaluator,
    ];

    /// Its name in metrics, logs and credentials.
    pub fn name(self) -> &'static str {
        match self {
            Service::Coordinator => "coordinator",
            Service::Extractor => "extractor",
            Service::Clusterer => "clusterer",
            Service::Bounds => "bounds",
            Service::Trainer => "trainer",
            Service::Sampler => "sampler",
            Service::Evaluator => "evaluator",
            Service::Cli => "cli",
        }
    }
    /// The queued kinds it performs, in the order of the pipeline.
    pub fn kinds(self) -> Vec<Kind> {
        Kind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.service() == self && kind.is_queued())
            .collect()
    }
}
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
