//! The kinds of job, in the order of the pipeline, one file each.
//!
//! A kind's file holds everything about it: parameters, inputs, result, the names of its outputs
//! and of the tensors in them, the service that performs it and the version of its algorithm. The
//! list at the end of this file has one line per kind; from it come [`Kind`], [`JobSpec`] and
//! [`JobResult`].

pub mod import;

pub mod adapt;
pub mod extract;
pub mod feature_evaluation;
pub mod features;
pub mod fit;

pub mod bound;
pub mod cluster;
pub mod neighbours;

pub mod train;

pub mod sample;
pub mod sample_set;

pub mod measure;
pub mod reference;
pub mod score;

pub mod report;

use crate::{ContractError, Inputs, Service, ShardRef};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One kind of job, implemented by the type of its parameters.
pub trait JobKind: ListedKind {
    /// The service that performs it.
    const SERVICE: Service;
    /// Raised whenever the algorithm behind the kind changes its numbers, so that old results are
    /// not reused: it is part of the job key.
    const VERSION: u32;
    /// Whether its jobs travel through the queue; the others are committed by the program that
    /// makes them.
    const IS_QUEUED: bool = true;
    /// Longest time in seconds without progress before a job counts as hanging, far above the
    /// longest step that reports none. The default is for jobs that report every batch, step, tile
    /// or shard.
    const STALL_AFTER_S: u64 = 1_800;
    /// What its jobs read, with a `T` for each input.
    type Inputs<T>: Inputs<T>;
    /// What its jobs found out, for the manifest.
    type Result;

    /// Shards that the result names beside the manifest's outputs.
    fn shards(_: &Self::Result) -> Vec<&ShardRef> {
        Vec::new()
    }
    /// The same, to be changed.
    fn shards_mut(_: &mut Self::Result) -> Vec<&mut ShardRef> {
        Vec::new()
    }
}

/// What the list of kinds knows of each of them.
pub trait ListedKind: Sized + Into<JobSpec> {
    /// The kind whose parameters this type holds.
    const KIND: Kind;
    /// These parameters, where `spec` is of this kind.
    fn in_spec(spec: &JobSpec) -> Option<&Self>;
    /// The result, where it is of this kind.
    fn in_result(result: &JobResult) -> Option<&<Self as JobKind>::Result>
    where
        Self: JobKind;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $token:literal, $module:ident::$params:ident;)*) => {
        /// A kind of job: a token of the job's subject, and the first thing hashed into its key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind { $($(#[$doc])* #[serde(rename = $token)] $variant,)* }

        impl Kind {
            /// Every kind, in the order of the pipeline.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The token used in subjects, metrics and logs.
            pub fn token(self) -> &'static str {
                match self { $(Kind::$variant => $token,)* }
            }
            /// The service that performs it.
            pub fn service(self) -> Service {
                match self { $(Kind::$variant => <$module::$params as JobKind>::SERVICE,)* }
            }
            /// Version of the algorithm behind the kind, part of every job key:
            /// [`JobKind::VERSION`].
            pub fn algorithm_version(self) -> u32 {
                match self { $(Kind::$variant => <$module::$params as JobKind>::VERSION,)* }
            }
            /// Seconds without progress after which a job counts as hanging:
            /// [`JobKind::STALL_AFTER_S`].
            pub fn stall_after_s(self) -> u64 {
                match self { $(Kind::$variant => <$module::$params as JobKind>::STALL_AFTER_S,)* }
            }
            /// Whether jobs of this kind travel through the queue.
            pub fn is_queued(self) -> bool {
                match self { $(Kind::$variant => <$module::$params as JobKind>::IS_QUEUED,)* }
            }
        }

        /// The parameters of a job, by kind: everything beside the inputs that its result depends
        /// on.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum JobSpec { $($(#[$doc])* #[serde(rename = $token)] $variant($module::$params),)* }

        impl JobSpec {
            /// The kind of these parameters.
            pub fn kind(&self) -> Kind {
                match self { $(JobSpec::$variant(_) => Kind::$variant,)* }
            }
        }

        /// What a job found out, by kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum JobResult {
            $($(#[$doc])* #[serde(rename = $token)] $variant(<$module::$params as JobKind>::Result),)*
        }

        impl JobResult {
            /// The shards that it names.
            pub fn shards(&self) -> Vec<&ShardRef> {
                match self {
                    $(JobResult::$variant(result) => <$module::$params as JobKind>::shards(result),)*
                }
            }
            fn shards_mut(&mut self) -> Vec<&mut ShardRef> {
                match self {
                    $(JobResult::$variant(result) => {
                        <$module::$params as JobKind>::shards_mut(result)
                    })*
                }
            }
        }

        $(
            impl From<$module::$params> for JobSpec {
                fn from(params: $module::$params) -> Self {
                    JobSpec::$variant(params)
                }
            }
            impl ListedKind for $module::$params {
                const KIND: Kind = Kind::$variant;
                fn in_spec(spec: &JobSpec) -> Option<&Self> {
                    match spec {
                        JobSpec::$variant(params) => Some(params),
                        _ => None,
                    }
                }
                fn in_result(result: &JobResult) -> Option<&<Self as JobKind>::Result> {
                    match result {
                        JobResult::$variant(result) => Some(result),
                        _ => None,
                    }
                }
            }
        )*
    };
}

kinds! {
    /// An image set turned into shards.
    Import = "import", import::ImportParams;
    /// A backbone adapted to an image set by DINO training, or a small one trained from nothing.
    Adapt = "adapt", adapt::AdaptParams;
    /// What an extractor learns from an image set before it can extract (the basis of PCA).
    Fit = "fit", fit::FitParams;
    /// Features of one image shard.
    Extract = "extract", extract::ExtractParams;
    /// All feature shards of an image set, with mean and standard deviation.
    Features = "features", features::FeaturesParams;
    /// How well features tell labels apart.
    FeatureEvaluation = "judge", feature_evaluation::FeatureEvaluationParams;
    /// Nearest neighbours of every row of a feature set.
    Neighbours = "neighbours", neighbours::NeighboursParams;
    /// Cluster ids of an image set.
    Cluster = "cluster", cluster::ClusterParams;
    /// One step of the search for the upper bound C_max.
    Bound = "bound", bound::BoundParams;
    /// One segment of a training run.
    Train = "train", train::TrainParams;
    /// One shard of a sample set.
    Sample = "sample", sample::SampleParams;
    /// All shards of a sample set.
    SampleSet = "sample_set", sample_set::SampleSetParams;
    /// Features and moments of one image shard in an evaluation feature space.
    Measure = "measure", measure::MeasureParams;
    /// The reference side of a score: merged moments and their matrix root.
    Reference = "reference", reference::ReferenceParams;
    /// The scores of one sample set against a reference.
    Score = "score", score::ScoreParams;
    /// The report of a finished sweep.
    Report = "report", report::ReportParams;
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

impl JobResult {
    /// The shards and the number of images of an image set or a sample set; `None` for other
    /// results.
    pub fn images(&self) -> Option<(&[ShardRef], u64)> {
        match self {
            JobResult::Import(set) => Some((&set.shards, set.count)),
            JobResult::SampleSet(set) => Some((&set.shards, set.count)),
            _ => None,
        }
    }
    /// A copy whose shards carry no object keys: those name attempts, and two runs of the same work
    /// differ in them.
    pub fn without_locations(&self) -> JobResult {
        let mut copy = self.clone();
        for shard in copy.shards_mut() {
            shard.object.object.clear();
        }
        copy
    }
}
