//! A job that was stopped writes a checkpoint, and its next attempt ends as if nothing happened.

use super::*;
use cedm_contract::{
    ExtractorSpec, Precision,
    kinds::adapt::{DinoParams, VitSize},
};
use cedm_dino::ImageSource;
use cedm_images::Shard;
use cedm_runtime::QuietMonitor;
use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
};
use tch::Device;

/// 24 grey images of 8 × 8 pixels, 3 epochs of 3 steps.
fn training() -> Training {
    let mut images = ImageSource::default();
    let shard = Shard {
        count: 24,
        channels: 1,
        resolution: 8,
        images: (0..24 * 64).map(|at| (at * 37 % 251) as u8).collect(),
        ..Shard::default()
    };
    images.add(shard).unwrap();
    let params = DinoParams {
        vit: VitSize {
            image: 8,
            patch: 2,
            dim: 16,
            depth: 1,
            heads: 2,
        },
        epochs: 3,
        batch: 8,
        local_crops: 2,
        local_size: 4,
        head: (32, 16, 24),
        ..DinoParams::default()
    };
    let extractor = ExtractorSpec {
        name: "vit".to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    };
    Training::new(&extractor, &params, None, images, Device::Cpu).unwrap()
}

/// A monitor that requests a stop after the given step and keeps the checkpoint.
struct StopsAfter {
    step: u64,
    done: Cell<u64>,
    kept: RefCell<Option<(u64, PathBuf)>>,
    folder: tempfile::TempDir,
}

impl Monitor for StopsAfter {
    fn progress(&self, done: u64, _: u64, _: &'static str) {
        self.done.set(done);
    }
    fn stopping(&self) -> bool {
        self.done.get() >= self.step
    }
    fn checkpoint_due(&self) -> bool {
        false
    }
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let copy = self.folder.path().join("kept");
        std::fs::copy(file, &copy).unwrap();
        *self.kept.borrow_mut() = Some((step, copy));
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        Ok(self.kept.borrow().clone())
    }
}

#[test]
fn a_stopped_job_resumes_at_its_checkpoint_with_the_same_result() {
    tch::set_num_threads(1);
    let scratch = tempfile::tempdir().unwrap();
    let mut whole = training();
    let expect = adapt(&mut whole, scratch.path(), &QuietMonitor).unwrap();
    assert_eq!(expect.steps, 9);
    let monitor = StopsAfter {
        step: 4,
        done: Cell::new(0),
        kept: RefCell::default(),
        folder: tempfile::tempdir().unwrap(),
    };
    let stopped = adapt(&mut training(), scratch.path(), &monitor);
    assert!(matches!(stopped, Err(JobError::Drained)));
    assert_eq!(
        monitor.kept.borrow().as_ref().map(|(step, _)| *step),
        Some(4)
    );
    let monitor = StopsAfter {
        step: u64::MAX,
        ..monitor
    };
    let mut resumed = training();
    let found = adapt(&mut resumed, scratch.path(), &monitor).unwrap();
    assert_eq!(found, expect);
    assert_eq!(resumed.curve(), whole.curve());
}
