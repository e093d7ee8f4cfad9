//! The methods of clustering: name and keys in the sweep file, the ranges of their parameters, what
//! they read, and the job that each makes.

use crate::{
    ClusteringSpec, Clusters, FileRef, file::ClustersFile, findings::Findings,
    outcome::CellOutcome, rules::Section,
};
use cedm_contract::kinds::cluster::{ClusterMethod, KmeansParams, TemiParams};
use serde::{Deserialize, Serialize};

/// Where the labels that condition a network come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// TEMI clustering (spec §4).
    Temi(TemiParams),
    /// k-means clustering (spec §5).
    Kmeans(KmeansParams),
    /// The labels of the image set.
    GroundTruth {
        /// Whether to use coarse labels instead of fine ones.
        coarse: bool,
    },
    /// Ids from a file.
    Imported {
        /// The file with one id per image.
        ids: FileRef,
    },
    /// No labels: the unconditional network.
    None,
}

/// What `clusters` may be with a method.
pub(crate) enum Granularity {
    /// No such key: the number follows from the images, or there are no clusters.
    Absent,
    /// A list, `"bound"` or `"c_max"`.
    Chosen,
    /// The number of ids in the file.
    OneNumber,
}

/// What is fixed for a method. Results keep its name alone, so that this table also answers
/// questions about them.
pub(crate) struct MethodRow {
    /// Its name in the sweep file and in results.
    pub(crate) name: &'static str,
    pub(crate) granularity: Granularity,
    /// Whether trained heads give the clusters, so that samples can be scored by a head.
    pub(crate) has_heads: bool,
    /// Makes the method of its keys in `[[clustering]]`, and takes them out.
    parse: fn(&mut ClusteringFile) -> Method,
}

static TEMI: MethodRow = MethodRow {
    name: "temi",
    granularity: Granularity::Chosen,
    has_heads: true,
    parse: |file| Method::Temi(file.temi.take().unwrap_or_default()),
};
static KMEANS: MethodRow = MethodRow {
    name: "kmeans",
    granularity: Granularity::Chosen,
    has_heads: false,
    parse: |file| Method::Kmeans(file.kmeans.take().unwrap_or_default()),
};
static GROUND_TRUTH: MethodRow = MethodRow {
    name: "ground_truth",
    granularity: Granularity::Absent,
    has_heads: false,
    parse: |file| Method::GroundTruth {
        coarse: file.coarse.unwrap_or(false),
    },
};
static IMPORTED: MethodRow = MethodRow {
    name: "imported",
    granularity: Granularity::OneNumber,
    has_heads: false,
    parse: |file| Method::Imported {
        ids: FileRef {
            path: file.file.take().unwrap_or_default(),
            object: None,
        },
    },
};
static NONE: MethodRow = MethodRow {
    name: "none",
    granularity: Granularity::Absent,
    has_heads: false,
    parse: |_| Method::None,
};

/// All methods, in the order of the reference.
pub(crate) static METHODS: [&MethodRow; 5] = [&TEMI, &KMEANS, &GROUND_TRUTH, &IMPORTED, &NONE];

impl MethodRow {
    /// The method of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        METHODS.into_iter().find(|row| row.name == name)
    }
}

/// Questions about the network of a result, answered by the name of its method; of an unknown name
/// every answer is no.
impl CellOutcome {
    /// Whether it is the unconditional network.
    pub fn is_unconditional(&self) -> bool {
        self.method == NONE.name
    }

    /// Whether its condition is the labels of the image set instead of clusters.
    pub fn is_on_labels(&self) -> bool {
        self.method == GROUND_TRUTH.name
    }

    /// Whether trained heads gave its condition.
    pub fn has_heads(&self) -> bool {
        MethodRow::named(&self.method).is_some_and(|row| row.has_heads)
    }

    /// The name of its condition, the same for every training seed: "temi C=20".
    pub fn granularity(&self) -> &str {
        let seed = self.seed.map(|seed| format!(" seed {seed}"));
        seed.and_then(|seed| self.label.strip_suffix(&seed))
            .unwrap_or(&self.label)
    }
}

/// A `[[clustering]]` table as it is written in the sweep file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusteringFile {
    pub(crate) name: Option<String>,
    pub(crate) method: String,
    pub(crate) clusters: Option<ClustersFile>,
    #[serde(default)]
    seed: u64,
    pub(crate) coarse: Option<bool>,
    pub(crate) competes: Option<bool>,
    pub(crate) file: Option<String>,
    pub(crate) temi: Option<TemiParams>,
    pub(crate) kmeans: Option<KmeansParams>,
}

