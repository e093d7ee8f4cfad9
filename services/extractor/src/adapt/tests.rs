//! Training learns something, and a run that was interrupted ends with the same bits.

use super::*;
use cedm_contract::{ExtractorSpec, Precision, kinds::adapt::VitSize};
use cedm_images::Shard;
use cedm_runtime::QuietMonitor;
use std::cell::{Cell, RefCell};
use tch::Device;

/// Two kinds of image: stripes along x or y, with a phase.
fn images() -> Album {
    let pixel = |index: usize, x: usize, y: usize| {
        let along = if index.is_multiple_of(2) { x } else { y };
        if (along + index / 2) % 4 < 2 {
            220u8
        } else {
            30
        }
    };
    let mut album = Album::default();
    for indices in [0..10usize, 10..24] {
        let shard = Shard {
            count: indices.len(),
            channels: 1,
            resolution: 8,
            images: indices
                .flat_map(|index| (0..64).map(move |at| pixel(index, at % 8, at / 8)))
                .collect(),
            ..Shard::default()
        };
        album.add(shard).unwrap();
    }
    album
}
fn params() -> DinoParams {
    DinoParams {
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
        flip: false,
        head: (32, 16, 24),
        learning_rate: 0.05,
        ..DinoParams::default()
    }
}
fn extractor(name: &str) -> ExtractorSpec {
    ExtractorSpec {
        name: name.to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    }
}
fn state(params: &DinoParams) -> AdaptState {
    AdaptState::start(&extractor("vit"), params, None, Device::Cpu).unwrap()
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
    let stopped = adapt(
        &params,
        &images,
        &mut state(&params),
        scratch.path(),
        &monitor,
    );
    assert!(matches!(stopped, Err(JobError::Drained)));
    let monitor = StopsAt {
        stop: u64::MAX,
        calls: Cell::new(0),
        ..monitor
    };
    let mut second = state(&params);
    let found = adapt(&params, &images, &mut second, scratch.path(), &monitor).unwrap();
    assert_eq!(
        found, expect,
        "what is reported does not tell of the stop either"
    );
    assert!(saved(&whole) == saved(&second));
}

#[test]
fn the_teacher_changes_and_does_not_collapse() {
    let (params, images, scratch) = (params(), images(), tempfile::tempdir().unwrap());
    let mut run = state(&params);
    let before = saved(&run);
    let found = adapt(&params, &images, &mut run, scratch.path(), &QuietMonitor).unwrap();
    assert!(
        found.loss.is_finite() && found.loss <= (24f64).ln() + 0.5,
        "{found:?}"
    );
    assert!(found.spread > 1e-4, "{found:?}");
    assert!(saved(&run) != before);
}

#[test]
fn impossible_parameters_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    let check = |params: DinoParams, expect: &str| {
        let error = adapt(
            &params,
            &images(),
            &mut state(&params),
            scratch.path(),
            &QuietMonitor,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(
        DinoParams {
            batch: 25,
            ..params()
        },
        "24 images are less than one batch of 25",
    );
    check(
        DinoParams {
            local_size: 1,
            ..params()
        },
        "hold no whole number of patches of 2",
    );
    check(
        DinoParams {
            local_scale: (0.0, 0.5),
            ..params()
        },
        "crop scales",
    );
    check(
        DinoParams {
            head: (8, 8, 1),
            ..params()
        },
        "a head of 8, 8 and 1",
    );
}

#[test]
fn what_cannot_be_adapted_is_told() {
    let check = |name: &str, params: &DinoParams, weights: Option<&Path>, expect: &str| {
        let error = AdaptState::start(&extractor(name), params, weights, Device::Cpu)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(expect), "{error}");
    };
    let odd = DinoParams {
        vit: VitSize {
            image: 9,
            ..params().vit
        },
        ..params()
    };
    check(
        "vit",
        &odd,
        None,
        "images of 9 pixels hold no whole number of patches of 2",
    );
    check("pca", &params(), None, "`pca` is no vision transformer");
    check("dino_vitb16", &params(), None, "needs its weight file");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.safetensors");
    state(&params()).write_backbone(&file).unwrap();
    check("dino_vitb16", &params(), Some(&file), "missing");
}

#[test]
fn a_backbone_that_was_adapted_can_be_adapted_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vit.safetensors");
    let (first, params) = (state(&params()), params());
    first.write_backbone(&file).unwrap();
    let again = AdaptState::start(
        &extractor("vit"),
        &DinoParams { seed: 5, ..params },
        Some(&file),
        Device::Cpu,
    )
    .unwrap();
    assert_eq!(
        again.config(),
        first.config(),
        "its size stands in the file, heads included"
    );
    let copy = folder.path().join("again.safetensors");
    again.write_backbone(&copy).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&copy).unwrap());
}
