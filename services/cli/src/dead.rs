//! `cedm dead`: list, show, replay and forget dead letters, the jobs that were given up.

use crate::{
    args::Output,
    client, keys, render,
    sweeps::{Reader, View},
};
use anyhow::Result;
use cedm_contract::{DeadLetter, FailureKind, JobKey, SweepId};
use cedm_planner::State;
use cedm_runtime::{Connection, DeadLetters, Replayed, UndecodableMessage};
use cedm_terminal::{errln, outjson, outln};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Subcommands of `cedm dead`.
#[derive(Subcommand, Debug)]
pub enum DeadCommand {
    /// List all dead letters
    List,
    /// Show one dead letter with its parameters, inputs and error
    Show {
        /// The job's key; its first digits suffice
        job: String,
    },
    /// Queue a dead job again, with a fresh budget of attempts
    Replay {
        /// The job's key; its first digits suffice
        #[arg(required_unless_present = "all")]
        job: Option<String>,
        /// Replay every dead job
        #[arg(long, conflicts_with = "job")]
        all: bool,
    },
    /// Remove a dead letter, or a message that is none: the job is submitted again when a sweep
    /// needs it
    Forget {
        /// The job's key, its first digits suffice; or the subject of a message, as `list` shows it
        job: String,
    },
}

/// Lists, shows, replays or forgets dead letters.
///
/// # Errors
/// When NATS or the store fails, or the job is not dead.
pub fn run(command: &DeadCommand, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let letters = DeadLetters::new(&connection);
        match command {
            DeadCommand::List => {
                let (readable, others) = (letters.list().await?, letters.unreadable().await?);
                let impossible = impossible(&connection, &readable).await;
                match output {
                    Output::Json => {
                        let rows = rows(&readable, &others).into_iter();
                        outjson!(Value::Array(
                            rows.chain(impossible.iter().map(Impossible::row)).collect()
                        ));
                    }
                    Output::Text => {
                        list(&readable, &impossible);
                        list_unreadable(&others);
                    }
                }
            }
            DeadCommand::Forget { job } => {
                let forgotten = if job.starts_with("cedm.") {
                    letters.forget_subject(job).await?
                } else {
                    letters.forget(&keys::find(&connection, job).await?).await?
                };
                anyhow::ensure!(forgotten, "`{job}` has no dead letter");
                print_forgotten(job, output);
            }
            DeadCommand::Show { job } => show(&find(&connection, job).await?, output)?,
            DeadCommand::Replay { job, all: _ } => {
                let keys: Vec<JobKey> = match job {
                    Some(job) => vec![keys::find(&connection, job).await?],
                    None => letters
                        .list()
                        .await?
                        .into_iter()
                        .map(|letter| letter.key)
                        .collect(),
                };
                replay_all(&connection, &letters, &keys, output).await?;
            }
        }
        connection.flush().await;
        Ok(())
    })
}

/// Replays these jobs; one that cannot be does not stop the others.
pub(crate) async fn replay_all(
    connection: &Connection,
    letters: &DeadLetters,
    keys: &[JobKey],
    output: Output,
) -> Result<()> {
    let mut reader = Reader::new(connection);
    let mut failed = Vec::new();
    for key in keys {
        match replay(letters, &mut reader, key).await {
            Ok(outcome) => print_replayed(key, outcome, output),
            Err(error) => failed.push(format!("{}: {error:#}", key.short())),
        }
    }
    if keys.is_empty() && output == Output::Text {
        outln!("no job is dead");
    }
    anyhow::ensure!(failed.is_empty(), "not replayed: {}", failed.join("; "));
    Ok(())
}

/// Replays the job of a letter; one whose letter holds no readable job as a sweep plans it now.
async fn replay(letters: &DeadLetters, reader: &mut Reader, key: &JobKey) -> Result<Replayed> {
    match letters.show(key).await {
        Ok(None) => return Err(not_dead(key)),
        Ok(Some(letter)) if letter.job.is_some() => return Ok(letters.replay(key).await?),
        // A letter without its job, or what is no letter.
        Ok(Some(_)) | Err(_) => {}
    }
    for entry in reader.entries().await? {
        let jobs = entry
            .view()
            .map(|view| view.jobs.as_slice())
            .unwrap_or_default();
        let mut planned = jobs.iter().filter_map(|node| node.job.as_ref());
        if let Some(job) = planned.find(|job| job.key == *key) {
            return Ok(letters.renew(job).await?);
        }
    }
    // Its error says what can be done.
    Ok(letters.replay(key).await?)
}

/// Removes the letters of a sweep's jobs that hold no readable job, since a person asks for the
/// sweep: the coordinator submits the jobs anew.
///
/// # Errors
/// When NATS or the store fails.
pub async fn forget_unreadable(connection: &Connection, view: &View) -> Result<()> {
    let letters = DeadLetters::new(connection);
    for letter in letters.list().await? {
        if letter.job.is_none() && view.contains(&letter.key) {
            letters.forget(&letter.key).await?;
        }
    }
    Ok(())
}

fn not_dead(key: &JobKey) -> anyhow::Error {
    let key = key.short();
    anyhow::anyhow!("job {key} is not dead; `cedm explain {key}` shows its state")
}

async fn find(connection: &Connection, text: &str) -> Result<DeadLetter> {
    let key = keys::find(connection, text).await?;
    DeadLetters::new(connection)
        .show(&key)
        .await?
        .ok_or_else(|| not_dead(&key))
}

