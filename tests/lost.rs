//! Results whose objects are gone or damaged are made again, and nothing dies of it.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Kind, Manifest};
use cedm_runtime::{Submitter, store::Body};
use cedm_tests::{Start, System, digits, events::Watch, failpoint::Held};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);

/// Manifests of a kind.
fn made(system: &System, kind: Kind) -> Result<Vec<Manifest>> {
    system.with_connection(async |connection| {
        let mut found = Vec::new();
        for listed in connection.store().list("manifest/").await? {
            let bytes = connection
                .store()
                .get(&listed.key)
                .await?
                .context("a listed manifest is gone")?;
            found.push(Manifest::decode(&bytes)?);
        }
        found.retain(|manifest| manifest.kind() == kind);
        Ok(found)
    })
}

/// Removes every object of a result, or (where it `stays`) replaces its bytes by as many others.
fn spoil(system: &System, manifest: &Manifest, stays: bool) -> Result<()> {
    system.with_connection(async |connection| {
        for output in &manifest.outputs {
            let object = &output.object;
            if stays {
                let noise = vec![b'?'; usize::try_from(object.size)?];
                connection
                    .store()
                    .put(&object.object, Body::Bytes(noise.into()))
                    .await?;
            } else {
                connection.store().delete(&object.object).await?;
            }
        }
        Ok(())
    })
}

/// Waits until nothing is queued or in hand but training: everything that it reads is there.
fn until_only_training_is_left(system: &System) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    system.with_connection(async |connection| {
        let (submitter, mut in_a_row) = (Submitter::new(connection), 0);
        // The coordinator may be between a result and the jobs that follow from it.
        while in_a_row < 5 {
            let outstanding = submitter.outstanding(None).await?;
            let rest = outstanding
                .iter()
                .filter(|job| job.kind != Kind::Train)
                .count();
            in_a_row = if rest == 0 { in_a_row + 1 } else { 0 };
            ensure!(
                Instant::now() < end,
                "{rest} jobs beside the training do not end"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    })
}

/// A later sweep reuses what verifies and makes the rest again.
#[test]
fn a_spoilt_cache_is_no_hit() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    ensure!(
        Watch::on(&system, "tiny")?.end(PATIENCE)?,
        "the first sweep did not complete"
    );
    let expected = system.digests("tiny")?;
    // The coordinator has seen all of these sound. It must not take its own word for it: here it is
    // a new process.
    spoil(
        &system,
        made(&system, Kind::Features)?
            .first()
            .context("no features")?,
        false,
    )?;
    spoil(
        &system,
        made(&system, Kind::Cluster)?
            .first()
            .context("no clusters")?,
        true,
    )?;
    spoil(
        &system,
        made(&system, Kind::SampleSet)?
            .first()
            .context("no sample set")?,
        false,
    )?;
    let before = made(&system, Kind::Extract)?;
    system.signal("coordinator-1", nix::sys::signal::Signal::SIGKILL)?;
    ensure!(
        !system.run(&["fsck"])?.status.success(),
        "fsck finds nothing wrong with a spoilt store"
    );

    digits::submit(
        &system,
        "again",
        &digits::TINY.replace("name = \"tiny\"", "name = \"again\""),
    )?;
    ensure!(
        Watch::on(&system, "again")?.end(PATIENCE)?,
        "the second sweep did not complete"
    );
    assert_eq!(system.digests("again")?, expected);
    assert_eq!(
        made(&system, Kind::Extract)?,
        before,
        "what was sound was not made again"
    );
    assert_eq!(system.ask(&["fsck"])?["broken"], serde_json::json!([]));
    assert_eq!(system.ask(&["dead", "list"])?, serde_json::json!([]));
    Ok(())
}

/// A job in hand finds its input gone: the input is made again, then the job, with the same digests
/// at the end.
#[test]
fn an_input_that_is_lost_while_a_job_waits_for_it() -> Result<()> {
    let untouched = System::start()?;
    digits::submit(&untouched, "tiny", digits::TINY)?;
    ensure!(
        Watch::on(&untouched, "tiny")?.end(PATIENCE)?,
        "the undisturbed run did not complete"
    );
    let expected = untouched.digests("tiny")?;
    drop(untouched);

    for stays in [false, true] {
        let held = Held::at("trainer/before-inputs")?;
        let system = System::start_as(Start {
            environment: &[("CEDM_FAILPOINT", &held.variable())],
            ..Start::default()
        })?;
        digits::submit(&system, "tiny", digits::TINY)?;
        held.process(PATIENCE)?;
        until_only_training_is_left(&system)?;
        let clusters = made(&system, Kind::Cluster)?;
        ensure!(!clusters.is_empty(), "nothing was clustered");
        for manifest in &clusters {
            spoil(&system, manifest, stays)?;
        }
        held.release()?;
        ensure!(
            Watch::on(&system, "tiny")?.end(PATIENCE)?,
            "the sweep did not complete (stays: {stays})"
        );
        assert_eq!(system.digests("tiny")?, expected);
        assert_eq!(system.ask(&["dead", "list"])?, serde_json::json!([]));
        if !stays {
            // Sizes are looked at before a sweep ends; bytes that nobody reads any more only by
            // fsck.
            assert_eq!(system.ask(&["fsck"])?["broken"], serde_json::json!([]));
        }
        assert_ne!(
            made(&system, Kind::Cluster)?,
            clusters,
            "the clusters were made again"
        );
    }
    Ok(())
}
