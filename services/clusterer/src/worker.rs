//! The two kinds of job: find nearest neighbours, and cluster.

mod neighbours;

use crate::{
    artefact::{Artefact, Clustering, QualityInputs},
    compute, inputs, metrics,
};
use anyhow::anyhow;
use cedm_contract::{
    JobResult, JobSpec, Manifest, OutputName, Service,
    kinds::cluster::{ASSIGNMENTS, CURVE, ClusterInputs, ClusterMethod, ClusterParams, HEADS},
    run_metrics,
};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Outcome, Worker, metrics::MetricDefinition,
};
use cedm_torch::{Compute, DeviceError, tensor_files};
use std::{collections::BTreeMap, time::Instant};
use tch::{Device, Tensor};

/// Performs `neighbours` and `cluster` jobs.
pub struct ClustererWorker {
    compute: Compute,
    /// Memory for tiles of similarities in a search for neighbours.
    tile_bytes: u64,
}

impl ClustererWorker {
    /// Starts libtorch. A search for neighbours uses `tile_bytes` of memory for similarities.
    ///
    /// # Errors
    /// When the device that the environment asks for cannot be had.
    pub fn start(tile_bytes: u64) -> Result<Self, DeviceError> {
        Ok(Self {
            compute: cedm_torch::start()?,
            tile_bytes,
        })
    }
}

impl Worker for ClustererWorker {
    fn service(&self) -> Service {
        Service::Clusterer
    }

    fn device(&self) -> ComputeDevice {
        ComputeDevice {
            name: self.compute.device_name(),
            reason: self.compute.reason.clone(),
            deterministic: self.compute.deterministic,
        }
    }

    fn metrics(&self) -> &'static [&'static MetricDefinition] {
        metrics::METRICS
    }

    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        match &context.job().spec {
            JobSpec::Neighbours(params) => {
                neighbours::perform(context, params, self.tile_bytes, self.compute.device)
            }
            JobSpec::Cluster(params) => cluster(context, params, self.compute.device),
            other => Err(JobError::wrong_kind(Service::Clusterer, other.kind())),
        }
    }
}

fn cluster(
    context: &JobContext,
    params: &ClusterParams,
    device: Device,
) -> Result<Outcome, JobError> {
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
                &inputs::features(context, needed(features)?, device)?,
                partners,
                temi,
                params.clusters,
                params.seed,
                context.scratch(),
                context,
            )?
        }
        // Mini-batches read rows from files: they are for sets whose features exceed the memory.
        ClusterMethod::Kmeans(kmeans) if kmeans.mini_batch > 0 => compute::cluster_mini_batch(
            &inputs::feature_files(context, needed(features)?, device)?,
            kmeans,
            params.clusters,
            params.seed,
            context,
        )?,
        ClusterMethod::Kmeans(kmeans) => compute::cluster_kmeans(
            &inputs::features(context, needed(features)?, device)?,
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
    // Labels judge the clustering afterwards; no method but ground truth sees them.
    let labels = inputs::labels(context, images, false)?;
    let quality_inputs = QualityInputs {
        labels: labels.as_deref(),
        neighbours: neighbours.as_ref(),
    };
    let artefact = Artefact::new(&clustering, &quality_inputs)?;
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
        (run_metrics::UTILISATION.to_owned(), result.utilisation),
        (run_metrics::CLUSTER_SECONDS.to_owned(), seconds),
    ]);
    if let Some(speed) = clustering.statistics.steps_per_second {
        metrics.insert(run_metrics::STEPS_PER_SECOND.to_owned(), speed);
    }
    Ok(Outcome {
        result: JobResult::Cluster(result),
        metrics,
    })
}

/// The labels of the images as clusters; every image must have one.
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

/// Stores tensors as the output `name` of the job.
fn put_tensors(
    context: &JobContext,
    name: OutputName,
    tensors: &[(String, Tensor)],
) -> Result<(), JobError> {
    let file = context.scratch().join(name);
    tensor_files::write(&file, tensors, &[])?;
    context.put(name, &file)?;
    Ok(())
}