impl ClusteringFile {
    /// The keys that belong to one method: whether each is given, its name, and its method's.
    pub(crate) fn method_keys(&self) -> [(bool, &'static str, &'static str); 5] {
        [
            (self.temi.is_some(), "temi", TEMI.name),
            (self.kmeans.is_some(), "kmeans", KMEANS.name),
            (self.coarse.is_some(), "coarse", GROUND_TRUTH.name),
            (self.file.is_some(), "file", IMPORTED.name),
            (self.competes.is_some(), "competes", IMPORTED.name),
        ]
    }

    /// The resolved clustering. An unknown method counts as none; the rules have reported it by
    /// then.
    pub(crate) fn into_spec(mut self) -> ClusteringSpec {
        let row = MethodRow::named(&self.method);
        let method = row.map_or(Method::None, |row| (row.parse)(&mut self));
        let clusters = match self.clusters {
            Some(ClustersFile::Word(word)) if word == "bound" => Clusters::Bound,
            Some(ClustersFile::Word(_)) => Clusters::CMax,
            Some(ClustersFile::List(mut list)) => {
                list.sort_unstable();
                Clusters::List(list)
            }
            None => Clusters::Given,
        };
        let name = self.name.unwrap_or_else(|| method.name().replace('_', "-"));
        ClusteringSpec {
            name,
            method,
            clusters,
            seed: self.seed,
            competes: self.competes.unwrap_or(false),
        }
    }
}

impl ClusteringSpec {
    /// Whether its networks compete for the best granularity: those of clusterings with a choice of
    /// C do, and those of imported ids where the sweep file says so. The C of imported ids was
    /// chosen elsewhere, by means that this sweep does not know.
    pub fn competes(&self) -> bool {
        match self.method.row().granularity {
            Granularity::Chosen => true,
            Granularity::OneNumber => self.competes,
            Granularity::Absent => false,
        }
    }

    /// Whether the number of its clusters is given with it, by the sweep file or a search.
    pub fn has_granularities(&self) -> bool {
        !matches!(self.method.row().granularity, Granularity::Absent)
    }
}

impl Method {
    /// Its name in the sweep file.
    pub fn name(&self) -> &'static str {
        self.row().name
    }

    fn row(&self) -> &'static MethodRow {
        match self {
            Method::Temi(_) => &TEMI,
            Method::Kmeans(_) => &KMEANS,
            Method::GroundTruth { .. } => &GROUND_TRUTH,
            Method::Imported { .. } => &IMPORTED,
            Method::None => &NONE,
        }
    }

    /// Whether it makes the unconditional network.
    pub fn is_unconditional(&self) -> bool {
        *self == Method::None
    }

    /// Whether trained heads give its clusters.
    pub fn has_heads(&self) -> bool {
        self.row().has_heads
    }

    /// Whether the bound search runs on it: its clusters may stay empty when C is large (spec §6).
    pub fn has_a_bound_search(&self) -> bool {
        matches!(self, Method::Temi(_))
    }

    /// The labels of the image set that it needs: true for the coarse ones, false for the fine
    /// ones; `None` where it needs none.
    pub fn needs_labels(&self) -> Option<bool> {
        match self {
            Method::GroundTruth { coarse } => Some(*coarse),
            _ => None,
        }
    }

    /// Images in one step of its training; `None` where it has no steps of a fixed size.
    pub fn batch(&self) -> Option<u32> {
        match self {
            Method::Temi(temi) => Some(temi.batch),
            _ => None,
        }
    }

    /// What its cluster jobs read beside the images.
    pub fn reads(&self) -> Reads {
        match self {
            Method::Temi(temi) => Reads::Neighbours(temi.neighbours),
            Method::Kmeans(_) => Reads::Features,
            Method::GroundTruth { .. } | Method::Imported { .. } | Method::None => Reads::Images,
        }
    }

    /// Epochs of one cluster job, for estimates.
    pub fn epochs(&self) -> u32 {
        match self {
            Method::Temi(temi) => temi.epochs,
            Method::Kmeans(_) => 1,
            Method::GroundTruth { .. } | Method::Imported { .. } | Method::None => 0,
        }
    }

    /// Checks the ranges of its parameters.
    pub(crate) fn check(&self, clusters: &Clusters, path: &str, findings: &mut Findings) {
        let path = format!("{path}.{}", self.name());
        let section = Section {
            path: &path,
            findings,
        };
        match self {
            Method::Temi(temi) => check_temi(temi, section),
            Method::Kmeans(kmeans) => check_kmeans(kmeans, clusters, section),
            Method::GroundTruth { .. } | Method::Imported { .. } | Method::None => {}
        }
    }

    /// The method as a job parameter.
    ///
    /// # Errors
    /// Why there is none: imported ids are not stored yet, or there is no clustering.
    pub fn as_job(&self) -> Result<ClusterMethod, String> {
        match self {
            Method::Temi(temi) => Ok(ClusterMethod::Temi(temi.clone())),
            Method::Kmeans(kmeans) => Ok(ClusterMethod::Kmeans(kmeans.clone())),
            Method::GroundTruth { coarse } => Ok(ClusterMethod::GroundTruth { coarse: *coarse }),
            Method::Imported { ids } => {
                let ids = ids.object.clone().ok_or_else(|| {
                    let path = &ids.path;
                    format!("the ids `{path}` are not in the store: submit the sweep again")
                })?;
                Ok(ClusterMethod::Imported { ids })
            }
            Method::None => Err("the unconditional network has no clustering".to_owned()),
        }
    }
}

