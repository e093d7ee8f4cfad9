//! The same work submitted several times at once, under several names, with two coordinators, is
//! done once.

use anyhow::{Result, ensure};
use cedm_contract::{EventAttempt, EventWhat, JobKey, Kind};
use cedm_runtime::commits;
use cedm_tests::{StartOptions, System, digits, events::Watch, manifests};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn every_job_runs_once() -> Result<()> {
    let system = System::start_as(StartOptions {
        options: &["--workers", "coordinator=2,trainer=2,sampler=2"],
        // No process is killed here, so nothing needs to be redelivered; on a busy machine a short
        // wait would redeliver jobs of live workers.
        environment: &[("CEDM_ACK_WAIT_S", "300")],
        home: None,
    })?;
    digits::import(&system)?;
    let file = |name: &str| -> Result<String> {
        let path = system.home().join(format!("{name}.toml"));
        fs::write(
            &path,
            digits::TINY.replace("name = \"tiny\"", &format!("name = \"{name}\"")),
        )?;
        Ok(path.display().to_string())
    };
    let (first, twin) = (file("tiny")?, file("twin")?);
    // Two submissions under one name and one under another, concurrently.
    let system_ref = &system;
    let answers: Vec<serde_json::Value> = thread::scope(|scope| {
        let handles: Vec<_> = [&first, &first, &twin]
            .map(|path| scope.spawn(move || system_ref.run_json(&["submit", path.as_str()])))
            .into_iter()
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("invariant: submitting does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let attached = answers[..2]
        .iter()
        .filter(|answer| answer["attached"] == true)
        .count();
    assert_eq!(
        attached, 1,
        "one of two equal submissions creates the sweep, the other attaches: {answers:?}"
    );
    for sweep in ["tiny", "twin"] {
        ensure!(
            Watch::on(&system, sweep)?.end(TIMEOUT)?,
            "{sweep} did not complete"
        );
    }
    assert_eq!(system.digests("tiny")?, system.digests("twin")?);

    // Attempts are counted, not events: an event whose acknowledgement was lost is published again.
    let events = system.events()?;
    let failures: Vec<_> = events
        .iter()
        .filter(|event| {
            matches!(
                event.what,
                EventWhat::Failed | EventWhat::Superseded | EventWhat::Dead
            )
        })
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
    let mut attempts: BTreeMap<&JobKey, BTreeSet<EventAttempt>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event.what == EventWhat::Started)
    {
        attempts
            .entry(&event.key)
            .or_default()
            .extend(event.attempt);
    }
    let (commits, mut checked) = (commits(&events), 0);
    system.with_connection(async |connection| {
        for manifest in manifests(connection, None).await? {
            let committed: Vec<&Option<EventAttempt>> =
                commits.get(&manifest.key).into_iter().flatten().collect();
            if manifest.kind() != Kind::Import {
                assert_eq!(
                    committed.len(),
                    1,
                    "{} {} was committed by {committed:?}",
                    manifest.kind(),
                    manifest.key
                );
            }
            if manifest.kind().is_queued() {
                let started = attempts.get(&manifest.key).map_or(0, BTreeSet::len);
                assert_eq!(
                    started,
                    1,
                    "{} {} was started {started} times",
                    manifest.kind(),
                    manifest.key
                );
                assert_eq!(*committed[0], Some(EventAttempt::from(&manifest.attempt)));
                checked += 1;
            }
        }
        Ok(())
    })?;
    assert!(checked > 20, "only {checked} jobs");
    Ok(())
}
