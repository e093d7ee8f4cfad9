//! The recipes of the two kinds of job.

mod neighbours;

use crate::{
    artefact::{Artefact, Clustering, QualityInputs},
    compute, inputs, metrics,
};
use anyhow::anyhow;
use cedm_contract::{
    JobResult, JobSpec, Manifest, OutputName, Service,
    kinds::cluster::{ASSIGNMENTS, CURVE, ClusterInputs, ClusterMethod, ClusterParams, HEADS},
};
use cedm_runtime::{JobContext, JobError, Outcome, Worker, metrics::MetricDefinition};
use cedm_torch::tensor_files;
use std::{collections::BTreeMap, time::Instant};
use tch::Tensor;

/// The clusterer at work.
pub struct ClustererWorker {
    tile_bytes: u64,
}

impl ClustererWorker {
    /// Starts libtorch. A search for neighbours uses `tile_bytes` for similarities.
    pub fn start(tile_bytes: u64) -> Self {
        cedm_torch::start();
        Self { tile_bytes }
    }
}

impl Worker for ClustererWorker {
    fn service(&self) -> Service {
        Service::Clusterer
    }

    fn device(&self) -> String {
        cedm_torch::device_name()
    }

    fn metrics(&self) -> &'static [&'static MetricDefinition] {
        metrics::METRICS
    }

    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        match &context.job().spec {
            JobSpec::Neighbours(params) => neighbours::perform(context, params, self.tile_bytes),
            JobSpec::Cluster(params) => cluster(context, params),
            other => Err(JobError::wrong_kind(Service::Clusterer, other.kind())),
        }
    }
}

fn cluster(context: &JobContext, params: &ClusterParams) -> Result<Outcome, JobError> {
    let ClusterInputs {
        features,
        neighbours,
        images,
    } = context.inputs::<ClusterParams>()?;
    let needed = |features: Option<_>| {
        features.ok_or_else(|| {
            JobError::reject(anyhow!(
                "the job has no input `features`, its method needs one"
            ))
        })
    };
    let neighbours = neighbours
        .map(|manifest| inputs::neighbours(context, manifest))
        .transpose()?;
    let started = Instant::now();
    let clustering = match &params.method {
        ClusterMethod::Temi(temi) => {
            let partners = neighbours.as_ref().ok_or_else(|| {
                JobError::reject(anyhow!(
                    "TEMI needs an input `neighbours`, the job has none"
                ))
            })?;
            compute::cluster_temi(
                &inputs::features(context, needed(features)?)?,
                partners,
                temi,
                params.clusters,
                params.seed,
                context.scratch(),
                context,
            )?
        }
        ClusterMethod::Kmeans(kmeans) if kmeans.mini_batch > 0 => compute::cluster_mini_batch(
            &inputs::feature_files(context, needed(features)?)?,
            kmeans,
            params.clusters,
            params.seed,
            context,
        )?,
        ClusterMethod::Kmeans(kmeans) => compute::cluster_kmeans(
            &inputs::features(context, needed(features)?)?,
            kmeans,
            params.clusters,
            params.seed,
            context,
        )?,
        ClusterMethod::GroundTruth { coarse } => {
            ground_truth(context, images, *coarse, params.clusters)?
        }
        ClusterMethod::Imported { ids } => {
            Clustering::from_ids(inputs::imported(context, images, ids)?, params.clusters)
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let labels = inputs::labels(context, images, false)?;
    let facts = QualityInputs {
        labels: labels.as_deref(),
        neighbours: neighbours.as_ref(),
    };
    let artefact = Artefact::new(&clustering, &facts).map_err(JobError::reject)?;
    put_tensors(context, ASSIGNMENTS, &artefact.tensors)?;
    if let Some(heads) = &clustering.heads {
        put_tensors(context, HEADS, heads)?;
        let curve = serde_json::to_vec(&serde_json::json!({ "head_losses": clustering.curve }))
            .map_err(JobError::bug)?;
        context.put_bytes(CURVE, &curve)?;
    }
    let result = artefact.result;
    tracing::info!(
        clusters = result.clusters,
        used = result.used,
        seconds,
        "clustered"
    );
    let mut metrics = BTreeMap::from([
        ("utilisation".to_owned(), result.utilisation),
        ("cluster_seconds".to_owned(), seconds),
    ]);
    if let Some(speed) = clustering.statistics.steps_per_second {
        metrics.insert("steps_per_second".to_owned(), speed);
    }
    Ok(Outcome {
        result: JobResult::Cluster(result),
        metrics,
    })
}

fn ground_truth(
    context: &JobContext,
    images: &Manifest,
    coarse: bool,
    clusters: u32,
) -> Result<Clustering, JobError> {
    let what = if coarse { "coarse labels" } else { "labels" };
    let labels = inputs::labels(context, images, coarse)?;
    let labels = labels.ok_or_else(|| {
        JobError::reject(anyhow!(
            "the image set {} has no {what}",
            images.key.short()
        ))
    })?;
    if let Some(image) = labels.iter().position(|&label| label < 0) {
        return Err(JobError::reject(anyhow!(
            "image {image} has no label: ground truth needs one for every image"
        )));
    }
    Ok(Clustering::from_ids(labels, clusters))
}

fn put_tensors(
    context: &JobContext,
    name: OutputName,
    tensors: &[(String, Tensor)],
) -> Result<(), JobError> {
    let file = context.scratch().join(name);
    tensor_files::write(&file, tensors, &[]).map_err(JobError::retry)?;
    context.put(name, &file)?;
    Ok(())
}
