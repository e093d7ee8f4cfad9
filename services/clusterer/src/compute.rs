//! From features to a clustering, under the eyes of a monitor.

use crate::{
    artefact::{Clustering, Course},
    metrics::{
        HEAD_LOSS, INERTIA, LOSS_MAX, LOSS_MEAN, LOSS_MIN, MARGINAL_ENTROPY, NEIGHBOUR_PAIRS,
        STEPS, UTILISATION,
    },
};
use cedm_clustering::{
    ClusteringError, Features,
    kmeans::{self, Fitted, RowSource},
    neighbours::{self as knn, Neighbours},
    temi::{EpochFacts, Training, to_upstream},
};
use cedm_contract::kinds::cluster::{KmeansParams, TemiParams};
use cedm_runtime::{JobError, Monitor};
use std::{path::Path, time::Instant};
use tch::{Kind, Tensor};

/// The file that checkpoints are written to before they are handed over.
const STATE: &str = "temi-state.safetensors";

/// Nearest others of so many rows that k-means looks at to say how often near images share a
/// cluster.
const SAMPLED_NEIGHBOURS: i64 = 50;
const SAMPLED_ROWS: i64 = 1_000;

/// What kind of failure a clustering error is: the job's own, except for a state that this program
/// wrote itself.
pub(crate) fn refuse(error: ClusteringError) -> JobError {
    match error {
        ClusteringError::File { .. } | ClusteringError::Torch { .. } => JobError::bug(error),
        other => JobError::reject(other),
    }
}

/// Nearest neighbours of every row, with `tile_bytes` of memory for similarities.
///
/// # Errors
/// `Reject` when the features or `k` do not fit; `Drained` when the monitor wants to stop.
pub fn neighbours(
    features: &Features,
    k: u32,
    tile_bytes: u64,
    monitor: &dyn Monitor,
) -> Result<Neighbours, JobError> {
    let mut before = 0;
    let mut watch = |done: u64, total: u64| {
        monitor.progress(done, total, "pairs");
        monitor.count(&NEIGHBOUR_PAIRS, done - before);
        before = done;
        !monitor.stopping()
    };
    knn::nearest(features, k, tile_bytes, &mut watch)
        .map_err(refuse)?
        .ok_or(JobError::Drained)
}

/// TEMI: trains the heads, or goes on from the monitor's checkpoint, and assigns by the best one.
///
/// # Errors
/// `Reject` when features or parameters do not fit, or the loss diverges; `Drained` after a
/// checkpoint when the monitor wants to stop.
pub fn cluster_temi(
    features: &Features,
    neighbours: &Tensor,
    params: &TemiParams,
    clusters: u32,
    seed: u64,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Clustering, JobError> {
    let mut training =
        Training::new(params, clusters, seed, features, neighbours).map_err(refuse)?;
    if let Some((step, file)) = monitor.resume()? {
        training.load(&file).map_err(refuse)?;
        tracing::info!(step, "goes on from a checkpoint");
    }
    let state = scratch.join(STATE);
    let (started, first_step) = (Instant::now(), training.steps_done());
    while !training.finished() {
        if let Some(facts) = training.advance().map_err(refuse)? {
            show(&facts, monitor);
        }
        monitor.progress(training.steps_done(), training.steps(), "steps");
        monitor.count(&STEPS, 1);
        let stopping = monitor.stopping();
        if (stopping || monitor.checkpoint_due()) && !training.finished() {
            training.save(&state).map_err(refuse)?;
            monitor.checkpoint(training.steps_done(), &state)?;
            if stopping {
                return Err(JobError::Drained);
            }
        }
    }
    let steps_per_second =
        (training.steps_done() - first_step) as f64 / started.elapsed().as_secs_f64().max(1e-9);
    let assigned = training.assign();
    let best_head = training.best_head().map(|(head, loss)| (head as u32, loss));
    Ok(Clustering {
        slots: clusters,
        raw_ids: Vec::<i64>::try_from(&assigned.ids).map_err(JobError::bug)?,
        log_confidence: Some(assigned.log_confidence),
        heads: Some(to_upstream(&training.best_teacher())),
        curve: training.history().to_vec(),
        best_head,
        neighbour_agreement: None,
        inertia: None,
        centroids: None,
        course: Course {
            steps_per_second: Some(steps_per_second),
            ..Course::default()
        },
    })
}

fn show(facts: &EpochFacts, monitor: &dyn Monitor) {
    let mean = facts.head_losses.iter().sum::<f64>() / facts.head_losses.len() as f64;
    monitor.gauge(&LOSS_MEAN, mean);
    monitor.gauge(&LOSS_MIN, facts.head_losses[facts.best_head]);
    monitor.gauge(
        &LOSS_MAX,
        facts
            .head_losses
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max),
    );
    monitor.gauge_list(&HEAD_LOSS, &facts.head_losses);
    monitor.gauge(&UTILISATION, facts.utilisation);
    monitor.gauge(&MARGINAL_ENTROPY, facts.marginal_entropy);
    tracing::debug!(
        epoch = facts.epoch,
        mean,
        best = facts.best_head,
        utilisation = facts.utilisation,
        marginal_entropy = facts.marginal_entropy,
        head_losses = ?facts.head_losses,
        "epoch"
    );
}

/// k-means.
///
/// # Errors
/// `Reject` when features or parameters do not fit; `Drained` when the monitor wants to stop.
pub fn cluster_kmeans(
    features: &Features,
    params: &KmeansParams,
    clusters: u32,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Clustering, JobError> {
    kmeans_by(features, clusters, monitor, |watch| {
        kmeans::fit(features, clusters, params, seed, watch)
    })
}

/// k-means by mini-batches of rows that need not fit into memory.
///
/// # Errors
/// As [`cluster_kmeans`].
pub fn cluster_mini_batch(
    rows: &dyn RowSource,
    params: &KmeansParams,
    clusters: u32,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Clustering, JobError> {
    kmeans_by(rows, clusters, monitor, |watch| {
        kmeans::fit_mini_batch(rows, clusters, params, seed, watch)
    })
}

/// Hears (starts done, in all, inertia so far) and says whether to go on.
type Watch<'a> = &'a mut dyn FnMut(u32, u32, f64) -> bool;

fn kmeans_by(
    rows: &dyn RowSource,
    clusters: u32,
    monitor: &dyn Monitor,
    fit: impl FnOnce(Watch<'_>) -> Result<Option<Fitted>, ClusteringError>,
) -> Result<Clustering, JobError> {
    let mut watch = |done: u32, starts: u32, inertia: f64| {
        monitor.progress(done.into(), starts.into(), "starts");
        monitor.gauge(&INERTIA, inertia);
        !monitor.stopping()
    };
    let started = Instant::now();
    let fitted = fit(&mut watch).map_err(refuse)?.ok_or(JobError::Drained)?;
    let kmeans_seconds = Some(started.elapsed().as_secs_f64());
    let ids = Vec::<i64>::try_from(&fitted.ids).map_err(JobError::bug)?;
    let neighbour_agreement =
        Some(knn::sampled_agreement(rows, &ids, SAMPLED_NEIGHBOURS, SAMPLED_ROWS).map_err(refuse)?);
    Ok(Clustering {
        neighbour_agreement,
        inertia: Some(fitted.inertia),
        centroids: Some(
            fitted
                .centroids
                .to_device(tch::Device::Cpu)
                .to_kind(Kind::Double),
        ),
        course: Course {
            kmeans_seconds,
            inertias: fitted.inertias,
            iterations: Some(fitted.iterations),
            ..Course::default()
        },
        ..Clustering::given(ids, clusters)
    })
}
