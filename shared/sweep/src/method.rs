//! The methods of clustering: name and keys in the sweep file, the ranges of their parameters, what
//! they read, and the job that each makes.

use crate::{
    ClusteringSpec, Clusters, FileRef, file::ClustersFile, findings::Findings, rules::Section,
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

/// The methods by name.
pub(crate) const METHODS: [(&str, Granularity); 5] = [
    ("temi", Granularity::Chosen),
    ("kmeans", Granularity::Chosen),
    ("ground_truth", Granularity::Absent),
    ("imported", Granularity::OneNumber),
    ("none", Granularity::Absent),
];

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
    pub(crate) file: Option<String>,
    pub(crate) temi: Option<TemiParams>,
    pub(crate) kmeans: Option<KmeansParams>,
}

impl ClusteringFile {
    /// The keys that belong to one method: whether each is given, its name, and its method's.
    pub(crate) fn method_keys(&self) -> [(bool, &'static str, &'static str); 4] {
        [
            (self.temi.is_some(), "temi", "temi"),
            (self.kmeans.is_some(), "kmeans", "kmeans"),
            (self.coarse.is_some(), "coarse", "ground_truth"),
            (self.file.is_some(), "file", "imported"),
        ]
    }

    /// The resolved clustering. An unknown method counts as none; the rules have reported it by then.
    pub(crate) fn into_spec(self) -> ClusteringSpec {
        let clusters = match self.clusters {
            Some(ClustersFile::Word(word)) if word == "bound" => Clusters::Bound,
            Some(ClustersFile::Word(_)) => Clusters::CMax,
            Some(ClustersFile::List(mut list)) => {
                list.sort_unstable();
                Clusters::List(list)
            }
            None => Clusters::Given,
        };
        let method = match self.method.as_str() {
            "temi" => Method::Temi(self.temi.unwrap_or_default()),
            "kmeans" => Method::Kmeans(self.kmeans.unwrap_or_default()),
            "ground_truth" => Method::GroundTruth {
                coarse: self.coarse.unwrap_or(false),
            },
            "imported" => Method::Imported {
                ids: FileRef {
                    path: self.file.unwrap_or_default(),
                    object: None,
                },
            },
            _ => Method::None,
        };
        let name = self.name.unwrap_or_else(|| method.name().replace('_', "-"));
        ClusteringSpec {
            name,
            method,
            clusters,
            seed: self.seed,
        }
    }
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

    /// Names of the methods with a choice of C: the granularities that compete for the answer.
    pub const WITH_A_CHOICE_OF_C: [&str; 3] = ["temi", "kmeans", "imported"];

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
