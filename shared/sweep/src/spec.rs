//! The sweep: what a researcher asks for in one TOML file, parsed and checked.
//!
//! [`SweepSpec::parse`] reads the file; every error points at line and column. [`Sweep`] is what
//! the store keeps at `sweep/<id>/spec`: the checked spec, the image set it is about, and the
//! file's own text.

use crate::{SweepFileError, file};
use cedm_contract::{
    ContractError, ExtractorSpec, JobKey, ObjectRef, Precision, Priority, SCHEMA_VERSION, SweepId,
    kinds::{
        adapt::DinoParams,
        bound::BoundParams,
        cluster::{KmeansParams, TemiParams},
        sample::SamplerParams,
        train::{AugmentParams, NetworkSpec, OptimiserParams},
    },
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Images per sample set in the paper (spec §9).
pub const PAPER_SET_IMAGES: u64 = 50_000;

/// Most parts of a search for neighbours: the job that merges them names each one, and a message
/// holds 64 KiB.
const MAX_PARTS: u32 = 251;

/// A sweep as the store keeps it, written create-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Its name.
    pub id: SweepId,
    /// What is asked for.
    pub spec: SweepSpec,
    /// The import manifest of the image set.
    pub images: JobKey,
    /// The import manifest of its test split, where metrics need one.
    #[serde(default)]
    pub test_images: Option<JobKey>,
    /// Unix time in milliseconds.
    pub submitted_ms: u64,
    /// The file as its author wrote it.
    pub toml: String,
}

impl Sweep {
    /// A sweep as of now.
    pub fn new(
        id: SweepId,
        spec: SweepSpec,
        images: JobKey,
        test_images: Option<JobKey>,
        submitted_ms: u64,
        toml: String,
    ) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            id,
            spec,
            images,
            test_images,
            submitted_ms,
            toml,
        }
    }

    /// JSON bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("invariant: sweeps are plain data and always encode")
    }

    /// The sweep in `bytes`.
    ///
    /// # Errors
    /// [`ContractError::NewerSchema`] for a sweep of a newer program, [`ContractError::Decode`] for
    /// anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContractError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let decode = |error: serde_json::Error| ContractError::Decode {
            what: "sweep",
            reason: error.to_string(),
        };
        let version: Version = serde_json::from_slice(bytes).map_err(decode)?;
        if version.schema > SCHEMA_VERSION {
            return Err(ContractError::NewerSchema {
                what: "sweep",
                found: version.schema,
                supported: SCHEMA_VERSION,
            });
        }
        serde_json::from_slice(bytes).map_err(decode)
    }
}

/// What is asked for, with every default and preset filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSpec {
    /// The sweep's name, where the file gives one.
    pub name: Option<SweepId>,
    /// Urgency of its jobs.
    pub priority: Priority,
    /// Name of the imported image set.
    pub image_set: String,
    /// Name of the image set that is its test split.
    pub test_set: Option<String>,
    /// The feature space in which images are clustered.
    pub extractor: ExtractorChoice,
    /// How the search for nearest neighbours is shared.
    #[serde(default)]
    pub neighbours: NeighbourSpec,
    /// The clusterings that condition the networks; names are unique.
    pub clusterings: Vec<ClusteringSpec>,
    /// The bound search.
    pub bound: BoundSpec,
    /// The networks and their training.
    pub training: TrainingSpec,
    /// The sample sets.
    pub sampling: SamplingSpec,
    /// The feature spaces in which sample sets are judged; at least one, the first decides.
    pub evaluations: Vec<EvaluationSpec>,
}

impl SweepSpec {
    /// Reads a sweep file.
    ///
    /// # Errors
    /// [`SweepFileError`] with everything that is wrong, each with its line and column.
    pub fn parse(text: &str) -> Result<Self, SweepFileError> {
        file::parse(text)
    }

    /// Paths and URIs of the user's files that must be stored before the sweep can run.
    pub fn files(&self) -> BTreeSet<String> {
        let mut spec = self.clone();
        let mut paths = BTreeSet::new();
        spec.for_each_file(|file| {
            paths.insert(file.path.clone());
        });
        paths
    }

    /// Fills in where those files were stored.
    pub fn store_files(&mut self, stored: &BTreeMap<String, ObjectRef>) {
        self.for_each_file(|file| {
            if let Some(object) = stored.get(&file.path) {
                file.object = Some(object.clone());
            }
        });
    }

    fn for_each_file(&mut self, mut visit: impl FnMut(&mut FileRef)) {
        let extractors = std::iter::once(&mut self.extractor)
            .chain(self.evaluations.iter_mut().map(|e| &mut e.extractor));
        extractors
            .filter_map(|extractor| extractor.weights.as_mut())
            .for_each(&mut visit);
        for clustering in &mut self.clusterings {
            if let Method::Imported { ids } = &mut clustering.method {
                visit(ids);
            }
        }
    }

    /// The clustering whose bound search decides for clusterings that ask for `"bound"` or
    /// `"c_max"`: their own when it is TEMI, else the first TEMI clustering that searches.
    pub fn bound_source(&self, clustering: &ClusteringSpec) -> Option<&ClusteringSpec> {
        let searches =
            |c: &&ClusteringSpec| matches!(c.method, Method::Temi(_)) && c.clusters.needs_bound();
        if searches(&clustering) {
            return self.clusterings.iter().find(|c| c.name == clustering.name);
        }
        self.clusterings.iter().find(searches)
    }
}

/// A user's file: as named in the sweep file, and where it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Path or URI as written.
    pub path: String,
    /// Its bytes in the store, once they are there.
    pub object: Option<ObjectRef>,
}

