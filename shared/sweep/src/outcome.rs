//! The results of a sweep: everything that its report, `cedm status` and the JSON beside the report
//! are made from.
//!
//! Plain data, folded from manifests by the planner. What is missing is missing with its reason,
//! never zero.

mod answer;

pub use answer::{
    Agreement, Answer, Certainty, Comparison, Edge, Efficiency, Granularity, RunnerUp,
    UniformEffect,
};

use crate::SweepSpec;
use cedm_contract::{
    Digest, Input, JobKey, Kind, ObjectRef, Software, SweepId, Timings,
    kinds::{
        adapt::AdaptResult, bound::BoundResult, cluster::ClusterResult,
        feature_evaluation::FeatureEvaluationResult, import::ImageSet, sample_set::SampleSetResult,
        score::ScoreResult, train::TrainResult,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a sweep stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepState {
    /// Some jobs can still be done.
    Running,
    /// Everything asked for is there.
    Complete,
    /// Nothing more can be done, and some jobs failed.
    Incomplete,
}

/// How many jobs are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// Jobs with a manifest.
    pub done: u64,
    /// Of these: had one before the sweep was submitted.
    pub cached: u64,
    /// All inputs are there.
    pub ready: u64,
    /// Wait for other jobs of the sweep.
    pub waiting: u64,
    /// Are dead letters: they failed for good.
    pub dead: u64,
    /// Wait for a dead letter.
    pub blocked: u64,
}

/// An artefact: which manifest, and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Key of the job that made it.
    pub key: JobKey,
    /// Digest of the reproducible part of the result: [`cedm_contract::Manifest::digest`].
    pub digest: Digest,
}

/// The outcome of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepOutcome {
    /// Name of the sweep.
    pub sweep: SweepId,
    /// When it was submitted, in Unix milliseconds.
    pub submitted_ms: u64,
    /// When its last job finished; absent while nothing has.
    pub finished_ms: Option<u64>,
    /// The file as its author wrote it.
    pub toml: String,
    /// The file with every default and preset filled in.
    pub spec: SweepSpec,
    /// Whether the sweep is running, complete, or ended without some of its jobs.
    pub state: SweepState,
    /// Its jobs by state.
    pub jobs: JobCounts,
    /// The image set; absent when its manifest cannot be read.
    pub images: Option<ImagesOutcome>,
    /// The feature space in which images are clustered; absent while its features are not computed.
    #[serde(default)]
    pub features: Option<FeaturesOutcome>,
    /// The bound searches, in the order of the file.
    pub bounds: Vec<BoundOutcome>,
    /// Every clustering computed, probes of the bound search included: by name, then ascending C.
    pub clusterings: Vec<ClusteringOutcome>,
    /// Every network: in the order of the file, then ascending C.
    pub cells: Vec<CellOutcome>,
    /// The answer, once there is one.
    pub answer: Option<Answer>,
    /// What is not there, and why. Empty for a complete sweep.
    pub missing: Vec<Missing>,
    /// Every job with a manifest, in pipeline order.
    pub lineage: Vec<LineageNode>,
    /// Compute time and waiting time by kind of job, in pipeline order.
    pub costs: Vec<KindCost>,
}

/// The image set of the sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImagesOutcome {
    /// Its name in the sweep file.
    pub name: String,
    /// Manifest of the import.
    pub artefact: Artefact,
    /// What it holds, with its shards.
    pub set: ImageSet,
}

/// The feature space in which images are clustered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesOutcome {
    /// Name of the extractor.
    pub extractor: String,
    /// Width D of a feature row.
    pub dim: u32,
    /// Result of adapting the backbone, where that was asked for.
    pub adapted: Option<AdaptResult>,
    /// How well the features separate the labels, where there are labels.
    #[serde(rename = "judged")]
    pub evaluation: Option<FeatureEvaluationResult>,
}

