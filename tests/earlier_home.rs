//! A home of the last version whose streams had neither prefix nor mark, with running sweeps: the
//! present version takes it over, and what was asked for is done.

use anyhow::{Context, Result, ensure};
use cedm_tests::{
    StartOptions, System,
    broker::{Broker, Message},
    digits,
    events::Watch,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Streams and buckets of that version, word for word.
fn earlier() -> Vec<Value> {
    let second = 1_000_000_000_u64;
    let stream = |name: &str, description: &str, subjects: &[&str], more: Value| {
        let mut config = json!({"name": name, "description": description, "subjects": subjects,
            "retention": "limits", "discard": "old", "storage": "file", "num_replicas": 1,
            "max_msg_size": 131072, "allow_direct": true});
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    };
    let bucket = |name: &str, description: &str, history: u64, ttl_s: u64| {
        let more = json!({"max_msgs_per_subject": history, "max_age": ttl_s * second, "discard": "new",
            "allow_rollup_hdrs": true, "deny_delete": true, "max_msg_size": -1});
        let subject = format!("$KV.{name}.>");
        stream(&format!("KV_{name}"), description, &[&subject], more)
    };
    vec![
        stream(
            "JOBS",
            "Work queue: one outstanding job per content key",
            &["cedm.job.>"],
            json!({"retention": "workqueue", "discard": "new", "discard_new_per_subject": true,
                "max_msgs_per_subject": 1, "duplicate_window": 120 * second}),
        ),
        stream(
            "DELAYS",
            "Scheduled retries, kept out of the work queue until they are due",
            &["cedm.delay.>", "cedm.due.>"],
            json!({"retention": "workqueue", "max_msgs_per_subject": 1, "allow_msg_schedules": true}),
        ),
        stream(
            "EVENTS",
            "Job events: started, progress, done, failed, superseded, dead; hints only, manifests in the store are authoritative",
            &["cedm.evt.>"],
            json!({"max_msgs_per_subject": 32, "max_age": 1_209_600 * second}),
        ),
        stream(
            "ADVISORIES",
            "Server advisories about jobs that reached max_deliver or were terminated",
            &[
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS.>",
                "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.>",
            ],
            json!({"max_age": 1_209_600 * second, "max_msg_size": -1}),
        ),
        stream(
            "DEAD",
            "Dead letters: jobs that failed for good, with the reason; `cedm dead replay` submits them again with fresh attempts",
            &["cedm.dead.>"],
            json!({"max_msgs_per_subject": 1, "max_age": 31_536_000 * second, "max_msg_size": -1}),
        ),
        bucket(
            "sweeps",
            "Active sweeps; the coordinator can rebuild the bucket from the store",
            4,
            0,
        ),
        bucket("workers", "Heartbeats of running workers", 1, 20),
        bucket(
            "leases",
            "Short-lived locks on commits (CEDM_COMMIT_LEASE)",
            1,
            30,
        ),
        bucket(
            "system",
            "What all processes have to agree on: the id of the coordinator's store",
            1,
            0,
        ),
    ]
}

fn access(home: &Path) -> Result<Value> {
    let text = fs::read(home.join("access.json")).context("read access.json")?;
    Ok(serde_json::from_slice(&text)?)
}

fn connect(home: &Path) -> Result<Broker> {
    let access = access(home)?;
    let port = access["nats_port"].as_u64().context("no port")?;
    let password = &access["credentials"]["nats"]["coordinator"];
    Broker::connect(
        u16::try_from(port)?,
        password.as_str().context("no password")?,
    )
}

/// Killed when it goes out of scope.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The home's broker alone.
fn serve(home: &Path) -> Result<Server> {
    let program = std::env::var_os("CEDM_NATS_SERVER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin/nats-server"),
        Into::into,
    );
    let child = Command::new(&program)
        .arg("--config")
        .arg(home.join("nats/nats.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(Server(child.with_context(|| {
        format!(
            "start {}: `cargo xtask setup` installs it",
            program.display()
        )
    })?))
}

