//! One lifecycle of a sweep: whatever happens to it, `status`, `watch`, `cancel`, `submit`, `fsck`
//! and the coordinator say the same; what has ended without its results can be run again; and what
//! cannot be read stops nothing else.

use anyhow::{Context, Result, ensure};
use cedm_contract::{JobKey, Kind};
use cedm_runtime::store::Body;
use cedm_sweep::Sweep;
use cedm_tests::{System, digits, events::Watch, http, program, wait_until};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(300);

fn put(system: &System, key: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
    let bytes: Vec<u8> = bytes.into();
    system.with_connection(async |connection| {
        let body = Body::Bytes(bytes.into());
        Ok(connection.store().put(key, body).await?)
    })
}

fn get(system: &System, key: &str) -> Result<Option<Vec<u8>>> {
    system.with_connection(async |connection| {
        let found = connection.store().get(key).await?;
        Ok(found.map(|bytes| bytes.to_vec()))
    })
}

fn text(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Runs a command, as a person does, that must fail; what it says.
fn fails(system: &System, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program("cedm")?)
        .arg("--home")
        .arg(system.home())
        .args(arguments)
        .output()?;
    ensure!(!output.status.success(), "cedm {arguments:?} succeeded");
    ensure!(
        output.status.code() == Some(1),
        "cedm {arguments:?}: {}",
        output.status
    );
    Ok(text(&output))
}

fn state(system: &System, sweep: &str) -> Result<String> {
    let of_one = system.run_json(&["status", sweep])?["state"].clone();
    let all = system.run_json(&["status"])?;
    let rows = all["sweeps"].as_array().context("no sweeps")?;
    let row = rows
        .iter()
        .find(|row| row["sweep"] == sweep)
        .with_context(|| format!("{sweep} is not listed"))?;
    ensure!(
        row["state"] == of_one,
        "the list says {}, the sweep {of_one}",
        row["state"]
    );
    Ok(of_one.as_str().context("no state")?.to_owned())
}

/// What the coordinator shows at `/metrics`.
fn metrics(system: &System) -> Result<String> {
    let state: Value = serde_json::from_slice(&fs::read(system.home().join("state.json"))?)?;
    let children = state["children"].as_array().context("no children")?;
    let coordinator = children
        .iter()
        .find(|child| child["name"] == "coordinator-1")
        .context("no coordinator")?;
    let address = coordinator["metrics"].as_str().context("no address")?;
    Ok(http::get(address, "/metrics")?.1)
}

/// Waits until a gauge of the coordinator has this value.
fn wait_for_gauge(system: &System, name: &str, expected: f64) -> Result<()> {
    wait_until(&format!("{name} = {expected}"), TIMEOUT, || {
        let found = metrics(system)?;
        let values = found
            .lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.into_iter().any(|value| value == expected))
    })
}

fn complete(system: &System, sweep: &str) -> Result<()> {
    ensure!(
        Watch::on(system, sweep)?.end(TIMEOUT)?,
        "{sweep} did not complete: {}",
        text(&system.run(&["status", sweep])?)
    );
    // Who sees the end of a watch sees the coordinator's mark, without which no sweep is complete.
    ensure!(state(system, sweep)? == "complete");
    Ok(())
}