/// What the cluster jobs of a method read beside the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The image set alone.
    Images,
    /// The features of all images.
    Features,
    /// The features, and this many nearest neighbours of every image.
    Neighbours(u32),
}

fn check_temi(temi: &TemiParams, mut at: Section<'_>) {
    for (key, value) in [
        ("heads", temi.heads),
        ("layers", temi.layers),
        ("hidden", temi.hidden),
        ("bottleneck", temi.bottleneck),
        ("epochs", temi.epochs),
        ("batch", temi.batch),
        ("neighbours", temi.neighbours),
    ] {
        at.at_least(key, u64::from(value), 1);
    }
    for (key, value) in [
        ("beta", temi.beta),
        ("student_temperature", temi.student_temperature),
        ("teacher_temperature_start", temi.teacher_temperature_start),
        ("teacher_temperature", temi.teacher_temperature),
        ("base_lr", temi.base_lr),
    ] {
        at.positive(key, value);
    }
    at.check_value(
        temi.beta <= 2.0,
        "beta",
        temi.beta,
        "at most 2 (0.6 for near-uniform use, 1 for the lower bound)",
    );
    for (key, value) in [
        ("min_lr", temi.min_lr),
        ("weight_decay", temi.weight_decay),
        ("weight_decay_end", temi.weight_decay_end),
        ("clip", temi.clip),
    ] {
        at.not_negative(key, value);
    }
    at.below_one("marginal_momentum", temi.marginal_momentum);
    at.below_one("betas", temi.betas.0);
    at.below_one("betas", temi.betas.1);
    at.positive("eps", temi.eps);
    at.fraction("teacher_momentum", temi.teacher_momentum);
    at.fraction("teacher_momentum_end", temi.teacher_momentum_end);
    {
        let (key, value) = ("warmup_epochs", temi.warmup_epochs);
        let message = format!(
            "`{key}` is {value}, more than the {} epochs of the training",
            temi.epochs
        );
        at.check(value <= temi.epochs || temi.epochs == 0, key, message);
    }
    {
        let (key, value) = ("freeze_last_layer_epochs", temi.freeze_last_layer_epochs);
        let message = format!(
            "`{key}` is {value} of {} epochs: the last layer would never learn",
            temi.epochs
        );
        at.check(value < temi.epochs || temi.epochs == 0, key, message);
    }
}

fn check_kmeans(kmeans: &KmeansParams, clusters: &Clusters, mut at: Section<'_>) {
    at.at_least("starts", u64::from(kmeans.starts), 1);
    at.at_least("max_iterations", u64::from(kmeans.max_iterations), 1);
    at.not_negative("tolerance", kmeans.tolerance);
    if let Clusters::List(list) = clusters {
        let (rows, most) = (kmeans.mini_batch, list.iter().copied().max().unwrap_or(0));
        at.check(
            rows == 0 || rows >= most,
            "mini_batch",
            format!(
                "`mini_batch` is {rows}: expected 0 for full iterations, or at least the \
                 {most} clusters"
            ),
        );
    }
}
