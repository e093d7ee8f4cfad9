//! Neighbours, clusters and the bound (spec §§3–6).

use crate::ObjectRef;
use serde::{Deserialize, Serialize};

/// Exact cosine nearest neighbours, the row itself excluded (spec §3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighboursParams {
    /// Neighbours per row.
    pub k: u32,
    /// One part of a search that several jobs share; absent for a whole search and for the merge of
    /// parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<NeighbourPart>,
}

/// A part of a search: it compares block `index` of the rows with itself and with the `of`/2 blocks
/// after it, in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourPart {
    /// Which block, from 0.
    pub index: u32,
    /// Blocks, and parts, in all: an odd number, so that every pair of blocks is compared once.
    pub of: u32,
}

/// One clustering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterParams {
    /// How.
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
    /// k-means (spec §5).
    Kmeans(KmeansParams),
    /// The labels of the image set.
    GroundTruth {
        /// Coarse labels instead of fine ones.
        coarse: bool,
    },
    /// A file of ids, one per image in data-set order (npy, or a PyTorch file as the C-EDM authors
    /// publish).
    Imported {
        /// The file.
        ids: ObjectRef,
    },
}

/// TEMI (spec §4.1–4.5; defaults of the paper's Table 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemiParams {
    /// H: heads trained side by side.
    pub heads: u32,
    /// Linear maps before the last layer, upstream's counting.
    pub layers: u32,
    /// Hidden width.
    pub hidden: u32,
    /// Bottleneck width.
    pub bottleneck: u32,
    /// beta of the loss: 0.6 for near-uniform use, 1 for the lower bound.
    pub beta: f64,
    /// Whether pairs are weighted by the teachers' agreement.
    pub weighted: bool,
    /// Whether the logarithm of the pointwise mutual information is clamped below at 0.
    #[serde(default)]
    pub positive_pmi: bool,
    /// Student temperature.
    pub student_temperature: f64,
    /// Teacher temperature at the start.
    pub teacher_temperature_start: f64,
    /// Teacher temperature after the warm-up.
    pub teacher_temperature: f64,
    /// Epochs of teacher temperature warm-up.
    pub teacher_temperature_warmup_epochs: u32,
    /// lambda of the running marginal.
    pub marginal_momentum: f64,
    /// Epochs.
    pub epochs: u32,
    /// Pairs per step.
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
    /// Betas of AdamW.
    pub betas: (f64, f64),
    /// Epsilon of AdamW.
    pub eps: f64,
    /// Teacher momentum.
    pub teacher_momentum: f64,
    /// Final teacher momentum of the cosine.
    pub teacher_momentum_end: f64,
    /// Epochs during which the last layer is frozen.
    pub freeze_last_layer_epochs: u32,
    /// Clip each gradient tensor to this norm; 0 for never.
    pub clip: f64,
    /// Standardise features by their stored mean and standard deviation.
    pub standardise: bool,
    /// L2-normalise features.
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
    /// Iterations at most.
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

/// How the grid between the last passing and the first failing C of the doubling phase is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fine", rename_all = "snake_case")]
pub enum FineGrid {
    /// Every multiple of `step` strictly between them; the highest passing one wins.
    Step {
        /// Distance of grid points.
        step: u32,
    },
    /// Bisection until the gap is at most `resolution`.
    Bisect {
        /// Gap at which to stop.
        resolution: u32,
    },
}

/// The upper-bound search (spec §6.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundParams {
    /// Utilisation must exceed this, strictly.
    pub alpha: f64,
    /// First C.
    pub start: u32,
    /// No C above this is tried; the number of images is a cap too.
    pub cap: u32,
    /// The second phase.
    pub fine: FineGrid,
    /// Clusterings per C; their mean utilisation counts.
    pub seeds: u32,
}

impl Default for BoundParams {
    fn default() -> Self {
        Self {
            alpha: 0.96,
            start: 50,
            cap: 12_800,
            fine: FineGrid::Step { step: 100 },
            seeds: 1,
        }
    }
}
