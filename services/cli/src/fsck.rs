//! `cedm fsck`: verify everything that is stored against the invariants of the protocol, with the
//! same audit that the protocol's simulation runs.

mod remove;
mod repair;
mod strange;

use crate::{
    args::Output,
    client, import, render,
    sweeps::{Entry, Reader, Unreadable, View},
};
use anyhow::Result;
use cedm_contract::{JobKey, Manifest, SweepId, manifest_key};
use cedm_runtime::{
    Claims, Connection, DeadLetters, EventFilter, Findings, Submitter, UnreadableEvent, audit,
    past_events, store::StoreErrorKind, unreadable_events,
};
use cedm_sweep::lifecycle::Phase;
use cedm_terminal::{outjson, outln};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use repair::Repair;
use std::{collections::BTreeSet, process::ExitCode};

/// Options of `cedm fsck`.
#[derive(Args, Debug)]
pub struct FsckArgs {
    /// Verify only the results that this sweep uses
    #[arg(long)]
    pub sweep: Option<SweepId>,
    /// Move manifests that do not verify to suspect/, after a second look, and run the sweeps that
    /// need them again
    #[arg(long)]
    pub repair: bool,
    /// Only remove this, by the name that `fsck` lists: a message that is no event, a manifest of a
    /// newer program, a damaged name of an image set, or an object that no program reads (a copy is
    /// kept below suspect/; what lies there goes for good). With `*` at its end, all objects below
    /// that prefix that no program reads; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sweep", "repair"])]
    pub remove: Vec<String>,
}

/// All that is wrong in the store.
struct Verdict {
    findings: Findings,
    /// Sweeps that cannot be read and are not cancelled.
    unreadable: Vec<Unreadable>,
    /// Damaged names of image sets: a sentence each.
    names: Vec<String>,
    /// Messages among the events that are none. They stop nothing.
    events: Vec<UnreadableEvent>,
    /// Objects that no program reads. They stop nothing either.
    strange: Vec<String>,
    repair: Option<Repair>,
}

impl Verdict {
    /// Whether nothing is broken, or everything was repaired.
    fn is_sound(&self) -> bool {
        let left = match &self.repair {
            None => self.findings.violations.len(),
            Some(repair) => repair.left.len(),
        };
        left == 0 && self.unreadable.is_empty() && self.names.is_empty()
    }
}

