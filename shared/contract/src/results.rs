//! What a job found: small typed facts inside its manifest; the tensors lie in its outputs.
//!
//! Numbers that may be undefined are `Option`, never NaN: JSON has no NaN, and a missing number
//! must show as missing.

use crate::{Digest, ObjectRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One shard of a sharded artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRef {
    /// Where its bytes are.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Index of its first row in the whole.
    pub first: u64,
    /// Number of rows.
    pub count: u64,
}

/// An imported image set. Every shard is a safetensors file with `images` u8 \[n, channels,
/// resolution, resolution\] and, where labels exist, `labels` i64 \[n\] (and `coarse_labels` i64
/// \[n\]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSet {
    /// Number of images.
    pub count: u64,
    /// 1 or 3.
    pub channels: u32,
    /// Side in pixels.
    pub resolution: u32,
    /// Number of classes; 0 when unlabelled.
    pub classes: u32,
    /// Number of coarse classes; 0 when there are none.
    #[serde(default)]
    pub coarse_classes: u32,
    /// Names of the classes, where known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Digest over the digests of the images (shape and pixels) in order: the same for every
    /// container and shard size.
    pub content: Digest,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

/// All features of an image set. Every shard is a safetensors file with `features` f32 \[n, dim\];
/// the manifest's own output `stats.safetensors` holds `mean` and `std` (ddof 1) f64 \[dim\].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// Rows.
    pub count: u64,
    /// Width D.
    pub dim: u32,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

/// An adapted backbone. Outputs: `backbone.safetensors` (the teacher's backbone under upstream's
/// names, its `heads` beside them) and `curve.json` (volatile: loss, learning rate and spread by
/// step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptResult {
    /// Optimiser steps.
    pub steps: u64,
    /// Feature width D.
    pub dim: u32,
    /// Mean loss over the last epoch.
    pub loss: f64,
    /// Mean standard deviation of the teacher's outputs over the last batch; towards 0 when
    /// training collapses.
    pub spread: f64,
}

/// How well features tell labels apart, as fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureEvaluationResult {
    /// Rows with labels.
    pub count: u64,
    /// Width D.
    pub dim: u32,
    /// Distinct labels.
    pub classes: u32,
    /// Rows whose label their k nearest other rows vote for.
    pub knn_accuracy: f64,
    /// Held-out rows (every fifth) that a linear classifier of the others gets right.
    pub probe_accuracy: f64,
}

/// Agreement of clusters with labels (spec §10.6), as fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterQuality {
    /// Normalised mutual information, arithmetic mean.
    pub nmi: f64,
    /// Adjusted mutual information, arithmetic mean.
    pub anmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Accuracy after Hungarian matching, upstream's rule.
    pub acc: f64,
}

/// A clustering. Output `assignments.safetensors`: `raw_ids` i64 \[n\], `ids` i64 \[n\] (compact),
/// `counts` i64 \[used\], `prior` f64 \[used\], and `confidence` f32 \[n\] (maximum log-softmax)
/// for TEMI. TEMI also writes `heads.safetensors` (teacher of the best head, upstream names).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterResult {
    /// Images.
    pub count: u64,
    /// C: cluster slots asked for.
    pub clusters: u32,
    /// U: clusters with at least one image.
    pub used: u32,
    /// r_C = U / C, by one division (spec §6.1).
    pub utilisation: f64,
    /// Entropy of p(c) in nats.
    pub marginal_entropy: f64,
    /// KL(uniform over used clusters || p) in nats.
    pub kl_uniform: f64,
    /// Images of the smallest and of the largest used cluster.
    pub smallest: u64,
    /// See `smallest`.
    pub largest: u64,
    /// Mean of the maximum softmax at temperature 0.1, for TEMI.
    #[serde(default)]
    pub mean_confidence: Option<f64>,
    /// Share of (image, neighbour) pairs in the same cluster: of all images where neighbours were
    /// given; for k-means without them of the 50 nearest of at most 1,000 images; absent where a
    /// clustering reads no features.
    #[serde(default)]
    pub neighbour_agreement: Option<f64>,
    /// Sum of squared distances, for k-means.
    #[serde(default)]
    pub inertia: Option<f64>,
    /// Chosen head and its loss in the last epoch, for TEMI.
    #[serde(default)]
    pub best_head: Option<(u32, f64)>,
    /// Agreement with labels, where labels exist.
    #[serde(default)]
    pub quality: Option<ClusterQuality>,
}

/// One probe of the bound search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// C.
    pub clusters: u32,
    /// U of every seed.
    pub used: Vec<u32>,
    /// Mean utilisation over the seeds.
    pub utilisation: f64,
    /// Standard deviation (ddof 1) of the utilisation over the seeds; absent for a single seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_std: Option<f64>,
    /// Whether utilisation > alpha.
    pub passes: bool,
}

/// What the bound search wants next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum BoundDecision {
    /// Cluster at these C, then ask again.
    Probe {
        /// Ascending.
        clusters: Vec<u32>,
    },
    /// The search is over.
    Found {
        /// Largest C whose utilisation exceeds alpha; absent when even the first C fails.
        c_max: Option<u32>,
        /// Why it ended, for people.
        reason: String,
    },
}

