//! Small jobs and manifests, and a place for log lines, for this crate's own tests.

use cedm_contract::{
    Attempt, ExtractorSpec, Hints, Job, JobResult, JobSpec, Manifest, Precision, Priority,
    kinds::fit::{FitParams, FitResult},
};
use std::{
    io,
    sync::{Arc, Mutex},
};

/// What was logged, to be read by the test.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