/// The letters as JSON, then the messages that are none, which have `unreadable` and no key.
fn rows(letters: &[DeadLetter], others: &[UndecodableMessage]) -> Vec<Value> {
    let letters = letters.iter().map(|letter| {
        json!({"key": letter.key, "kind": letter.kind, "failure": letter.failure, "error": letter.error,
            "attempts": letter.attempts, "at_ms": letter.at_ms, "label": label(letter)})
    });
    let others = others.iter().map(|message| {
        json!({"unreadable": message.subject, "bytes": message.bytes, "error": message.reason})
    });
    letters.chain(others).collect()
}

/// A job of a sweep that was never queued, since its parameters cannot be made. No letter says so.
struct Impossible {
    sweep: SweepId,
    id: String,
    reason: String,
}

impl Impossible {
    /// As JSON: no key, for the job has none.
    fn row(&self) -> Value {
        json!({"sweep": self.sweep, "label": self.id, "error": self.reason, "queued": false})
    }
}

/// Jobs of the sweeps that run which are dead and have no letter.
async fn impossible(connection: &Connection, letters: &[DeadLetter]) -> Vec<Impossible> {
    let known: HashSet<&JobKey> = letters.iter().map(|letter| &letter.key).collect();
    let mut found = Vec::new();
    let entries = match Reader::new(connection).entries().await {
        Ok(entries) => entries,
        // The letters are in the broker, and are needed most while the store is down.
        Err(error) => {
            errln!(
                "the sweeps cannot be read, so jobs that were never queued are left out: {error:#}"
            );
            return found;
        }
    };
    for entry in entries {
        let Some(view) = entry.view() else { continue };
        for node in &view.jobs {
            let State::Dead { reason } = &node.state else {
                continue;
            };
            let has_letter = node
                .job
                .as_ref()
                .is_some_and(|job| known.contains(&job.key));
            if !has_letter {
                found.push(Impossible {
                    sweep: view.sweep.id.clone(),
                    id: node.id.clone(),
                    reason: reason.clone(),
                });
            }
        }
    }
    found
}

fn list(letters: &[DeadLetter], impossible: &[Impossible]) {
    for one in impossible {
        outln!(
            "never queued: {} of sweep {}: {}; correct the sweep file and submit it again",
            one.id,
            one.sweep,
            one.reason
        );
    }
    if letters.is_empty() && !impossible.is_empty() {
        return;
    }
    if letters.is_empty() {
        outln!("no job is dead");
        return;
    }
    let mut table = render::table(&["job", "what", "since", "attempts", "error"]);
    for letter in letters {
        let first_line = letter.error.lines().next().unwrap_or_default();
        table.add_row([
            letter.key.short(),
            &label(letter),
            &render::since(letter.at_ms),
            &letter.attempts.to_string(),
            first_line,
        ]);
    }
    table.print();
    outln!(
        "`cedm dead show JOB` shows the whole error, `cedm dead replay JOB` queues the job again"
    );
}

/// Messages that are no letters.
fn list_unreadable(messages: &[UndecodableMessage]) {
    for message in messages {
        outln!(
            "unreadable: {} ({} bytes): {}; `cedm dead forget {}` removes it",
            message.subject,
            message.bytes,
            message.reason,
            message.subject
        );
    }
}

fn print_forgotten(job: &str, output: Output) {
    match output {
        Output::Json => outjson!(serde_json::json!({"forgotten": job})),
        Output::Text => outln!("the dead letter of {job} is removed"),
    }
}

fn show(letter: &DeadLetter, output: Output) -> Result<()> {
    if output == Output::Json {
        outjson!(serde_json::to_string(letter)?);
        return Ok(());
    }
    outln!("job       {}", letter.key);
    outln!("what      {}", label(letter));
    // An empty error is shown too.
    for (index, line) in letter.error.split('\n').enumerate() {
        let head = if index == 0 { "error" } else { "" };
        outln!("{head:<9} {line}");
    }
    outln!("failure   {}", describe(letter.failure));
    outln!(
        "attempts  {}, the last {} ago{}",
        letter.attempts,
        render::since(letter.at_ms),
        by(&letter.worker)
    );
    if let Some(job) = &letter.job {
        outln!("inputs");
        for input in &job.inputs {
            outln!("          {:<16} {}", input.role, input.key);
        }
        outln!("parameters");
        outjson!(serde_json::to_string_pretty(&job.spec)?);
    }
    outln!("replay    cedm dead replay {}", letter.key.short());
    Ok(())
}

fn by(worker: &str) -> String {
    if worker.is_empty() {
        String::new()
    } else {
        format!(", by {worker}")
    }
}

/// What a kind of failure means, for people.
fn describe(failure: FailureKind) -> &'static str {
    match failure {
        FailureKind::Retry => {
            "retry: a dependency (store, broker, disk) failed more often than the budget of attempts allows"
        }
        FailureKind::Reject => {
            "reject: the job itself is wrong; replay it only after its cause is fixed"
        }
        FailureKind::Bug => "bug: the program failed or its process died in every attempt",
    }
}

fn label(letter: &DeadLetter) -> String {
    let label = letter
        .job
        .as_ref()
        .map(|job| job.hints.label.as_str())
        .unwrap_or_default();
    if label.is_empty() {
        letter.kind.to_string()
    } else {
        label.to_owned()
    }
}

fn print_replayed(key: &JobKey, outcome: Replayed, output: Output) {
    let (word, text) = match outcome {
        Replayed::Queued => ("queued", "is queued again, with a fresh budget of attempts"),
        Replayed::AlreadyQueued => ("already_queued", "was queued already"),
        Replayed::Done => ("done", "has a result by now; its dead letter is removed"),
    };
    match output {
        Output::Json => outjson!(serde_json::json!({"key": key, "outcome": word})),
        Output::Text => outln!("{} {text}", key.short()),
    }
}