/// The search for the upper bound C_max of one clustering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundOutcome {
    /// Name of the clustering that is searched.
    pub clustering: String,
    /// Utilisation must exceed this.
    pub alpha: f64,
    /// The newest step: probes with their utilisation, and C_max once found.
    pub result: Option<BoundResult>,
    /// C_max; absent while searching, or when even the first C fails.
    pub c_max: Option<u32>,
    /// C that are trained.
    pub candidates: Vec<u32>,
    /// The lower bound, where asked for.
    pub lower: Option<LowerBound>,
}

/// Used clusters of TEMI with beta = 1 (spec §6.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowerBound {
    /// (C, U) of every probe.
    pub probes: Vec<(u32, u32)>,
    /// Mean of U: the proposed C_min.
    pub mean: f64,
    /// Sample standard deviation of U; absent for one probe.
    pub std: Option<f64>,
}

/// One computed clustering: a method at one C with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusteringOutcome {
    /// Name in the sweep file.
    pub name: String,
    /// `temi`, `kmeans`, `ground_truth`, `imported`.
    pub method: String,
    /// C, the number of cluster slots.
    pub clusters: u32,
    /// Seed of the clustering.
    pub seed: u64,
    /// Whether it was made with beta = 1 for the lower bound.
    pub lower_bound: bool,
    /// Manifest of the job that made it.
    pub artefact: Artefact,
    /// Utilisation, cluster sizes and agreement with labels.
    pub result: ClusterResult,
    /// `assignments.safetensors`: ids, counts, prior and confidence.
    pub assignments: Option<ObjectRef>,
    /// Whether a network is conditioned on it.
    pub trained: bool,
}

/// One network: a condition at one granularity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellOutcome {
    /// Name of the network in tables: "temi C=20", "unconditional".
    pub label: String,
    /// Name of the clustering in the sweep file.
    pub clustering: String,
    /// Method of that clustering, as in [`ClusteringOutcome::method`].
    pub method: String,
    /// C; absent for the unconditional network.
    pub clusters: Option<u32>,
    /// Seed of the training, where the sweep trains every network with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// U; absent for the unconditional network.
    pub used: Option<u32>,
    /// r_C; absent for the unconditional network.
    pub utilisation: Option<f64>,
    /// The clustering behind it; index by key into [`SweepOutcome::clusterings`].
    pub condition: Option<Artefact>,
    /// By training images, ascending; the last is the final network.
    pub snapshots: Vec<SnapshotOutcome>,
}

/// One snapshot of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotOutcome {
    /// Training images so far.
    pub nimg: u64,
    /// Whether this is the end of the budget.
    pub last: bool,
    /// The training segment that ends here, once done.
    pub training: Option<TrainingOutcome>,
    /// Sample sets of the snapshot with labels from p(c).
    pub sets: Vec<SetOutcome>,
    /// By `<space>/<metric>`: mean and spread over the sets that have a number.
    pub summary: BTreeMap<String, Summary>,
    /// The last snapshot's set that is as large as those of earlier snapshots; absent where all are
    /// equally large, or there are no earlier ones.
    #[serde(default)]
    pub curve_set: Option<SetOutcome>,
    /// As `summary`, over as many images as each earlier snapshot is evaluated on: the points of
    /// curves along training.
    #[serde(default)]
    pub on_equal_terms: BTreeMap<String, Summary>,
    /// The sets with labels drawn uniformly instead of from p(c), from the same seeds.
    #[serde(default)]
    pub uniform_sets: Vec<SetOutcome>,
    /// As `summary`, of the sets with uniform labels.
    #[serde(default)]
    pub uniform: BTreeMap<String, Summary>,
}

/// One training segment, which ends at a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingOutcome {
    /// Manifest of the job that made it.
    pub artefact: Artefact,
    /// Images, steps, parameters, loss.
    pub result: TrainResult,
    /// `ema.safetensors`: the running mean of the weights.
    pub weights: Option<ObjectRef>,
    /// `curve.json`: loss, gradient norm, learning rate and rate by kimg.
    pub curve: Option<ObjectRef>,
    /// Wall time of the segment in seconds.
    pub seconds: f64,
}

