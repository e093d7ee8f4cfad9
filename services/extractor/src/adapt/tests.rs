//! Training learns something, and a run that was interrupted ends with the same bits.

use super::*;
use cedm_runtime::QuietMonitor;
use std::cell::{Cell, RefCell};
use tch::Device;

/// Two kinds of image: stripes along x or y, with a phase.
fn images() -> Vec<Picture> {
    let pixel = |index: usize, x: usize, y: usize| {
        let along = if index.is_multiple_of(2) { x } else { y };
        if (along + index / 2) % 4 < 2 { 220u8 } else { 30 }
    };
    (0..24)
        .map(|index| Picture::new(8, 8, 3, (0..64).flat_map(|at| [pixel(index, at % 8, at / 8); 3]).collect()).unwrap())
        .collect()
}
fn params() -> AdaptParams {
    AdaptParams {
        start: AdaptStart::Fresh {
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
        flip: false,
        head: (32, 16, 24),
        learning_rate: 0.05,
        ..AdaptParams::default()
    }
}
fn state(params: &AdaptParams) -> AdaptState {
    AdaptState::start(params, None, Device::Cpu).unwrap()
}
fn saved(state: &AdaptState) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    state.save(&file).unwrap();
    std::fs::read(file).unwrap()
}

/// Stops before the given step, and keeps the checkpoint.
struct StopsAt {
    calls: Cell<u64>,
    stop: u64,
    kept: RefCell<Option<(u64, std::path::PathBuf)>>,
    folder: tempfile::TempDir,
}
impl Monitor for StopsAt {
    fn progress(&self, done: u64, _: u64, _: &'static str) {
        self.calls.set(done);
    }
    fn gauge(&self, _: &'static str, _: f64) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn stopping(&self) -> bool {
        self.calls.get() >= self.stop
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
    fn resume(&self) -> Result<Option<(u64, std::path::PathBuf)>, JobError> {
        Ok(self.kept.borrow().clone())
    }
}

#[test]
fn a_run_that_was_stopped_ends_with_the_same_bits() {
    tch::set_num_threads(1);
    let (params, images, scratch) = (params(), images(), tempfile::tempdir().unwrap());
    let mut whole = state(&params);
    let expect = adapt(&params, &images, &mut whole, scratch.path(), &QuietMonitor).unwrap();
    assert_eq!(expect.steps, 9);
    let monitor = StopsAt {
        calls: Cell::new(0),
        stop: 4,
        kept: RefCell::default(),
        folder: tempfile::tempdir().unwrap(),
    };
    let stopped = adapt(&params, &images, &mut state(&params), scratch.path(), &monitor);
    assert!(matches!(stopped, Err(JobError::Drained)));
    let monitor = StopsAt {
        stop: u64::MAX,
        calls: Cell::new(0),
        ..monitor
    };
    let mut second = state(&params);
    adapt(&params, &images, &mut second, scratch.path(), &monitor).unwrap();
    assert!(saved(&whole) == saved(&second));
}

#[test]
fn the_teacher_changes_and_does_not_collapse() {
    let (params, images, scratch) = (params(), images(), tempfile::tempdir().unwrap());
    let mut run = state(&params);
    let before = saved(&run);
    let found = adapt(&params, &images, &mut run, scratch.path(), &QuietMonitor).unwrap();
    assert!(found.loss.is_finite() && found.loss <= (24f64).ln() + 0.5, "{found:?}");
    assert!(found.spread > 1e-4, "{found:?}");
    assert!(saved(&run) != before);
}

#[test]
fn impossible_parameters_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    let check = |params: AdaptParams, expect: &str| {
        let error = adapt(&params, &images(), &mut state(&params), scratch.path(), &QuietMonitor)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(AdaptParams { batch: 25, ..params() }, "24 images are less than one batch of 25");
    check(AdaptParams { local_size: 1, ..params() }, "hold no patch of 2");
    check(
        AdaptParams {
            local_scale: (0.0, 0.5),
            ..params()
        },
        "crop scales",
    );
    let odd = AdaptParams {
        start: AdaptStart::Fresh {
            image: 9,
            patch: 2,
            dim: 16,
            depth: 1,
            heads: 2,
        },
        ..params()
    };
    assert!(
        AdaptState::start(&odd, None, Device::Cpu)
            .err()
            .unwrap()
            .to_string()
            .contains("sizes must divide")
    );
}
