//! The same work asked for several times, at once, under several names, with two coordinators: done once.

use anyhow::{Result, ensure};
use cedm_tests::{System, digits, events::Watch};
use std::{collections::BTreeMap, fs, thread, time::Duration};

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn every_job_is_done_once() -> Result<()> {
    let system = System::start_with(&["--workers", "coordinator=2,trainer=2,sampler=2"])?;
    system.ask(&[
        "import",
        &digits::archive().display().to_string(),
        "--name",
        "digits",
        "--max-images",
        "64",
        "--shard-size",
        "32",
    ])?;
    let file = |name: &str| -> Result<String> {
        let path = system.home().join(format!("{name}.toml"));
        fs::write(&path, digits::TINY.replace("name = \"tiny\"", &format!("name = \"{name}\"")))?;
        Ok(path.display().to_string())
    };
    let (first, twin) = (file("tiny")?, file("twin")?);
    let mut events = Watch::everything(&system)?;
    // Twice under one name, once under another, all at the same time.
    let system_ref = &system;
    let answers: Vec<serde_json::Value> = thread::scope(|scope| {
        let handles: Vec<_> = [&first, &first, &twin]
            .map(|path| scope.spawn(move || system_ref.ask(&["submit", path.as_str()])))
            .into_iter()
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("invariant: submitting does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let attached = answers[..2].iter().filter(|answer| answer["attached"] == true).count();
    assert_eq!(
        attached, 1,
        "one of two equal submits makes the sweep, the other attaches: {answers:?}"
    );
    for sweep in ["tiny", "twin"] {
        ensure!(Watch::on(&system, sweep)?.end(PATIENCE)?, "{sweep} did not complete");
    }
    assert_eq!(system.digests("tiny")?, system.digests("twin")?);

    // Every key that was done by a worker was done exactly once.
    let wanted = system.digests("tiny")?.len();
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    while done.len() < wanted {
        let event = events.until("every result", PATIENCE, |event| {
            event["what"] == "done" && event["cached"] == false
        })?;
        *done.entry(event["key"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "done more than once: {twice:?}");
    Ok(())
}