/// Attack: garbage and numbers beyond every limit where a sweep should be.
#[test]
fn what_cannot_be_read_stops_nothing_and_can_be_cancelled() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "good", digits::SMALL)?;
    complete(&system, "good")?;

    // Sweeps as a program without limits, a stranger or a damaged disk could have stored them.
    let spec = get(&system, "sweep/good/spec")?.context("no spec")?;
    let huge = |name: &str, change: &dyn Fn(&mut Sweep)| -> Result<()> {
        let mut sweep = Sweep::decode(&spec)?;
        sweep.id = name.parse()?;
        change(&mut sweep);
        put(&system, &format!("sweep/{name}/spec"), sweep.encode())
    };
    huge("channels", &|sweep| {
        sweep.spec.training.network.model_channels = 4_000_000_000;
    })?;
    huge("sets", &|sweep| sweep.spec.sampling.sets = 4_000_000_000)?;
    put(
        &system,
        "sweep/garbage/spec",
        b"\0\xff\xfe no sweep".to_vec(),
    )?;
    put(&system, "sweep/misplaced/spec", spec.clone())?;
    put(&system, "dataset/ruin", b"\0\xff".to_vec())?;
    wait_for_gauge(&system, "cedm_sweeps_unreadable", 4.0)?;

    let all = system.run_json(&["status"])?;
    let rows = all["sweeps"].as_array().context("no sweeps")?;
    for (name, says) in [
        (
            "channels",
            "model_channels` is 4000000000: expected at most 4096",
        ),
        ("sets", "expected at most 1000"),
        (
            "garbage",
            "object `sweep/garbage/spec`: sweep cannot be decoded",
        ),
        ("misplaced", "it is that of `good`"),
    ] {
        let row = rows.iter().find(|row| row["sweep"] == name);
        let row = row.with_context(|| format!("{name} is not listed: {all}"))?;
        let reason = row["reason"].as_str().context("no reason")?;
        ensure!(
            row["state"] == "unreadable" && reason.contains(says),
            "{row}"
        );
        let said = fails(&system, &["watch", name])?;
        ensure!(said.contains(&format!("cedm cancel {name}")), "{said}");
    }
    let said = fails(&system, &["fsck"])?;
    ensure!(
        said.contains("garbage") && said.contains("dataset/ruin"),
        "{said}"
    );

    // Everything else goes on: a new sweep runs to its end, the nameless watch follows it, and a
    // sweep beside the garbage can be cancelled.
    let twin = digits::SMALL.replace("budget_kimg = 0.256", "budget_kimg = 0.512");
    digits::submit(&system, "twin", &twin)?;
    let watched = system.run(&["watch"])?;
    let ended = text(&watched);
    ensure!(
        watched.status.success() || ended.contains("no sweep is running"),
        "{ended}"
    );
    complete(&system, "twin")?;
    let key = JobKey::of(b"none").to_string();
    let said = text(&system.run(&["explain", &key])?);
    ensure!(!said.contains("cannot be read"), "{said}");
    digits::submit(&system, "long", digits::LONG)?;
    ensure!(system.run_json(&["cancel", "long"])?["cancelled"] == true);
    ensure!(state(&system, "long")? == "cancelled");

    // The name of a damaged image set is an error that names its object, for who uses it alone.
    let file = system.home().join("ruin.toml");
    fs::write(
        &file,
        digits::SMALL.replace("set = \"digits\"", "set = \"ruin\""),
    )?;
    let said = fails(&system, &["submit", &file.display().to_string()])?;
    ensure!(said.contains("object `dataset/ruin` has 2 bytes"), "{said}");

    // Each is cancelled without being understood, once.
    for name in ["channels", "sets", "garbage", "misplaced"] {
        ensure!(
            system.run_json(&["cancel", name])?["cancelled"] == true,
            "{name}"
        );
        ensure!(state(&system, name)? == "cancelled");
        ensure!(system.run_json(&["cancel", name])?["cancelled"] == false);
    }
    wait_for_gauge(&system, "cedm_sweeps_unreadable", 0.0)?;
    wait_for_gauge(&system, "cedm_sweeps_active", 0.0)?;
    ensure!(fails(&system, &["cancel", "nobody"])?.contains("not found"));
    Ok(())
}