/// A feature space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtractorChoice {
    /// Its name in [`cedm_catalogue::extractors::EXTRACTORS`].
    pub name: String,
    /// Its weights, where it needs a file.
    pub weights: Option<FileRef>,
    /// Feature width, where it can be chosen.
    pub dim: Option<u32>,
    /// Arithmetic.
    pub precision: Precision,
    /// How it is adapted to the image set first, where that is asked for (spec §12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapt: Option<DinoParams>,
}

impl ExtractorChoice {
    /// As a job parameter; `None` while its weights are not stored.
    pub fn spec(&self) -> Option<ExtractorSpec> {
        let weights = match &self.weights {
            None => None,
            Some(file) => Some(file.object.clone()?),
        };
        Some(ExtractorSpec {
            name: self.name.clone(),
            weights,
            dim: self.dim,
            precision: self.precision,
        })
    }
}

/// One way to group the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusteringSpec {
    /// Unique within the sweep; the method's name unless the file gives another.
    pub name: String,
    /// How.
    pub method: Method,
    /// Which granularities.
    pub clusters: Clusters,
    /// Seed of every random draw.
    pub seed: u64,
}

/// Where the condition of a network comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// TEMI.
    Temi(TemiParams),
    /// k-means.
    Kmeans(KmeansParams),
    /// The labels of the image set.
    GroundTruth {
        /// Coarse labels instead of fine ones.
        coarse: bool,
    },
    /// A file of ids.
    Imported {
        /// The file.
        ids: FileRef,
    },
    /// No condition at all.
    None,
}

impl Method {
    /// Its name in the sweep file.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Temi(_) => "temi",
            Method::Kmeans(_) => "kmeans",
            Method::GroundTruth { .. } => "ground_truth",
            Method::Imported { .. } => "imported",
            Method::None => "none",
        }
    }
}

/// Which granularities of a clustering are trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clusters {
    /// The candidates below the bound (see [`BoundSpec::candidates`]).
    Bound,
    /// C_max alone.
    CMax,
    /// These, ascending.
    List(Vec<u32>),
    /// What the labels say; for ground truth and no condition.
    Given,
}

impl Clusters {
    /// Whether a bound search must end first.
    pub fn needs_bound(&self) -> bool {
        matches!(self, Clusters::Bound | Clusters::CMax)
    }
}

/// How the search for nearest neighbours is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourSpec {
    /// Sets with more rows are searched in parts of about this many rows, each a job of its own; 0
    /// to search any set in one job. A part needs memory for two such blocks.
    pub part_rows: u32,
}

impl Default for NeighbourSpec {
    fn default() -> Self {
        Self { part_rows: 20_000 }
    }
}

impl NeighbourSpec {
    /// Parts that a set of `rows` rows is searched in: 1, or an odd number from 3 on.
    pub fn parts(&self, rows: u64) -> u32 {
        if self.part_rows == 0 || rows <= u64::from(self.part_rows) {
            return 1;
        }
        let least = rows
            .div_ceil(self.part_rows.into())
            .clamp(3, MAX_PARTS.into()) as u32;
        least | 1
    }
}

/// The bound search and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundSpec {
    /// The search.
    pub params: BoundParams,
    /// At most this many of the passing C ≤ C_max are trained, spread evenly on a logarithmic
    /// scale; C_max always is.
    pub candidates: u32,
    /// Whether to look for the lower bound too: TEMI with beta = 1 at large C (spec §6.2).
    pub lower_bound: bool,
    /// C of the lower-bound probes; C_max and its doublings when empty.
    pub lower_bound_clusters: Vec<u32>,
}

/// The networks and their training, presets and overrides resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    /// The preset it started from.
    pub preset: String,
    /// The network; `label_dim` is filled in per clustering, `channels` by the image set.
    pub network: NetworkSpec,
    /// Optimisation.
    pub optimiser: OptimiserParams,
    /// Augmentation.
    pub augment: AugmentParams,
    /// Arithmetic.
    pub precision: Precision,
    /// Seed of every random stream.
    pub seed: u64,
    /// Images after which each snapshot is taken: ascending, multiples of the batch; the last is
    /// the budget.
    pub snapshots_nimg: Vec<u64>,
}

impl TrainingSpec {
    /// Images shown in all.
    pub fn budget_nimg(&self) -> u64 {
        self.snapshots_nimg.last().copied().unwrap_or(0)
    }
}

/// The sample sets of every network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingSpec {
    /// Sets of the final network; their seeds follow on each other from 0 (spec §9).
    pub sets: u32,
    /// Images per set.
    pub images: u64,
    /// Images of the one set of each earlier snapshot; 0 for none.
    pub snapshot_images: u64,
    /// Further sets of every finished conditional network with labels drawn uniformly instead of
    /// from p(c), from the seeds of the first sets: what the prior is worth (paper, table 6).
    #[serde(default)]
    pub uniform_sets: u32,
    /// Images per job.
    pub shard_size: u32,
    /// The sampler.
    pub sampler: SamplerParams,
}

/// A feature space in which sample sets are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSpec {
    /// Unique within the sweep; the extractor's name unless the file gives another.
    pub name: String,
    /// The feature space.
    pub extractor: ExtractorChoice,
    /// Names from [`cedm_catalogue::metrics::METRICS`], in the order of the file.
    pub metrics: Vec<String>,
    /// The metric that decides; one of `metrics`.
    pub primary: String,
    /// Seed of random subsets.
    pub seed: u64,
}
