//! The recipes of the three kinds of job: learn from a set, extract one shard, merge the shards.

use crate::{Statistics, extract_shard, fit_shards, images_of, write_features};
use anyhow::anyhow;
use cedm_contract::{
    FeatureSet, JobResult, JobSpec, Manifest, Service, ShardRef,
    params::{ExtractParams, ExtractorSpec, FeaturesParams, FitParams},
};
use cedm_nets::Extractor;
use cedm_runtime::{Desk, JobError, Monitor, Outcome, Stability, Worker};
use std::{collections::BTreeMap, time::Instant};

const FIT: &str = "extractor.safetensors";
const FEATURES: &str = "features.safetensors";
const STATISTICS: &str = "stats.safetensors";

/// The extractor at work; it keeps the network of the last job.
pub struct ExtractorWorker {
    loaded: Option<Loaded>,
}

/// A network and what it was loaded from.
struct Loaded {
    spec: ExtractorSpec,
    /// Digest of the Fit manifest, of fitted extractors.
    fit: Option<String>,
    extractor: Extractor,
}

impl ExtractorWorker {
    /// Starts libtorch.
    pub fn start() -> Self {
        cedm_torch::start();
        Self { loaded: None }
    }
}

impl Worker for ExtractorWorker {
    fn service(&self) -> Service {
        Service::Extractor
    }

    fn device(&self) -> String {
        cedm_torch::device_name()
    }

    fn counters(&self) -> Vec<(&'static str, &'static str)> {
        vec![("cedm_extract_images_total", "Images turned into features")]
    }

    fn perform(&mut self, desk: &Desk) -> Result<Outcome, JobError> {
        let _guard = tch::no_grad_guard();
        match &desk.job().spec {
            JobSpec::Fit(params) => fit(desk, params),
            JobSpec::Extract(params) => self.extract(desk, params),
            JobSpec::Features(params) => merge(desk, params),
            other => Err(JobError::reject(anyhow!(
                "the extractor performs fit, extract and features jobs, this is a {} job",
                other.kind()
            ))),
        }
    }
}

impl ExtractorWorker {
    fn extract(&mut self, desk: &Desk, params: &ExtractParams) -> Result<Outcome, JobError> {
        let images = desk.input("images")?;
        let (shards, count) = shards_of(images)?;
        let shard = shards.get(params.shard as usize).ok_or_else(|| {
            JobError::reject(anyhow!(
                "shard {} of {} {}: it has {}",
                params.shard,
                images.kind(),
                images.key.short(),
                shards.len()
            ))
        })?;
        let pixels = cedm_images::read_shard(&desk.fetch(&shard.object)?).map_err(JobError::reject)?;
        self.load(desk, &params.extractor)?;
        let extractor = &self.loaded.as_ref().expect("invariant: loaded above").extractor;
        let started = Instant::now();
        let features = extract_shard(extractor, &images_of(&pixels), 0, shard.count, desk)?;
        let rate = shard.count as f64 / started.elapsed().as_secs_f64().max(1e-9);
        tracing::debug!(shard = params.shard, of = count, images_per_second = rate, "extracted");
        let file = desk.scratch().join(FEATURES);
        write_features(&features, &file).map_err(JobError::retry)?;
        desk.put(FEATURES, &file, Stability::Stable)?;
        let (count, dim) = (features.features.size()[0] as u64, features.features.size()[1] as u32);
        Ok(Outcome {
            result: JobResult::Extract { count, dim },
            metrics: BTreeMap::from([("images_per_second".to_owned(), rate)]),
        })
    }

    /// Loads the network unless the last job left it loaded.
    fn load(&mut self, desk: &Desk, spec: &ExtractorSpec) -> Result<(), JobError> {
        let fit = desk.optional("fit");
        let fit_digest = fit.map(|fit| fit.digest.to_string());
        if self
            .loaded
            .as_ref()
            .is_some_and(|last| last.spec == *spec && last.fit == fit_digest)
        {
            return Ok(());
        }
        self.loaded = None;
        let weights = spec.weights.as_ref().map(|weights| desk.fetch(weights)).transpose()?;
        let learnt = fit.map(|fit| desk.fetch_output(fit, FIT)).transpose()?;
        let extractor = Extractor::load(spec, weights.as_deref(), learnt.as_deref(), cedm_torch::device()).map_err(JobError::reject)?;
        self.loaded = Some(Loaded {
            spec: spec.clone(),
            fit: fit_digest,
            extractor,
        });
        Ok(())
    }
}

fn fit(desk: &Desk, params: &FitParams) -> Result<Outcome, JobError> {
    let (shards, count) = shards_of(desk.input("images")?)?;
    let out = desk.scratch().join(FIT);
    let dim = fit_shards(
        &params.extractor,
        shards.iter().map(|shard| desk.fetch(&shard.object)),
        count,
        &out,
        desk,
    )?;
    desk.put(FIT, &out, Stability::Stable)?;
    Ok(Outcome {
        result: JobResult::Fit { dim },
        metrics: BTreeMap::new(),
    })
}

fn merge(desk: &Desk, params: &FeaturesParams) -> Result<Outcome, JobError> {
    let inputs = desk.inputs("shard/");
    if inputs.len() != params.shards as usize {
        return Err(JobError::reject(anyhow!(
            "{} feature shards are given, {} are to be merged",
            inputs.len(),
            params.shards
        )));
    }
    let (mut files, mut shards, mut first, mut before) = (Vec::new(), Vec::new(), 0, None);
    for (role, manifest) in &inputs {
        let (JobSpec::Extract(extract), JobResult::Extract { count, .. }) = (&manifest.spec, &manifest.result) else {
            return Err(JobError::reject(anyhow!(
                "input {role} is the result of a {} job, expected extract",
                manifest.kind()
            )));
        };
        if before
            .replace(&extract.extractor)
            .is_some_and(|before| *before != extract.extractor)
        {
            return Err(JobError::reject(anyhow!(
                "input {role} comes from another extractor than the shards before it"
            )));
        }
        files.push(desk.fetch_output(manifest, FEATURES)?);
        let output = manifest.output(FEATURES).expect("invariant: it was fetched");
        shards.push(ShardRef {
            object: output.object.clone(),
            first,
            count: *count,
        });
        first += count;
    }
    let statistics = Statistics::of(&files).map_err(JobError::reject)?;
    let out = desk.scratch().join(STATISTICS);
    statistics.write(&out).map_err(JobError::retry)?;
    desk.put(STATISTICS, &out, Stability::Stable)?;
    desk.progress(first, first, "images");
    Ok(Outcome {
        result: JobResult::Features(FeatureSet {
            count: first,
            dim: statistics.dim(),
            shards,
        }),
        metrics: BTreeMap::new(),
    })
}

/// Shards and number of images of an image set or sample set.
fn shards_of(images: &Manifest) -> Result<(&[ShardRef], u64), JobError> {
    match &images.result {
        JobResult::Import(set) => Ok((&set.shards, set.count)),
        JobResult::SampleSet(set) => Ok((&set.shards, set.count)),
        _ => Err(JobError::reject(anyhow!(
            "the images come from a {} job, expected import or sample_set",
            images.kind()
        ))),
    }
}