/// A watch that runs while its sweep is cancelled ends, and says so; the same file runs it again.
#[test]
fn a_cancelled_sweep_ends_its_watch_and_is_reopened_by_its_file() -> Result<()> {
    let system = System::start()?;
    let toml = digits::SMALL.replace("budget_kimg = 0.256", "budget_kimg = 20");
    let first = digits::submit(&system, "slow", &toml)?;
    ensure!(
        first["attached"] == false && first["reopened"] == false,
        "{first}"
    );
    let mut watch = Watch::on(&system, "slow")?;
    watch.until("a training", TIMEOUT, |event| {
        event["kind"] == "train" && event["what"] == "started"
    })?;
    let attached = digits::submit(&system, "slow", &toml)?;
    ensure!(
        attached["attached"] == true
            && attached["reopened"] == false
            && attached["found"] == "running",
        "{attached}"
    );
    ensure!(system.run_json(&["cancel", "slow"])?["cancelled"] == true);
    ensure!(!watch.end(TIMEOUT)?, "a cancelled sweep counts as complete");
    let said = fails(&system, &["watch", "slow"])?;
    ensure!(said.contains("sweep slow was cancelled"), "{said}");
    ensure!(state(&system, "slow")? == "cancelled");

    // Two at once reopen it once or twice: either way it runs, and to its end.
    let file = system.home().join("slow.toml").display().to_string();
    let answers = std::thread::scope(|scope| -> Result<Vec<Value>> {
        let submit = || system.run_json(&["submit", &file, "--name", "slow"]);
        let both = [scope.spawn(submit), scope.spawn(submit)];
        both.into_iter()
            .map(|one| one.join().expect("invariant: submitting does not panic"))
            .collect()
    })?;
    ensure!(
        answers
            .iter()
            .any(|answer| answer["reopened"] == true && answer["found"] == "cancelled"),
        "{answers:?}"
    );
    ensure!(
        answers.iter().all(|answer| answer["attached"] == true),
        "{answers:?}"
    );
    complete(&system, "slow")?;
    ensure!(system.run_json(&["cancel", "slow"])?["cancelled"] == false);
    let again = digits::submit(&system, "slow", &toml)?;
    ensure!(
        again["reopened"] == false && again["found"] == "complete",
        "{again}"
    );
    Ok(())
}

/// Results of a complete sweep are lost: every command says so, none waits for ever, and both a
/// submission and `fsck --repair` bring them back with the same digests.
#[test]
fn a_complete_sweep_that_lost_results_is_damaged_until_it_runs_again() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "small", digits::SMALL)?;
    complete(&system, "small")?;
    let expected = system.digests("small")?;
    let lose = |kind: Kind| -> Result<()> {
        let manifest = system.manifests(kind)?;
        let object = &manifest.first().context("no result")?.outputs[0]
            .object
            .object;
        system.with_connection(async |connection| Ok(connection.store().delete(object).await?))
    };

    // An object is deleted; then submitted again.
    lose(Kind::Features)?;
    ensure!(state(&system, "small")? == "damaged");
    let said = fails(&system, &["watch", "small"])?;
    ensure!(said.contains("sweep small is damaged"), "{said}");
    let said = fails(&system, &["fsck", "--sweep", "small"])?;
    ensure!(said.contains("is missing"), "{said}");
    let answer = digits::submit(&system, "small", digits::SMALL)?;
    ensure!(
        answer["reopened"] == true && answer["found"] == "damaged",
        "{answer}"
    );
    complete(&system, "small")?;
    assert_eq!(system.digests("small")?, expected);

    // Bytes are flipped in a result that nobody reads any more: sizes are right, so only fsck sees
    // it.
    let clusters = system.manifests(Kind::Cluster)?;
    let object = &clusters.first().context("no clusters")?.outputs[0].object;
    let mut bytes = get(&system, &object.object)?.context("no object")?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    put(&system, &object.object, bytes)?;
    // And a manifest is overwritten: not even the kind of its job can be read from it.
    let scores = system.manifests(Kind::Score)?;
    let score = &scores.first().context("no score")?.key;
    put(&system, &format!("manifest/{score}"), "?")?;
    let said = fails(&system, &["fsck"])?;
    ensure!(said.contains("has digest"), "{said}");

    let repaired = system.run_json(&["fsck", "--repair"])?;
    let gone = repaired["repair"]["set_aside"]
        .as_array()
        .context("no repair")?;
    assert_eq!(gone.len(), 2, "{repaired}");
    assert_eq!(repaired["repair"]["reopened"], serde_json::json!(["small"]));
    complete(&system, "small")?;
    assert_eq!(system.digests("small")?, expected);
    assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
    // Nothing was deleted that is not kept.
    let kept = system.with_connection(async |connection| {
        Ok(connection.store().list("suspect/manifest/").await?.len())
    })?;
    assert!(kept >= 2, "{kept} manifests were kept");
    let nothing = system.run_json(&["fsck", "--repair"])?;
    assert_eq!(
        nothing["repair"]["reopened"],
        serde_json::json!([]),
        "{nothing}"
    );

    // Damaged, and not wanted any more.
    lose(Kind::Features)?;
    ensure!(system.run_json(&["cancel", "small"])?["cancelled"] == true);
    ensure!(state(&system, "small")? == "cancelled");
    ensure!(!Watch::on(&system, "small")?.end(TIMEOUT)?);
    Ok(())
}

