//! Results whose objects are missing or damaged are recomputed, and no job becomes a dead letter.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Kind, Manifest};
use cedm_runtime::{Submitter, store::Body};
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Whether [`corrupt`] removes objects or overwrites their bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Remove,
    Overwrite,
}

/// Damages every object of a result; its manifest stays.
fn corrupt(system: &System, manifest: &Manifest, damage: Damage) -> Result<()> {
    system.with_connection(async |connection| {
        for output in &manifest.outputs {
            let object = &output.object;
            if damage == Damage::Overwrite {
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

/// Waits until no job but training is queued or running: all its inputs exist then.
fn wait_until_only_training_is_left(system: &System) -> Result<()> {
    let end = Instant::now() + TIMEOUT;
    system.with_connection(async |connection| {
        let (submitter, mut empty_readings) = (Submitter::new(connection), 0);
        // One empty reading is not enough: the coordinator may be about to submit the next jobs.
        while empty_readings < 5 {
            let outstanding = submitter.outstanding(None).await?;
            let rest = outstanding
                .iter()
                .filter(|job| job.kind != Kind::Train)
                .count();
            empty_readings = if rest == 0 { empty_readings + 1 } else { 0 };
            ensure!(
                Instant::now() < end,
                "{rest} jobs besides the training did not finish in time"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    })
}

/// Waits until fsck finds no broken result. The coordinator looks twice before it moves a broken
/// result aside and has it recomputed; of what the report does not read it knows the sizes alone,
/// until another sweep reuses it.
fn wait_until_intact(system: &System) -> Result<()> {
    let end = Instant::now() + TIMEOUT;
    loop {
        let fsck = system.run(&["fsck"])?;
        if fsck.status.success() {
            break;
        }
        ensure!(
            Instant::now() < end,
            "still broken: {}",
            String::from_utf8_lossy(&fsck.stdout)
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

/// A later sweep reuses results that verify and recomputes the others.
#[test]
fn damaged_results_are_not_reused() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    ensure!(
        Watch::on(&system, "tiny")?.end(TIMEOUT)?,
        "the first sweep did not complete"
    );
    let expected = system.digests("tiny")?;
    // The coordinator has verified all of these and cached that; it is killed below, so that it
    // must verify them again.
    corrupt(
        &system,
        system
            .manifests(Kind::Features)?
            .first()
            .context("no features")?,
        Damage::Remove,
    )?;
    corrupt(
        &system,
        system
            .manifests(Kind::Cluster)?
            .first()
            .context("no clusters")?,
        Damage::Overwrite,
    )?;
    corrupt(
        &system,
        system
            .manifests(Kind::SampleSet)?
            .first()
            .context("no sample set")?,
        Damage::Remove,
    )?;
    let before = system.manifests(Kind::Extract)?;
    system.signal("coordinator-1", nix::sys::signal::Signal::SIGKILL)?;
    ensure!(
        !system.run(&["fsck"])?.status.success(),
        "fsck reports a damaged store as intact"
    );

    digits::submit(
        &system,
        "again",
        &digits::TINY.replace("name = \"tiny\"", "name = \"again\""),
    )?;
    ensure!(
        Watch::on(&system, "again")?.end(TIMEOUT)?,
        "the second sweep did not complete"
    );
    assert_eq!(system.digests("again")?, expected);
    assert_eq!(
        system.manifests(Kind::Extract)?,
        before,
        "intact results were recomputed"
    );
    wait_until_intact(&system)?;
    assert_eq!(system.run_json(&["dead", "list"])?, serde_json::json!([]));
    Ok(())
}

/// A running job finds its input missing: the input is recomputed, then the job, with the same
/// digests at the end.
#[test]
fn an_input_lost_before_it_is_read_is_recomputed() -> Result<()> {
    let expected = digits::undisturbed("tiny", digits::TINY, TIMEOUT)?;

    for damage in [Damage::Remove, Damage::Overwrite] {
        let failpoint = Failpoint::at("trainer/before-inputs")?;
        let system = System::start_as(StartOptions {
            environment: &[("CEDM_FAILPOINT", &failpoint.variable())],
            ..StartOptions::default()
        })?;
        digits::submit(&system, "tiny", digits::TINY)?;
        failpoint.process(TIMEOUT)?;
        wait_until_only_training_is_left(&system)?;
        let clusters = system.manifests(Kind::Cluster)?;
        ensure!(!clusters.is_empty(), "nothing was clustered");
        for manifest in &clusters {
            corrupt(&system, manifest, damage)?;
        }
        failpoint.release()?;
        ensure!(
            Watch::on(&system, "tiny")?.end(TIMEOUT)?,
            "the sweep did not complete ({damage:?})"
        );
        assert_eq!(system.digests("tiny")?, expected);
        assert_eq!(system.run_json(&["dead", "list"])?, serde_json::json!([]));
        if damage == Damage::Remove {
            // Before a sweep ends, what its report reads is verified, and of the rest the sizes:
            // overwritten bytes that nobody reads any more are found by fsck alone.
            assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
        }
        assert_ne!(
            system.manifests(Kind::Cluster)?,
            clusters,
            "the clusters were not recomputed"
        );
    }
    Ok(())
}
