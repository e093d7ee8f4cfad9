//! Small jobs and manifests for this crate's own tests.

use cedm_contract::{
    Attempt, ExtractorSpec, Hints, Job, JobResult, JobSpec, Manifest, Precision, Priority,
    kinds::fit::{FitParams, FitResult},
};

pub(crate) fn job(name: &str) -> Job {
    let extractor = ExtractorSpec {
        name: name.to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    };
    Job::new(
        JobSpec::Fit(FitParams { extractor }),
        Vec::new(),
        Priority::P1,
        Hints::default(),
    )
}

/// A manifest without outputs, always of the same job, by the attempt of this delivery.
pub(crate) fn manifest(delivery: u64) -> Manifest {
    let (job, result) = (job("test"), JobResult::Fit(FitResult { dim: 4 }));
    Manifest::of(job, Attempt::new(1, delivery), Vec::new(), result)
}