/// Bytes are flipped in what the report reads, before the sweep ends: it does not end with them.
#[test]
fn the_coordinators_last_look_verifies_what_the_report_reads() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "small", digits::SMALL)?;
    complete(&system, "small")?;
    let expected = system.digests("small")?;
    // Pictures that the report shows, in a sample set that every job has read already. The sweep is
    // reopened, as if the coordinator had not seen its end yet.
    let sampled = system.manifests(Kind::SampleSet)?;
    let shards = sampled.first().context("no samples")?.result.shards();
    let shard = shards.first().context("no shard")?.object.clone();
    let mut bytes = get(&system, &shard.object)?.context("no object")?;
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    put(&system, &shard.object, bytes)?;
    system.with_connection(async |connection| {
        Ok(connection.store().delete("sweep/small/done").await?)
    })?;
    complete(&system, "small")?;
    assert_eq!(system.digests("small")?, expected);
    let made_again = system.manifests(Kind::SampleSet)?;
    let again = &made_again[0].result.shards()[0].object;
    let found = get(&system, &again.object)?.context("no object")?;
    assert_eq!(cedm_contract::Digest::of(&found), again.digest);
    assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

/// Attack: a sweep file that names what is none of its business, or never ends.
#[test]
fn a_submission_takes_no_file_but_weights_and_ids_from_allowed_places() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "small", digits::SMALL)?;
    let stored = || {
        system.with_connection(async |connection| Ok(connection.store().list("blob/").await?.len()))
    };
    let weights = |path: &str| {
        digits::SMALL.replace(
            "name = \"pca\"\ndim = 4",
            &format!("name = \"dino_vits16\"\nweights = \"{path}\""),
        )
    };
    let submit = |toml: &str, more: &[&str]| -> Result<Output> {
        let file = system.home().join("stranger.toml");
        fs::write(&file, toml)?;
        let file = file.display().to_string();
        system.run(&[&["submit", &file], more].concat())
    };
    let pipe = system.home().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
    for (path, says) in [
        ("/etc/passwd", "begins like none of these"),
        ("/dev/zero", "it is a device"),
        (&pipe.display().to_string(), "it is a pipe"),
        ("..", "it is a folder"),
    ] {
        let output = submit(&weights(path), &[])?;
        let said = text(&output);
        ensure!(
            !output.status.success() && said.contains(says),
            "{path}: {said}"
        );
        ensure!(!said.contains("root:"), "{said}");
    }

    let nets = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/nets/src/weights");
    let module = format!("{nets}/module.pt");
    let home = system.home().display().to_string();
    let refused = submit(&weights(&module), &["--files-below", &home])?;
    let said = text(&refused);
    ensure!(
        !refused.status.success() && said.contains("--files-below"),
        "{said}"
    );
    let link = system.home().join("link.pt");
    std::os::unix::fs::symlink(&module, &link)?;
    let refused = submit(&weights("link.pt"), &["--files-below", &home])?;
    ensure!(!refused.status.success(), "a link leads out of the folder");
    assert_eq!(stored()?, 0, "something was uploaded");
    let accepted = submit(&weights(&module), &["--files-below", nets])?;
    ensure!(accepted.status.success(), "{}", text(&accepted));
    assert_eq!(stored()?, 1);
    let whole = fs::read(&module)?;
    let blob = cedm_contract::blob_key(&cedm_contract::Digest::of(&whole));
    assert_eq!(get(&system, &blob)?, Some(whole));
    // The sweep file itself: endless, a pipe, too large, of four billion channels.
    let large = system.home().join("large.toml");
    fs::File::create(&large)?.set_len(1 << 40)?;
    for (file, says) in [
        ("/dev/zero", "it is a device"),
        (&pipe.display().to_string(), "it is a pipe"),
        (&large.display().to_string(), "expected at most 1048576"),
    ] {
        let said = fails(&system, &["submit", file])?;
        ensure!(said.contains(says), "{file}: {said}");
    }
    let channels = digits::SMALL.replace(
        "[sampling]",
        "[training.network]\nmodel_channels = 4000000000\n[sampling]",
    );
    let said = text(&submit(&channels, &[])?);
    ensure!(said.contains("expected at most 4096"), "{said}");
    Ok(())
}