/// Gives a home the streams that the earlier version made, with the messages that it would have
/// had: the same jobs, those of `delayed` waiting for a retry in an hour, letters, events, a lease,
/// active sweeps.
fn age(home: &Path, delayed: &str) -> Result<()> {
    let _server = serve(home)?;
    let mut broker = connect(home)?;
    let mut kept: Vec<Message> = Vec::new();
    for stream in ["CEDM_JOBS", "CEDM_DEAD", "CEDM_EVENTS"] {
        kept.extend(broker.messages(stream)?);
    }
    for name in broker.streams()? {
        broker.jetstream(&format!("STREAM.DELETE.{name}"), &json!({}))?;
    }
    for config in earlier() {
        let name = config["name"].as_str().context("a name")?;
        broker.jetstream(&format!("STREAM.CREATE.{name}"), &config)?;
    }
    let consumer = json!({"stream_name": "JOBS", "config": {"durable_name": "train-p1", "name": "train-p1",
        "filter_subject": "cedm.job.train.p1.>", "ack_policy": "explicit", "max_deliver": 5,
        "ack_wait": 60_000_000_000_u64}});
    broker.jetstream("CONSUMER.DURABLE.CREATE.JOBS.train-p1", &consumer)?;
    let mut waiting = 0;
    for mut message in kept {
        if let Some(lane) = message.subject.strip_prefix("cedm.job.")
            && lane.ends_with(delayed)
        {
            message.headers += "Nats-Schedule: @at 2099-01-01T00:00:00Z\r\n";
            message.headers += &format!("Nats-Schedule-Target: cedm.due.{lane}\r\n");
            message.headers += "Cedm-Failures: 3\r\n";
            message.subject = format!("cedm.delay.{lane}");
            waiting += 1;
        }
        broker.publish(&message)?;
    }
    ensure!(waiting == 1, "{waiting} jobs are delayed");
    for (subject, payload) in [
        ("$KV.leases.0011223344556677", ""),
        ("$KV.sweeps.long", "active"),
        ("$KV.sweeps.later", "active"),
    ] {
        broker.publish(&Message {
            subject: subject.to_owned(),
            headers: String::new(),
            payload: payload.as_bytes().to_vec(),
        })?;
    }
    // An earlier home had one key pair of the store for all.
    let mut access = access(home)?;
    let credentials = access["credentials"].as_object_mut();
    credentials.context("no credentials")?.remove("s3");
    Ok(fs::write(
        home.join("access.json"),
        serde_json::to_vec(&access)?,
    )?)
}

/// The key of the job that trains a sweep's only network.
fn training(system: &System, sweep: &str) -> Result<String> {
    let status = system.run_json(&["status", sweep])?;
    let nodes = status["plan"].as_array().context("no plan")?;
    let node = nodes.iter().find(|node| node["kind"] == "train");
    let key = node.context("no training")?["job"]["key"].as_str();
    Ok(key.context("no key")?.to_owned())
}

/// A sweep one of whose jobs is dead; that job's letter.
fn dead(system: &System) -> Result<Value> {
    digits::submit(system, "wrong", &digits::wrong(system)?)?;
    ensure!(
        !Watch::on(system, "wrong")?.end(TIMEOUT)?,
        "nothing is dead"
    );
    let letters = system.run_json(&["dead", "list"])?;
    ensure!(
        letters.as_array().is_some_and(|all| all.len() == 1),
        "{letters}"
    );
    let key = letters[0]["key"].as_str().context("no key")?;
    system.run_json(&["dead", "show", key])
}

#[test]
fn a_home_of_an_earlier_version_is_taken_over_with_its_running_sweeps() -> Result<()> {
    let system = System::start()?;
    let letter = dead(&system)?;
    let mut watch = Watch::all_sweeps(&system)?;
    digits::submit(&system, "long", digits::LONG)?;
    let started = watch.until("a training", TIMEOUT, |event| {
        event["kind"] == "train" && event["what"] == "started"
    })?;
    let later = digits::LONG.replace("budget_kimg = 12.8", "budget_kimg = 0.512");
    digits::submit(&system, "later", &later)?;
    let (first, second) = (training(&system, "long")?, training(&system, "later")?);
    ensure!(started["key"] == first.as_str(), "{started}");
    drop(watch);
    let is_queued = || -> Result<bool> {
        let verdict = system.run_json(&["explain", &second])?["verdict"].to_string();
        Ok(verdict.contains("waits for a free trainer"))
    };
    let end = Instant::now() + TIMEOUT;
    while !is_queued()? {
        ensure!(Instant::now() < end, "{second} is not queued");
    }
    let home = system.stop()?;
    age(home.path(), &second)?;

    let system = System::start_as(StartOptions {
        home: Some(home),
        ..StartOptions::default()
    })?;
    for sweep in ["long", "later"] {
        ensure!(
            Watch::on(&system, sweep)?.end(TIMEOUT)?,
            "{sweep} is not complete"
        );
    }
    let key = letter["key"].as_str().context("no key")?;
    assert_eq!(system.run_json(&["dead", "show", key])?, letter);
    assert_eq!(
        system.run_json(&["status", "wrong"])?["state"],
        "incomplete"
    );
    assert_eq!(system.run_json(&["fsck"])?["broken"], json!([]));
    let mut names = connect(system.home())?.streams()?;
    names.sort();
    let expected = [
        "CEDM_ADVISORIES",
        "CEDM_DEAD",
        "CEDM_DELAYS",
        "CEDM_EVENTS",
        "CEDM_JOBS",
        "KV_CEDM_leases",
        "KV_CEDM_sweeps",
        "KV_CEDM_system",
        "KV_CEDM_workers",
    ];
    assert_eq!(names, expected);
    Ok(())
}
