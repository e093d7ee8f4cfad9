//! k-means as scikit-learn defines it: greedy k-means++, Lloyd's algorithm, relocation of empty
//! clusters, the best of several starts (spec §5).
//!
//! Distances are matrix products over pieces of rows. Rows are centred on their mean first, which
//! keeps float32 distances accurate for features far from the origin. On a GPU everything but the
//! choice of the best start happens on the device. Sets that do not fit into memory are clustered
//! by mini-batches ([`fit_mini_batch`]).

mod lloyd;
mod mini_batch;
mod rows;
mod seeding;
mod source;

pub use lloyd::{LloydRun, lloyd};
pub use mini_batch::fit_mini_batch;
pub use rows::Rows;
pub use seeding::plus_plus;
pub use source::RowSource;

use crate::ClusteringError;
use cedm_contract::kinds::cluster::KmeansParams;
use cedm_maths::Features;
use tch::{Kind, Tensor};

/// The result of the start with the lowest inertia.
#[derive(Debug)]
pub struct Fitted {
    /// Centroids \[C, D\] in the features' type, on their device.
    pub centroids: Tensor,
    /// Index of the nearest centroid of each row, i64 \[N\] on the CPU.
    pub ids: Tensor,
    /// Sum over rows of the squared distance to the nearest centroid.
    pub inertia: f64,
    /// Lloyd iterations (or mini-batches) of that start.
    pub iterations: u32,
    /// Index of that start, from 0.
    pub start: u32,
    /// Inertia of every start, in order.
    pub inertias: Vec<f64>,
}

/// Clusters the features into `clusters` clusters; by mini-batches if `params.mini_batch` is not 0.
/// `progress` is called with (starts done, starts in all, inertia so far); if it returns false the
/// result is `None`.
///
/// # Errors
/// [`ClusteringError::Setting`] for a setting that is out of range or does not fit the data.
pub fn fit(
    features: &Features,
    clusters: u32,
    params: &KmeansParams,
    seed: u64,
    progress: &mut dyn FnMut(u32, u32, f64) -> bool,
) -> Result<Option<Fitted>, ClusteringError> {
    if params.mini_batch > 0 {
        return fit_mini_batch(features, clusters, params, seed, progress);
    }
    check(features.count(), clusters, params)?;
    let _guard = tch::no_grad_guard();
    let rows = Rows::new(features);
    // Relative to the mean variance of the features, as in scikit-learn, so that `tolerance` does
    // not depend on their scale.
    let tolerance = params.tolerance * rows.mean_variance();
    let mut best: Option<Fitted> = None;
    let mut inertias = Vec::new();
    for start in 0..params.starts {
        let mut going = true;
        let mut on_iteration = |inertia: f64| {
            going = progress(start, params.starts, inertia);
            going
        };
        let initial = plus_plus(rows.centred(), rows.squares(), clusters, seed, start);
        let run = lloyd(
            &rows,
            &initial,
            params.max_iterations,
            tolerance,
            &mut on_iteration,
        );
        if !going {
            return Ok(None);
        }
        inertias.push(run.inertia);
        if best.as_ref().is_none_or(|best| run.inertia < best.inertia) {
            let centroids = rows.uncentred(&run.centroids);
            let (inertia, iterations) = (run.inertia, run.iterations);
            best = Some(Fitted {
                centroids,
                ids: run.ids,
                inertia,
                iterations,
                start,
                inertias: Vec::new(),
            });
        }
        if !progress(start + 1, params.starts, run.inertia) {
            return Ok(None);
        }
    }
    Ok(best.map(|best| Fitted { inertias, ..best }))
}

/// Checks the settings against their ranges and against the number of rows.
fn check(rows: i64, clusters: u32, params: &KmeansParams) -> Result<(), ClusteringError> {
    if clusters < 2 {
        return Err(ClusteringError::setting("clusters", clusters, "at least 2"));
    }
    if i64::from(clusters) > rows {
        return Err(ClusteringError::setting(
            "clusters",
            clusters,
            format!("at most the number of images, {rows}"),
        ));
    }
    if params.starts == 0 {
        return Err(ClusteringError::setting("starts", 0, "at least 1"));
    }
    if params.max_iterations == 0 {
        return Err(ClusteringError::setting("max_iterations", 0, "at least 1"));
    }
    if !(params.tolerance >= 0.0 && params.tolerance.is_finite()) {
        return Err(ClusteringError::setting(
            "tolerance",
            params.tolerance,
            "a number of at least 0",
        ));
    }
    if params.mini_batch > 0 && params.mini_batch < clusters {
        return Err(ClusteringError::setting(
            "mini_batch",
            params.mini_batch,
            format!("0, or at least the {clusters} clusters"),
        ));
    }
    Ok(())
}

/// Index of the nearest centroid \[C, D\] for each row of other features: i64 \[rows\] on the CPU.
pub fn nearest_centroid(features: &Features, centroids: &Tensor) -> Tensor {
    let rows = Rows::new(features);
    let centred = rows.centred_centroids(
        &centroids
            .to_device(features.device())
            .to_kind(features.kind()),
    );
    rows.assign(&centred)
        .ids
        .to_device(tch::Device::Cpu)
        .to_kind(Kind::Int64)
}
