//! Cluster ids of an image set: TEMI, k-means, ground truth or imported (spec §4, §5).

use super::JobKind;
use crate::{ObjectRef, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// The method, C and seed of one clustering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterParams {
    /// Where the ids come from, with the settings of that method.
    pub method: ClusterMethod,
    /// C: cluster slots. For ground truth and imported ids: the number of classes or distinct ids.
    pub clusters: u32,
    /// Seed of every random draw.
    pub seed: u64,
}

/// Where cluster ids come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum ClusterMethod {
    /// TEMI self-distillation (spec §4).
    Temi(TemiParams),
    /// k-means on the features (spec §5).
    Kmeans(KmeansParams),
    /// The labels of the image set.
    GroundTruth {
        /// Coarse labels instead of fine ones.
        coarse: bool,
    },
    /// A file of ids, one per image in data-set order (npy, or a PyTorch file as the C-EDM authors
    /// publish).
    Imported {
        /// The stored file of ids.
        ids: ObjectRef,
    },
}

impl JobKind for ClusterParams {
    const SERVICE: Service = Service::Clusterer;
    const VERSION: u32 = 3;
    // The seeding of k-means, and one pass over all rows.
    const STALL_AFTER_S: u64 = 7_200;
    type Inputs<T> = ClusterInputs<T>;
    type Result = ClusterResult;
}

inputs! {
    /// What a clustering reads.
    pub struct ClusterInputs<T> {
        /// The features (Features), for methods that read them.
        pub features: Option<T> as "features",
        /// The nearest neighbours (Neighbours), for TEMI.
        pub neighbours: Option<T> as "neighbours",
        /// The image set (Import): for ground truth, for the quality scores where labels exist, and
        /// so that a trainer can hold the images of its condition against its own.
        pub images: T as "images",
    }
}

/// The ids of every image, and what follows from them.
pub const ASSIGNMENTS: OutputName = OutputName::stable("assignments.safetensors");

/// The teacher of the best head of TEMI, under upstream's names.
pub const HEADS: OutputName = OutputName::stable("heads.safetensors");

/// The loss of every head by epoch of TEMI.
pub const CURVE: OutputName = OutputName::stable("curve.json");

/// Names and shapes of the tensors in [`ASSIGNMENTS`]; n images, C slots, U used clusters.
pub mod assignments {
    use crate::TensorName;

    /// Ids of the cluster slots, 0 to C − 1.
    pub const RAW_IDS: TensorName = TensorName::new("raw_ids", "i64 [n]");
    /// Ids of the used clusters, numbered without gaps: the network's labels.
    pub const IDS: TensorName = TensorName::new("ids", "i64 [n]");
    /// Images of every used cluster.
    pub const COUNTS: TensorName = TensorName::new("counts", "i64 [U]");
    /// p(c): the share of every used cluster.
    pub const PRIOR: TensorName = TensorName::new("prior", "f64 [U]");
    /// Maximum log-softmax of every image at temperature 0.1; TEMI alone.
    pub const CONFIDENCE: TensorName = TensorName::new("confidence", "f32 [n]");
    /// Centres of every cluster slot; k-means alone.
    pub const CENTROIDS: TensorName = TensorName::new("centroids", "f32 [C, D]");
}

/// A clustering in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterResult {
    /// Number of images that were clustered.
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
    /// Images of the largest used cluster.
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

/// Agreement of clusters with labels (spec §10.6), as fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterQuality {
    /// Normalised mutual information, arithmetic mean.
    pub nmi: f64,
    /// Adjusted mutual information, arithmetic mean.
    pub anmi: f64,
    /// Adjusted Rand index; 0 for what chance would give.
    pub ari: f64,
    /// Accuracy after Hungarian matching, upstream's rule.
    pub acc: f64,
}

/// TEMI (spec §4.1–4.5; defaults of the paper's Table 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemiParams {
    /// H: heads trained side by side.
    pub heads: u32,
    /// Linear maps before the last layer, upstream's counting.
    pub layers: u32,
    /// Width of the hidden layers of a head.
    pub hidden: u32,
    /// Width of the bottleneck before the last layer of a head.
    pub bottleneck: u32,
    /// beta of the loss: 0.6 for near-uniform use, 1 for the lower bound.
    pub beta: f64,
    /// Whether pairs are weighted by the teachers' agreement.
    pub weighted: bool,
    /// Whether the logarithm of the pointwise mutual information is clamped below at 0.
    #[serde(default)]
    pub positive_pmi: bool,
    /// Temperature of the student's softmax.
    pub student_temperature: f64,
    /// Teacher temperature at the start.
    pub teacher_temperature_start: f64,
    /// Teacher temperature after the warm-up.
    pub teacher_temperature: f64,
    /// Epochs of teacher temperature warm-up.
    pub teacher_temperature_warmup_epochs: u32,
    /// lambda of the running marginal.
    pub marginal_momentum: f64,
    /// Passes over the features.
    pub epochs: u32,
    /// Pairs (image, neighbour) per optimiser step.
    pub batch: u32,
    /// Learning rate before scaling by batch/256.
    pub base_lr: f64,
    /// Final learning rate before scaling by batch/256.
    pub min_lr: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: u32,
    /// Decoupled weight decay, on tensors with two or more dimensions.
    pub weight_decay: f64,
    /// Final weight decay of the cosine.
    pub weight_decay_end: f64,
    /// Decay rates of AdamW's first and second moment.
    pub betas: (f64, f64),
    /// Term that AdamW adds to the denominator.
    pub eps: f64,
    /// Momentum of the teacher's running mean at the start of its cosine schedule.
    pub teacher_momentum: f64,
    /// Final teacher momentum of the cosine.
    pub teacher_momentum_end: f64,
    /// Epochs during which the last layer is frozen.
    pub freeze_last_layer_epochs: u32,
    /// Clip each gradient tensor to this norm; 0 for never.
    pub clip: f64,
    /// Standardise features by their stored mean and standard deviation.
    pub standardise: bool,
    /// Scale every feature row to an L2 norm of 1.
    pub l2_norm: bool,
    /// Neighbours to draw partners from.
    pub neighbours: u32,
}

impl Default for TemiParams {
    fn default() -> Self {
        Self {
            heads: 50,
            layers: 2,
            hidden: 512,
            bottleneck: 256,
            beta: 0.6,
            weighted: true,
            positive_pmi: false,
            student_temperature: 0.1,
            teacher_temperature_start: 0.1,
            teacher_temperature: 0.1,
            teacher_temperature_warmup_epochs: 30,
            marginal_momentum: 0.9,
            epochs: 200,
            batch: 512,
            base_lr: 1e-4,
            min_lr: 1e-4,
            warmup_epochs: 20,
            weight_decay: 1e-4,
            weight_decay_end: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            teacher_momentum: 0.996,
            teacher_momentum_end: 0.996,
            freeze_last_layer_epochs: 1,
            clip: 0.0,
            standardise: false,
            l2_norm: false,
            neighbours: 50,
        }
    }
}

/// k-means as scikit-learn does it (spec §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KmeansParams {
    /// Starts; the lowest inertia is kept.
    pub starts: u32,
    /// Largest number of Lloyd iterations of one start.
    pub max_iterations: u32,
    /// Tolerance on the squared centre shift, relative to the mean variance of the features.
    pub tolerance: f64,
    /// Rows per mini-batch; 0 for full Lloyd iterations.
    pub mini_batch: u32,
}

impl Default for KmeansParams {
    fn default() -> Self {
        Self {
            starts: 10,
            max_iterations: 300,
            tolerance: 1e-4,
            mini_batch: 0,
        }
    }
}
