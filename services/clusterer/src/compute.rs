//! From features to a clustering, with progress, metrics, checkpoints and stop requests by way of a
//! [`Monitor`].

use crate::{
    artefact::{Clustering, RunStatistics},
    metrics::{
        HEAD_LOSS, INERTIA, LOSS_MAX, LOSS_MEAN, LOSS_MIN, MARGINAL_ENTROPY, NEIGHBOUR_PAIRS,
        STEPS, UTILISATION,
    },
};
use cedm_clustering::{
    ClusteringError,
    kmeans::{self, Fitted, RowSource},
    neighbours::{self as knn, Neighbours},
    temi::{EpochSummary, Training, to_upstream},
};
use cedm_contract::kinds::cluster::{KmeansParams, TemiParams};
use cedm_maths::Features;
use cedm_runtime::{JobError, Monitor};
use std::{path::Path, time::Instant};
use tch::{Kind, Tensor};

/// File in the scratch folder to which a checkpoint is written before the monitor stores it.
const STATE: &str = "temi-state.safetensors";

/// Number of nearest rows over which k-means measures how often neighbours share a cluster: as many
/// as TEMI's neighbours (spec §3).
const SAMPLED_NEIGHBOURS: i64 = 50;
/// Number of rows in that sample, which bounds the cost of the measurement.
const SAMPLED_ROWS: i64 = 1_000;

/// Nearest neighbours of every row, with `tile_bytes` of memory for similarities.
///
/// # Errors
/// `Reject` if the features or `k` do not fit; `Drained` if the monitor requests a stop.
pub fn neighbours(
    features: &Features,
    k: u32,
    tile_bytes: u64,
    monitor: &dyn Monitor,
) -> Result<Neighbours, JobError> {
    let mut counted = 0;
    let mut on_tile = |done: u64, total: u64| {
        monitor.progress(done, total, "pairs");
        monitor.count(&NEIGHBOUR_PAIRS, done - counted);
        counted = done;
        !monitor.stopping()
    };
    knn::nearest(features, k, tile_bytes, &mut on_tile)?.ok_or(JobError::Drained)
}

/// Clusters by TEMI: trains the heads, resuming from the monitor's checkpoint if there is one, and
/// assigns clusters by the best head. `scratch` is a folder for temporary files.
///
/// # Errors
/// `Reject` if features or parameters do not fit, or the loss diverges; `Drained` after a
/// checkpoint if the monitor requests a stop.
pub fn cluster_temi(
    features: &Features,
    neighbours: &Tensor,
    params: &TemiParams,
    clusters: u32,
    seed: u64,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Clustering, JobError> {
    let mut training = Training::new(params, clusters, seed, features, neighbours)?;
    if let Some((step, file)) = monitor.resume()? {
        training.load(&file)?;
        tracing::info!(step, "resuming from a checkpoint");
    }
    let state = scratch.join(STATE);
    let (started, first_step) = (Instant::now(), training.steps_done());
    while !training.finished() {
        if let Some(summary) = training.advance()? {
            report_epoch(&summary, monitor);
        }
        monitor.progress(training.steps_done(), training.steps(), "steps");
        monitor.count(&STEPS, 1);
        let stopping = monitor.stopping();
        // After the last step the result itself is stored; a checkpoint would only cost time.
        if (stopping || monitor.checkpoint_due()) && !training.finished() {
            training.save(&state)?;
            monitor.checkpoint(training.steps_done(), &state)?;
            if stopping {
                return Err(JobError::Drained);
            }
        }
    }
    // Steps of this process alone: those before a resumption took somebody else's seconds.
    let steps_per_second =
        (training.steps_done() - first_step) as f64 / started.elapsed().as_secs_f64().max(1e-9);
    // By the teacher of the head with the lowest loss, as the authors' evaluation does (spec §4.6).
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
        statistics: RunStatistics {
            steps_per_second: Some(steps_per_second),
            ..RunStatistics::default()
        },
    })
}

/// Reports an epoch as metrics and as a log line.
fn report_epoch(summary: &EpochSummary, monitor: &dyn Monitor) {
    let mean = summary.head_losses.iter().sum::<f64>() / summary.head_losses.len() as f64;
    monitor.gauge(&LOSS_MEAN, mean);
    monitor.gauge(&LOSS_MIN, summary.head_losses[summary.best_head]);
    monitor.gauge(
        &LOSS_MAX,
        summary
            .head_losses
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max),
    );
    monitor.gauge_list(&HEAD_LOSS, &summary.head_losses);
    monitor.gauge(&UTILISATION, summary.utilisation);
    monitor.gauge(&MARGINAL_ENTROPY, summary.marginal_entropy);
    tracing::debug!(
        epoch = summary.epoch,
        mean,
        best = summary.best_head,
        utilisation = summary.utilisation,
        marginal_entropy = summary.marginal_entropy,
        head_losses = ?summary.head_losses,
        "epoch"
    );
}

/// Clusters features in memory by k-means.
///
/// # Errors
/// `Reject` if features or parameters do not fit; `Drained` if the monitor requests a stop.
pub fn cluster_kmeans(
    features: &Features,
    params: &KmeansParams,
    clusters: u32,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<Clustering, JobError> {
    kmeans_by(features, clusters, monitor, |progress| {
        kmeans::fit(features, clusters, params, seed, progress)
    })
}

/// Clusters rows that need not fit into memory by k-means with mini-batches.
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
    kmeans_by(rows, clusters, monitor, |progress| {
        kmeans::fit_mini_batch(rows, clusters, params, seed, progress)
    })
}

/// Progress callback of k-means with (starts done, starts in all, inertia so far); returns whether
/// to continue.
type Progress<'a> = &'a mut dyn FnMut(u32, u32, f64) -> bool;

/// Runs k-means by `fit` and measures on a sample how often neighbours share a cluster.
fn kmeans_by(
    rows: &dyn RowSource,
    clusters: u32,
    monitor: &dyn Monitor,
    fit: impl FnOnce(Progress<'_>) -> Result<Option<Fitted>, ClusteringError>,
) -> Result<Clustering, JobError> {
    let mut progress = |done: u32, starts: u32, inertia: f64| {
        monitor.progress(done.into(), starts.into(), "starts");
        monitor.gauge(&INERTIA, inertia);
        !monitor.stopping()
    };
    let started = Instant::now();
    let fitted = fit(&mut progress)?.ok_or(JobError::Drained)?;
    let kmeans_seconds = Some(started.elapsed().as_secs_f64());
    let ids = Vec::<i64>::try_from(&fitted.ids).map_err(JobError::bug)?;
    // A sample: the search over all rows would take longer than k-means itself.
    let neighbour_agreement = Some(knn::sampled_agreement(
        rows,
        &ids,
        SAMPLED_NEIGHBOURS,
        SAMPLED_ROWS,
    )?);
    Ok(Clustering {
        neighbour_agreement,
        inertia: Some(fitted.inertia),
        centroids: Some(
            fitted
                .centroids
                .to_device(tch::Device::Cpu)
                .to_kind(Kind::Double),
        ),
        statistics: RunStatistics {
            kmeans_seconds,
            inertias: fitted.inertias,
            iterations: Some(fitted.iterations),
            ..RunStatistics::default()
        },
        ..Clustering::from_ids(ids, clusters)
    })
}
