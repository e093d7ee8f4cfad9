//! `cedm doctor`: is everything that the system needs there, reachable and in order?

use crate::{
    args::Output,
    client, fleet,
    home::Home,
    import, render,
    sweeps::{Entry, Reader},
};
use anyhow::Result;
use cedm_contract::{Heartbeat, Kind, Priority, Service};
use cedm_runtime::{
    Connection, DeadLetters, VERSION, clock_skew_ms, consumer_name, delays, has_consumer, workers,
};
use cedm_sweep::lifecycle::Phase;
use cedm_terminal::{outjson, outln};
use serde::Serialize;
use std::{collections::BTreeSet, process::ExitCode, time::Duration};

/// Free space of the home below which the disk is nearly full.
const LOW_DISK_BYTES: u64 = 2 << 30;
/// A delayed job that waits longer than this does not come back: no delay is longer than ten
/// minutes.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
}

/// What was looked at so far.
#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, what: &'static str, verdict: Verdict, found: impl Into<String>) {
        let found = found.into();
        self.0.push(Check {
            what,
            verdict,
            found,
        });
    }

    /// A check that itself could not be made is a failure.
    fn add_result<T>(&mut self, what: &'static str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(what, Verdict::Failure, format!("{error:#}"));
                None
            }
        }
    }

    fn worst(&self) -> Verdict {
        self.0
            .iter()
            .map(|check| check.verdict)
            .max()
            .unwrap_or(Verdict::Ok)
    }
}

/// Looks at broker, store, workers, clocks, queue, sweeps and disk. The exit code is a failure when
/// something does not work; warnings alone are success.
///
/// # Errors
/// None at present: what cannot be looked at is among the findings.
pub fn run(home: &Home, output: Output) -> Result<ExitCode> {
    let mut checks = Checks::default();
    let connected = client::block_on(async {
        let connection = client::connect().await?;
        look(&connection, &mut checks).await;
        Ok(())
    });
    checks.add_result("broker", connected);
    look_at_disk(home, &mut checks);
    print(&checks, output);
    Ok(match checks.worst() {
        Verdict::Failure => ExitCode::FAILURE,
        Verdict::Ok | Verdict::Warning => ExitCode::SUCCESS,
    })
}

async fn look(connection: &Connection, checks: &mut Checks) {
    checks.add(
        "broker",
        Verdict::Ok,
        format!("nats-server {}", connection.server_version()),
    );
    let streams = connection.await_streams().await.map_err(Into::into);
    if checks.add_result("streams", streams).is_some() {
        let looked = look_at_consumers(connection, checks).await;
        checks.add_result("consumers", looked);
        let looked = look_at_queue(connection, checks).await;
        checks.add_result("queue", looked);
        let looked = look_at_workers(connection, checks).await;
        checks.add_result("workers", looked);
    }
    let probed = connection.probe_store().await.map_err(Into::into);
    if checks.add_result("store", probed).is_some() {
        checks.add(
            "store",
            Verdict::Ok,
            "answers; of eight create-only writers one won",
        );
        let looked = look_at_sweeps(connection, checks).await;
        checks.add_result("sweeps", looked);
    }
}

async fn look_at_consumers(connection: &Connection, checks: &mut Checks) -> Result<()> {
    let (mut missing, mut present) = (Vec::new(), 0);
    for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
        for priority in Priority::ALL {
            if has_consumer(connection, *kind, priority).await? {
                present += 1;
            } else {
                missing.push(consumer_name(*kind, priority));
            }
        }
    }
    match missing.as_slice() {
        [] => checks.add(
            "streams",
            Verdict::Ok,
            format!("there, with {present} consumers"),
        ),
        names => checks.add(
            "streams",
            Verdict::Failure,
            format!(
                "without the consumers {}: a coordinator makes them at its start",
                names.join(", ")
            ),
        ),
    }
    Ok(())
}

async fn look_at_queue(connection: &Connection, checks: &mut Checks) -> Result<()> {
    let delays = delays(connection).await?;
    let delayed: u64 = delays.jobs.values().sum();
    match delays.oldest.filter(|age| *age > LONGEST_DELAY) {
        Some(age) => checks.add(
            "retries",
            Verdict::Failure,
            format!(
                "{delayed} jobs wait for another try, the oldest for {}: they do not come back",
                render::duration(age)
            ),
        ),
        None => checks.add(
            "retries",
            Verdict::Ok,
            format!("{delayed} jobs wait for another try"),
        ),
    }
    let letters = DeadLetters::new(connection);
    let (dead, unreadable) = (
        letters.list().await?.len(),
        letters.unreadable().await?.len(),
    );
    let (verdict, hint) = match (dead, unreadable) {
        (0, 0) => (Verdict::Ok, String::new()),
        (_, 0) => (Verdict::Warning, "; see `cedm dead list`".to_owned()),
        _ => (
            Verdict::Warning,
            format!(", and {unreadable} messages that are not dead letters; see `cedm dead list`"),
        ),
    };
    checks.add(
        "dead letters",
        verdict,
        format!("{dead} jobs were given up{hint}"),
    );
    Ok(())
}

