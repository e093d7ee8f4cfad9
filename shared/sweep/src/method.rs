//! The methods of clustering: what each is called, what it reads, and the job that it makes.

use crate::FileRef;
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
    /// Nothing.
    Images,
    /// The features.
    Features,
    /// The features, and this many nearest neighbours of every image.
    Neighbours(u32),
}
