//! The resolved sweep: what a sweep file asks for, with every default and preset filled in.

use crate::{Method, SweepFileError, file};
use cedm_contract::{
    ExtractorSpec, ObjectRef, Precision, Priority, SweepId,
    kinds::{
        adapt::DinoParams,
        bound::BoundParams,
        sample::SamplerParams,
        train::{AugmentParams, NetworkSpec, OptimiserParams},
    },
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Images per sample set in the paper (spec §9).
pub const PAPER_SET_IMAGES: u64 = 50_000;

/// Most parts of a search for neighbours: the job that merges them names each one, and a message is
/// limited to 64 KiB.
const MAX_PARTS: u32 = 251;

/// A sweep file with every default and preset filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSpec {
    /// The sweep's name, where the file gives one.
    pub name: Option<SweepId>,
    /// Priority of its jobs.
    pub priority: Priority,
    /// Name of the imported image set.
    pub image_set: String,
    /// Name of the image set that is its test split, where one is given.
    pub test_set: Option<String>,
    /// The feature space in which images are clustered.
    pub extractor: ExtractorChoice,
    /// How the search for nearest neighbours is divided into jobs.
    #[serde(default)]
    pub neighbours: NeighbourSpec,
    /// The clusterings that condition the networks; names are unique.
    pub clusterings: Vec<ClusteringSpec>,
    /// The bound search and its candidates.
    pub bound: BoundSpec,
    /// The networks and their training.
    pub training: TrainingSpec,
    /// The sample sets of every network.
    pub sampling: SamplingSpec,
    /// The feature spaces in which sample sets are scored; at least one, the first decides.
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
            |c: &&ClusteringSpec| c.method.has_a_bound_search() && c.clusters.needs_bound();
        if searches(&clustering) {
            return self.clusterings.iter().find(|c| c.name == clustering.name);
        }
        self.clusterings.iter().find(searches)
    }
}

/// A user's file: its path in the sweep file, and its copy in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Path or URI as written in the sweep file.
    pub path: String,
    /// The stored copy; `None` before the upload.
    pub object: Option<ObjectRef>,
}

/// A feature space as chosen in a sweep file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtractorChoice {
    /// Its name in [`cedm_catalogue::extractors::EXTRACTORS`].
    pub name: String,
    /// The file of weights, where the extractor needs one.
    pub weights: Option<FileRef>,
    /// Feature width, where it is configurable and given.
    pub dim: Option<u32>,
    /// Arithmetic of the forward pass.
    pub precision: Precision,
    /// How it is adapted to the image set first, where that is asked for (spec §12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapt: Option<DinoParams>,
}

impl ExtractorChoice {
    /// The extractor as a job parameter; `None` while its weights are not stored.
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

/// One way to assign labels to the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusteringSpec {
    /// Unique within the sweep; the method's name unless the file gives another.
    pub name: String,
    /// The method with its parameters.
    pub method: Method,
    /// The values of C.
    pub clusters: Clusters,
    /// Seed of every random draw of the clustering.
    pub seed: u64,
    /// Whether imported ids compete for the best granularity, as clusterings with a choice of C
    /// always do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub competes: bool,
}

/// The values of C that are trained for a clustering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clusters {
    /// The candidates up to C_max (see [`BoundSpec::candidates`]).
    Bound,
    /// C_max alone, as the bound search finds it.
    CMax,
    /// The given values, ascending.
    List(Vec<u32>),
    /// As many as there are labels; for ground truth and the unconditional network.
    Given,
}

impl Clusters {
    /// Whether these values are known only after a bound search.
    pub fn needs_bound(&self) -> bool {
        matches!(self, Clusters::Bound | Clusters::CMax)
    }
}

/// How the search for nearest neighbours is divided into jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourSpec {
    /// Sets with more rows are searched in parts of about this many rows, each a job of its own; 0
    /// searches any set in one job. A part needs memory for two blocks of this many rows.
    pub part_rows: u32,
}