async fn look_at_workers(connection: &Connection, checks: &mut Checks) -> Result<()> {
    let alive = workers(connection).await?;
    let absent = fleet::absent(&alive);
    match absent.as_slice() {
        [] => checks.add(
            "workers",
            Verdict::Ok,
            format!("{} processes, all services", alive.len()),
        ),
        absent => checks.add(
            "workers",
            Verdict::Warning,
            format!("no heartbeat from {}: their jobs wait", absent.join(", ")),
        ),
    }
    let others: Vec<String> = fleet::of_other_versions(&alive)
        .map(|worker| format!("{} ({})", worker.worker, worker.version))
        .collect();
    if others.is_empty() {
        checks.add("versions", Verdict::Ok, format!("all {VERSION}"));
    } else {
        let found = format!(
            "this program is {VERSION}, these are not: {}",
            others.join(", ")
        );
        checks.add("versions", Verdict::Warning, found);
    }
    let devices = devices(&alive);
    if !devices.is_empty() {
        let devices: Vec<String> = devices.into_iter().collect();
        checks.add("devices", Verdict::Ok, devices.join(", "));
    }
    let wrong = fleet::clock_warnings(&alive, clock_skew_ms(connection).await?);
    match wrong.as_slice() {
        [] => checks.add("clocks", Verdict::Ok, "agree with the broker's"),
        wrong => checks.add("clocks", Verdict::Warning, wrong.join("; ")),
    }
    Ok(())
}

/// Where the workers that use an accelerator compute, and why there.
fn devices(alive: &[Heartbeat]) -> BTreeSet<String> {
    let computing = alive
        .iter()
        .filter(|worker| !worker.device.is_empty() && worker.service != Service::Bounds.name());
    computing
        .map(|worker| match worker.device_reason.as_str() {
            "" => worker.device.clone(),
            reason => format!("{} ({reason})", worker.device),
        })
        .collect()
}

async fn look_at_sweeps(connection: &Connection, checks: &mut Checks) -> Result<()> {
    let entries = Reader::new(connection).entries().await?;
    let of = |wanted: Phase| {
        let names = entries.iter().filter(move |entry| entry.phase() == wanted);
        names.map(|entry| entry.id().as_str()).collect::<Vec<_>>()
    };
    let mut is_sound = true;
    for (phase, verdict, what) in [
        (
            Phase::Unreadable,
            Verdict::Failure,
            "cannot be read (`cedm status`)",
        ),
        (
            Phase::Damaged,
            Verdict::Warning,
            "lost results (`cedm fsck`)",
        ),
        (
            Phase::Incomplete,
            Verdict::Warning,
            "have ended without all results (`cedm status SWEEP` says why)",
        ),
    ] {
        let names = of(phase);
        if !names.is_empty() {
            is_sound = false;
            checks.add("sweeps", verdict, format!("{} {what}", names.join(", ")));
        }
    }
    if is_sound {
        let readable = entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Readable(_)));
        let running = of(Phase::Running).len();
        checks.add(
            "sweeps",
            Verdict::Ok,
            format!("{} in all, {running} running", readable.count()),
        );
    }
    let damaged = import::damaged_names(connection).await?;
    for sentence in damaged {
        checks.add("image sets", Verdict::Failure, sentence);
    }
    Ok(())
}

/// The disk of the home, where a local system keeps everything.
fn look_at_disk(home: &Home, checks: &mut Checks) {
    let Ok(disk) = nix::sys::statvfs::statvfs(home.path()) else {
        return; // no local system ever ran here
    };
    let free = disk.blocks_available() * disk.fragment_size();
    let found = format!("{} free in {}", render::bytes(free), home.path().display());
    if free < LOW_DISK_BYTES {
        let hint = "`cedm gc` finds what can go";
        checks.add("disk", Verdict::Warning, format!("only {found}: {hint}"));
    } else {
        checks.add("disk", Verdict::Ok, found);
    }
}

fn print(checks: &Checks, output: Output) {
    if output == Output::Json {
        outjson!(serde_json::json!({"verdict": checks.worst(), "checks": checks.0}));
        return;
    }
    let mut table = render::table(&["", "what", "found"]);
    for check in &checks.0 {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "WARNING",
            Verdict::Failure => "FAILURE",
        };
        table.add_row([word, check.what, &check.found]);
    }
    table.print();
    outln!(
        "{}",
        match checks.worst() {
            Verdict::Ok => "everything is in order",
            Verdict::Warning => "it works; somebody should look at the warnings",
            Verdict::Failure => "something does not work",
        }
    );
}