/// Result of one step of the bound search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundResult {
    /// Every probe so far, ascending by C.
    pub probes: Vec<Probe>,
    /// What next.
    pub decision: BoundDecision,
}

/// A training segment. Outputs: `ema.safetensors` (EMA weights, upstream names),
/// `state.safetensors` (everything needed to go on bit-exactly), `curve.json` (volatile: loss,
/// gradient norm, learning rate, images per second by kimg).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    /// Images seen since the very start.
    pub nimg: u64,
    /// Optimiser steps since the very start.
    pub steps: u64,
    /// Label slots of the network; 0 when unconditional.
    pub label_dim: u32,
    /// Parameters of the network.
    pub parameters: u64,
    /// Mean loss per pixel over the last tick.
    pub loss: Option<f64>,
}

/// A sample set. Every shard is a safetensors file with `images` u8 \[n, channels, resolution,
/// resolution\], `labels` i64 \[n\] (−1 when unconditional) and `seeds` i64 \[n\].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSetResult {
    /// Number of images.
    pub count: u64,
    /// 1 or 3.
    pub channels: u32,
    /// Side in pixels.
    pub resolution: u32,
    /// Seed of the first image; seeds are consecutive.
    pub first_seed: u64,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

/// Features and moments of one image shard. Outputs: `features.safetensors` (`features` f32 \[n,
/// dim\]; `logits` f32 \[n, classes\] where the extractor has them), `moments.safetensors` (`count`
/// i64 \[1\], `sum` f64 \[dim\], `outer` f64 \[dim, dim\] = XᵀX) and `space.json` (what made the
/// features: name, digest, precision).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureResult {
    /// Rows.
    pub count: u64,
    /// Width D.
    pub dim: u32,
}

/// The reference side. Output `reference.safetensors`: `mu` f64 \[dim\], `sigma` f64 \[dim, dim\]
/// (ddof 1), `root` f64 \[dim, rank\] (root rootᵀ = sigma; columns of vanishing eigenvalues are
/// left out). A reference that was cut to a subset also has `features.safetensors`, its only shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceResult {
    /// Images behind it.
    pub count: u64,
    /// Width D.
    pub dim: u32,
    /// Feature shards in order, for metrics that need single features.
    pub shards: Vec<ShardRef>,
}

/// One score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number; absent when it could not be computed.
    pub value: Option<f64>,
    /// Standard deviation within the metric itself (KID subsets, IS splits), if it has one.
    #[serde(default)]
    pub std: Option<f64>,
    /// Why there is no number.
    #[serde(default)]
    pub missing: Option<String>,
}

/// Scores by metric name. Output, where `confidence` was asked for: `confidence.safetensors` with
/// `log_confidence` f32 \[n\] (maximum log-softmax of the TEMI head) and `cluster` i64 \[n\], in
/// seed order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    /// Images judged.
    pub count: u64,
    /// Images of the reference.
    pub reference_count: u64,
    /// By metric name (see the metric table of the docs).
    pub scores: BTreeMap<String, Score>,
}

/// What a job found, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobResult {
    /// Import.
    Import(ImageSet),
    /// Adapt.
    Adapt(AdaptResult),
    /// Fit: output `extractor.safetensors`.
    Fit {
        /// Feature width.
        dim: u32,
    },
    /// Extract: output `features.safetensors`.
    Extract {
        /// Rows.
        count: u64,
        /// Width D.
        dim: u32,
    },
    /// Features.
    Features(FeatureSet),
    /// FeatureEvaluation.
    #[serde(rename = "judge")]
    FeatureEvaluation(FeatureEvaluationResult),
    /// Neighbours: output `neighbours.safetensors` with `indices` i32 \[n, k\] and `similarities`
    /// f32 \[n, k\]. A part of a shared search: output `candidates.safetensors` with
    /// `indices.<block>` i32 and `similarities.<block>` \[rows, ≤ k\] of each block it met.
    Neighbours {
        /// Rows.
        count: u64,
        /// Neighbours per row.
        k: u32,
    },
    /// Cluster.
    Cluster(ClusterResult),
    /// Bound.
    Bound(BoundResult),
    /// Train.
    Train(TrainResult),
    /// Sample: output `images.safetensors`.
    Sample {
        /// Images.
        count: u64,
        /// Seed of the first.
        first_seed: u64,
        /// 1 or 3.
        channels: u32,
        /// Side in pixels.
        resolution: u32,
    },
    /// SampleSet.
    SampleSet(SampleSetResult),
    /// Measure.
    Measure(MeasureResult),
    /// Reference.
    Reference(ReferenceResult),
    /// Score.
    Score(ScoreResult),
    /// Report: outputs `report.html`, `report.json` and CSV files.
    Report {
        /// The answer in one line.
        headline: String,
    },
}

impl JobResult {
    /// A copy whose shard references carry no object keys: those name attempts, and two runs of the
    /// same work differ in them.
    pub fn without_locations(&self) -> JobResult {
        let mut copy = self.clone();
        let shards = match &mut copy {
            JobResult::Import(set) => &mut set.shards,
            JobResult::Features(set) => &mut set.shards,
            JobResult::SampleSet(set) => &mut set.shards,
            JobResult::Reference(set) => &mut set.shards,
            _ => return copy,
        };
        for shard in shards {
            shard.object.object.clear();
        }
        copy
    }
}
