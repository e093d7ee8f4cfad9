//! A worker whose clock is wrong: its retries are due by the broker's clock, and it says so.

use crate::harness::{Harness, JobEvents, eventually, job};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{Submitter, clock_warning, workers};
use std::{path::Path, process::Command};

/// With more than fifteen minutes stores refuse the signatures of requests.
const AHEAD_S: u32 = 10 * 60;

/// The library that sets a process's clock ahead, made by the C compiler that a build needs anyway.
fn clock_ahead(folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/clock_ahead.c");
    let library = folder.join("clock_ahead.so");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    assert!(made.expect("a C compiler").success());
    library.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_ahead_delays_no_longer_than_others() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let marker = harness.root.path().join("failed-once");
    let job = job(&format!("retry:{}", marker.display()));
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let (library, ahead) = (clock_ahead(harness.root.path()), AHEAD_S.to_string());
    let _worker = harness.worker(
        &[],
        &[
            ("LD_PRELOAD", library.as_str()),
            ("CLOCK_AHEAD_S", ahead.as_str()),
        ],
    );
    let failed = events.next(EventWhat::Failed).await;
    let own_ms = cedm_runtime::now_ms();
    assert!(
        failed.at_ms > own_ms + 9 * 60_000,
        "its clock is ahead indeed"
    );
    // Events are waited for a minute at most: ten would be too many.
    events.next(EventWhat::Done).await;

    let heartbeat = eventually("its clock is measured", async || {
        let worker = workers(&connection).await.unwrap().pop()?;
        worker.clock_skew_ms.is_some().then_some(worker)
    })
    .await;
    let skew_ms = heartbeat.clock_skew_ms.unwrap();
    let expected_ms = i64::from(AHEAD_S) * 1000;
    assert!((skew_ms - expected_ms).abs() < 30_000, "{skew_ms}");
    assert!(
        clock_warning(skew_ms)
            .unwrap()
            .contains("ahead of the broker's")
    );
    let address = heartbeat.metrics.trim_start_matches("http://");
    let address = address.trim_end_matches("/metrics").to_owned();
    let (_, metrics) = crate::process::get(&address, "/metrics").await;
    let series = r#"cedm_clock_skew_seconds{service="extractor"} "#;
    let shown = metrics.lines().find_map(|line| line.strip_prefix(series));
    let shown: f64 = shown.unwrap().parse().unwrap();
    assert!((shown - f64::from(AHEAD_S)).abs() < 30.0, "{shown}");
}