/// Verifies the store; the exit code is a failure when something is broken and was not repaired.
///
/// # Errors
/// When the store or NATS fails.
pub fn run(args: &FsckArgs, output: Output) -> Result<ExitCode> {
    client::block_on(async {
        let connection = client::connect().await?;
        if !args.remove.is_empty() {
            remove::remove(&connection, &args.remove, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let verdict = verify(&connection, args).await?;
        print(&verdict, output);
        Ok(if verdict.is_sound() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

async fn verify(connection: &Connection, args: &FsckArgs) -> Result<Verdict> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} manifests  {eta} left")
        .expect("invariant: the template is valid");
    let bar = ProgressBar::new(0).with_style(style);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let mut reader = Reader::new(connection);
    let (keys, claims, entries, names) = match &args.sweep {
        Some(sweep) => {
            let entry = reader.entry(sweep).await?;
            let keys = match entry.view() {
                Some(view) => keys_of(connection, view).await?,
                None => Vec::new(),
            };
            (Some(keys), Claims::default(), vec![entry], Vec::new())
        }
        None => (
            None,
            claims(connection).await?,
            reader.entries().await?,
            import::damaged_names(connection).await?,
        ),
    };
    let events = match args.sweep {
        None => unreadable_events(connection).await?,
        Some(_) => Vec::new(),
    };
    let mut findings = audit(connection.store(), keys.as_deref(), &claims, progress).await?;
    bar.finish_and_clear();
    let mut strange = std::mem::take(&mut findings.strange);
    if args.sweep.is_none() {
        strange.extend(strange::in_sweeps(connection).await?);
    }
    let unreadable = entries.into_iter().filter_map(|entry| match entry {
        Entry::Unreadable(found) if found.phase() == Phase::Unreadable => Some(found),
        _ => None,
    });
    let unreadable = unreadable.collect();
    let repair = if args.repair {
        Some(repair::repair(connection, &findings, args.sweep.as_ref()).await?)
    } else {
        None
    };
    Ok(Verdict {
        findings,
        unreadable,
        names,
        events,
        strange,
        repair,
    })
}

/// The results that a sweep relies on: those of its jobs, and of a sweep that was complete also all
/// that its report was made from, since jobs behind a lost result have no key in the plan.
async fn keys_of(connection: &Connection, view: &View) -> Result<Vec<JobKey>> {
    let (store, mut todo) = (connection.store(), Vec::new());
    for key in view.keys() {
        // A job of a running sweep need not have a result yet.
        if view.marks.done || store.size(&manifest_key(key)).await?.is_some() {
            todo.push(key.clone());
        }
    }
    todo.extend(view.report(connection).await?);
    let mut keys = BTreeSet::new();
    while let Some(key) = todo.pop() {
        if !keys.insert(key.clone()) {
            continue;
        }
        let bytes = match store.get(&manifest_key(&key)).await {
            Err(error) if error.kind == StoreErrorKind::Damaged => None,
            found => found?,
        };
        // What is wrong with it the audit says.
        let manifest = bytes.and_then(|bytes| Manifest::decode(&bytes).ok());
        let inputs = manifest.map(|manifest| manifest.inputs).unwrap_or_default();
        todo.extend(inputs.into_iter().map(|input| input.key));
    }
    Ok(keys.into_iter().collect())
}

/// What the events say is done, and which jobs need not be: those queued again or dead.
async fn claims(connection: &Connection) -> Result<Claims> {
    let mut claims = Claims::of_events(&past_events(connection, &EventFilter::default()).await?);
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let letters = DeadLetters::new(connection).list().await?;
    let queued = outstanding.into_iter().map(|job| job.key);
    claims.open = queued
        .chain(letters.into_iter().map(|letter| letter.key))
        .collect::<BTreeSet<JobKey>>();
    Ok(claims)
}

fn print(verdict: &Verdict, output: Output) {
    let Verdict {
        findings,
        unreadable,
        names,
        events,
        strange,
        repair,
    } = verdict;
    if output == Output::Json {
        let unreadable: Vec<_> = unreadable
            .iter()
            .map(|found| serde_json::json!({"sweep": found.id, "reason": found.reason}))
            .collect();
        let events: Vec<_> = events
            .iter()
            .map(|event| {
                serde_json::json!({"name": remove::event_name(event), "bytes": event.bytes, "reason": event.reason})
            })
            .collect();
        outjson!(
            serde_json::json!({"manifests": findings.manifests, "objects": findings.sound.objects, "bytes": findings.sound.bytes,
            "broken": findings.violations, "newer": findings.newer, "strange": strange::listed(strange), "strange_count": strange.len(), "unclaimed": findings.unclaimed,
            "unreadable_sweeps": unreadable, "damaged_names": names, "unreadable_events": events, "repair": repair})
        );
        return;
    }
    print_findings(findings);
    for found in unreadable {
        outln!("{}", found.sentence());
    }
    for sentence in names {
        outln!("{sentence}");
    }
    for event in events {
        let name = remove::event_name(event);
        outln!(
            "no event: {name} ({} bytes): {}; `cedm fsck --remove '{name}'` removes it",
            event.bytes,
            event.reason
        );
    }
    strange::print(strange);
    match repair {
        Some(repair) => print_repair(repair),
        None if !findings.violations.is_empty() => outln!(
            "`cedm fsck --repair` sets broken results aside and runs the sweeps that need them again"
        ),
        None => {}
    }
}

fn print_repair(repair: &Repair) {
    outln!(
        "{} results set aside (suspect/manifest/): jobs that a sweep needs are done again",
        repair.set_aside.len()
    );
    for key in &repair.imports {
        outln!("image set {}: import it again", key.short());
    }
    for id in &repair.reopened {
        outln!("sweep {id} runs again; follow it with `cedm watch {id}`");
    }
    for violation in &repair.left {
        outln!(
            "still broken {}: {}",
            violation.key.short(),
            violation.reason
        );
    }
}

fn print_findings(findings: &Findings) {
    let broken = &findings.violations;
    for violation in broken {
        outln!("broken {}: {}", violation.key.short(), violation.reason);
    }
    outln!(
        "{} manifests with {} objects ({}): {} broken",
        render::count(findings.manifests),
        render::count(findings.sound.objects),
        render::bytes(findings.sound.bytes),
        broken.len()
    );
    if findings.unclaimed.objects > 0 {
        outln!(
            "{} objects ({}) belong to no result: their attempts are still running, were superseded or \
             were given up",
            render::count(findings.unclaimed.objects),
            render::bytes(findings.unclaimed.bytes)
        );
    }
    for key in &findings.newer {
        let name = manifest_key(key);
        outln!(
            "newer: {name} was written by a newer program and was not checked; if there is none, \
             `cedm fsck --remove {name}` removes it"
        );
    }
}