/// One sample set of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetOutcome {
    /// Number of the set among those of its snapshot, from 0.
    pub index: u32,
    /// Number of images that the sweep asks for.
    pub images: u64,
    /// Seed of its first image.
    pub first_seed: u64,
    /// The merged set, once done.
    pub samples: Option<SamplesOutcome>,
    /// Scores by the name of the feature space.
    pub scores: BTreeMap<String, ScoresOutcome>,
}

/// A finished sample set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesOutcome {
    /// Manifest of the job that made it.
    pub artefact: Artefact,
    /// Size, first seed and shards of the set.
    pub result: SampleSetResult,
}

/// The scores of a sample set in one feature space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoresOutcome {
    /// Manifest of the job that made it.
    pub artefact: Artefact,
    /// Scores by the name of the metric.
    pub result: ScoreResult,
    /// `confidence.safetensors`: `log_confidence` f32 \[n\] and `cluster` i64 \[n\] of every image
    /// in seed order, where the metric `confidence` was asked for.
    #[serde(default)]
    pub confidence: Option<ObjectRef>,
}

/// A metric over the sets of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over the sets.
    pub mean: f64,
    /// Sample standard deviation over the sets; absent for one set.
    pub std: Option<f64>,
    /// Each value with its set's index.
    pub values: Vec<(u32, f64)>,
    /// Images of each set.
    pub images: u64,
    /// Images that the metric compares them with; 0 for metrics of the generated images alone.
    pub reference_images: u64,
}

/// Something asked for that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What: "score temi C=20 at 29 kimg, set 1".
    pub what: String,
    /// Why: "not finished", the error of the dead letter, the metric's own reason.
    pub reason: String,
    /// The job, where it has a key.
    pub key: Option<JobKey>,
    /// Whether it can still come.
    pub pending: bool,
    /// The network that lacks it; absent for what all networks share, and in outcomes written
    /// before this field existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<MissingCell>,
}

/// Where in the sweep something is missing: which network, which snapshot, which score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCell {
    /// Name of the clustering in the sweep file.
    pub clustering: String,
    /// C; absent for the unconditional network, and while the bound search has not found it.
    pub clusters: Option<u32>,
    /// Seed of the training, where the sweep trains every network with several; absent for what all
    /// seeds share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Training images of the snapshot; absent for the clustering itself.
    pub nimg: Option<u64>,
    /// `<space>/<metric>` where one score has no number; absent where a whole job is missing.
    pub score: Option<String>,
}

impl MissingCell {
    /// Whether it lies in this network.
    pub fn is_of(&self, cell: &CellOutcome) -> bool {
        self.clustering == cell.clustering
            && self.clusters == cell.clusters
            && (self.seed.is_none() || cell.seed.is_none() || self.seed == cell.seed)
    }
}

/// One job of the lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineageNode {
    /// Its name for people: "train temi C=20 to 29 kimg".
    pub id: String,
    /// Kind of the job.
    pub kind: Kind,
    /// Key of the job.
    pub key: JobKey,
    /// Digest of what it made.
    pub digest: Digest,
    /// Manifests that the job read, with their roles.
    pub inputs: Vec<Input>,
    /// When it was queued, started and finished.
    pub timings: Timings,
    /// Version, worker and device that made it.
    pub software: Software,
    /// Number of deliveries until it succeeded.
    pub attempts: u64,
    /// Whether it was there before the sweep was submitted.
    pub cached: bool,
    /// Numbers about the run.
    pub metrics: BTreeMap<String, f64>,
}

/// What the jobs of one kind cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindCost {
    /// Kind of the jobs that are counted.
    pub kind: Kind,
    /// Jobs with a manifest.
    pub jobs: u64,
    /// Of these: there before the sweep was submitted.
    pub cached: u64,
    /// Compute time of the jobs done for this sweep, in seconds.
    pub compute_s: f64,
    /// Mean time between queueing and start of the jobs done for this sweep, in seconds.
    pub mean_wait_s: Option<f64>,
}
