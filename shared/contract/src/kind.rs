//! The kinds of work, in the order in which a batch walks through them.

use crate::ContractError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $token:literal by $service:ident, version $version:literal;)*) => {
        /// A kind of work: a token of the job subject and the first thing hashed into a job key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every kind, in walking order.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The token used in subjects, metrics and logs.
            pub fn token(self) -> &'static str {
                match self { $(Kind::$variant => $token,)* }
            }
            /// The service that performs it.
            pub fn service(self) -> Service {
                match self { $(Kind::$variant => Service::$service,)* }
            }
            /// Raised whenever the algorithm behind the kind changes its numbers, so that old
            /// results are not reused.
            pub fn algorithm_version(self) -> u32 {
                match self { $(Kind::$variant => $version,)* }
            }
        }
    };
}

kinds! {
    /// An image set turned into shards; committed by `cedm import`, never queued.
    Import = "import" by Cli, version 1;
    /// A backbone adapted to an image set by DINO training, or a small one trained from nothing
    /// (spec §12).
    Adapt = "adapt" by Extractor, version 1;
    /// What an extractor learns from the data before it can extract (the PCA basis).
    Fit = "fit" by Extractor, version 1;
    /// Features of one image shard.
    Extract = "extract" by Extractor, version 2;
    /// All feature shards of a set, with mean and standard deviation.
    Features = "features" by Extractor, version 1;
    /// How well features tell labels apart: k-nearest-neighbour accuracy and a linear probe.
    #[serde(rename = "judge")]
    FeatureEvaluation = "judge" by Extractor, version 1;
    /// Exact cosine nearest neighbours of a feature set (spec §3).
    Neighbours = "neighbours" by Clusterer, version 1;
    /// Cluster ids of a feature set: TEMI, k-means, ground truth or imported (spec §4, §5).
    Cluster = "cluster" by Clusterer, version 3;
    /// One step of the upper-bound search: what to probe next, or C_max (spec §6).
    Bound = "bound" by Bounds, version 1;
    /// One segment of a training run, from one snapshot to the next (spec §7).
    Train = "train" by Trainer, version 2;
    /// One shard of a sample set (spec §9).
    Sample = "sample" by Sampler, version 2;
    /// All shards of a sample set.
    SampleSet = "sample_set" by Sampler, version 1;
    /// Features and float64 moments of one image shard in an evaluation feature space (spec §10).
    Measure = "measure" by Evaluator, version 2;
    /// The reference side of a metric: merged moments and their matrix root.
    Reference = "reference" by Evaluator, version 1;
    /// The scores of one sample set against a reference.
    Score = "score" by Evaluator, version 2;
    /// The report of a finished sweep; committed by the coordinator, never queued.
    Report = "report" by Coordinator, version 1;
}

impl Kind {
    /// Whether jobs of this kind travel through the queue.
    pub fn is_queued(self) -> bool {
        !matches!(self, Kind::Import | Kind::Report)
    }
}
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}
impl FromStr for Kind {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.token() == text)
            .ok_or_else(|| ContractError::Malformed {
                what: "job kind",
                found: text.chars().take(80).collect(),
                expected: "one of the kinds that `cedm explain --kinds` lists",
            })
    }
}

/// A program of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Plans sweeps and folds results.
    Coordinator,
    /// Images to features.
    Extractor,
    /// Features to cluster ids.
    Clusterer,
    /// Utilisation history to C_max.
    Bounds,
    /// Images and condition to weights.
    Trainer,
    /// Weights to images.
    Sampler,
    /// Images to scores.
    Evaluator,
    /// The `cedm` command.
    Cli,
}

impl Service {
    /// Every service that runs as a process of its own, in walking order.
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
    /// The queued kinds it performs, in walking order.
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