impl Default for NeighbourSpec {
    fn default() -> Self {
        Self { part_rows: 20_000 }
    }
}

impl NeighbourSpec {
    /// The number of parts for a set of `rows` rows: 1, or an odd number of at least 3.
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

/// The bound search, and which of its values of C are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundSpec {
    /// Parameters of the search.
    pub params: BoundParams,
    /// At most this many C ≤ C_max are trained; C_max always is, unless they are listed.
    pub candidates: u32,
    /// Where they lie. Sweeps of earlier versions have the probes of the search alone.
    #[serde(default, skip_serializing_if = "CandidateRule::is_probes")]
    pub candidate_rule: CandidateRule,
    /// These instead, as far as they are at most C_max; ascending. Empty for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_list: Vec<u32>,
    /// Whether to measure the lower bound too: TEMI with beta = 1 at large C (spec §6.2).
    pub lower_bound: bool,
    /// C of the lower-bound probes; C_max and its doublings when empty.
    pub lower_bound_clusters: Vec<u32>,
}

/// Where the C that are trained lie between the first C of the search and C_max.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateRule {
    /// Evenly on a logarithmic scale, at round numbers, whether the search tried them or not.
    Logarithmic,
    /// At probes of the search that pass, spread as evenly as these allow.
    #[default]
    Probes,
}

impl CandidateRule {
    fn is_probes(&self) -> bool {
        *self == CandidateRule::Probes
    }
}

/// The networks and their training, with preset and overrides resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    /// The preset it started from.
    pub preset: String,
    /// The network; `label_dim` is filled in per clustering, `channels` by the image set.
    pub network: NetworkSpec,
    /// Optimiser, averaging of weights, noise levels.
    pub optimiser: OptimiserParams,
    /// Augmentation of training images.
    pub augment: AugmentParams,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Seed of every random stream; the first of `seeds` where there are several.
    pub seed: u64,
    /// Seeds of the trainings of each network, where it is trained more than once; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Images after which each snapshot is taken: ascending, multiples of the batch; the last is
    /// the budget.
    pub snapshots_nimg: Vec<u64>,
}

impl TrainingSpec {
    /// Length of the training in images: the last snapshot.
    pub fn budget_nimg(&self) -> u64 {
        self.snapshots_nimg.last().copied().unwrap_or(0)
    }

    /// The seeds with which each network is trained; at least one.
    pub fn seeds(&self) -> &[u64] {
        if self.seeds.is_empty() {
            std::slice::from_ref(&self.seed)
        } else {
            &self.seeds
        }
    }

    /// Whether each network is trained more than once, so that names have to say with which seed.
    pub fn has_several_seeds(&self) -> bool {
        self.seeds().len() > 1
    }
}

/// The sample sets of every network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingSpec {
    /// Sets of the final network; their seeds are consecutive from 0 (spec §9).
    pub sets: u32,
    /// Images per sample set.
    pub images: u64,
    /// Images of the one set of each earlier snapshot; 0 for none.
    pub snapshot_images: u64,
    /// Further sets of every finished conditional network with labels drawn uniformly instead of
    /// from p(c), from the seeds of the first sets: the effect of the prior (paper, table 6).
    #[serde(default)]
    pub uniform_sets: u32,
    /// Images per sampling job.
    pub shard_size: u32,
    /// Parameters of the sampler.
    pub sampler: SamplerParams,
}

/// A feature space in which sample sets are scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSpec {
    /// Unique within the sweep; the extractor's name unless the file gives another.
    pub name: String,
    /// The extractor that gives the features.
    pub extractor: ExtractorChoice,
    /// Names from [`cedm_catalogue::metrics::METRICS`], in the order of the file.
    pub metrics: Vec<String>,
    /// The metric that decides; one of `metrics`.
    pub primary: String,
    /// Seed of the random subsets that some metrics draw.
    pub seed: u64,
}
