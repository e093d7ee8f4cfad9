//! `cedm dead`: jobs that nobody could do.

use crate::{
    args::{DeadCommand, Output},
    client, keys, render,
};
use anyhow::{Context, Result};
use cedm_contract::{DeadLetter, FailureKind, JobKey};
use cedm_runtime::{Connection, DeadLetters, Replayed};

/// Lists, shows or replays.
///
/// # Errors
/// When NATS or the store fails, or the job is not dead.
pub fn run(command: &DeadCommand, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let letters = DeadLetters::new(&connection);
        match command {
            DeadCommand::List => list(&letters.list().await?, output),
            DeadCommand::Show { job } => show(&find(&connection, job).await?, output)?,
            DeadCommand::Replay { job, all: _ } => {
                let keys: Vec<JobKey> = match job {
                    Some(job) => vec![find(&connection, job).await?.key],
                    None => letters
                        .list()
                        .await?
                        .into_iter()
                        .map(|letter| letter.key)
                        .collect(),
                };
                for key in &keys {
                    replayed(key, letters.replay(key).await?, output);
                }
                if keys.is_empty() && output == Output::Text {
                    crate::say!("no job is dead");
                }
            }
        }
        connection.flush().await;
        Ok(())
    })
}

async fn find(connection: &Connection, text: &str) -> Result<DeadLetter> {
    let key = keys::find(connection, text).await?;
    DeadLetters::new(connection)
        .show(&key)
        .await?
        .with_context(|| {
            format!(
                "job {} is not dead; `cedm explain {}` says what it is",
                key.short(),
                key.short()
            )
        })
}

fn list(letters: &[DeadLetter], output: Output) {
    if output == Output::Json {
        let rows: Vec<_> = letters
            .iter()
            .map(|letter| {
                serde_json::json!({"key": letter.key, "kind": letter.kind, "failure": letter.failure, "error": letter.error,
                    "attempts": letter.attempts, "at_ms": letter.at_ms, "label": label(letter)})
            })
            .collect();
        crate::say!("{}", serde_json::Value::Array(rows));
        return;
    }
    if letters.is_empty() {
        crate::say!("no job is dead");
        return;
    }
    let mut table = render::table(&["job", "what", "since", "tries", "error"]);
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
    crate::say!("{table}");
    crate::say!("`cedm dead show JOB` for all of it, `cedm dead replay JOB` to try again");
}

fn show(letter: &DeadLetter, output: Output) -> Result<()> {
    if output == Output::Json {
        crate::say!("{}", serde_json::to_string(letter)?);
        return Ok(());
    }
    crate::say!("job       {}", letter.key);
    crate::say!("what      {}", label(letter));
    crate::say!("error     {}", letter.error.replace('\n', "\n          "));
    crate::say!("treated   {}", treated(letter.failure));
    crate::say!(
        "tries     {}, the last {} ago{}",
        letter.attempts,
        render::since(letter.at_ms),
        by(&letter.worker)
    );
    if let Some(job) = &letter.job {
        crate::say!("inputs");
        for input in &job.inputs {
            crate::say!("          {:<16} {}", input.role, input.key);
        }
        crate::say!("parameters\n{}", serde_json::to_string_pretty(&job.spec)?);
    }
    crate::say!("again     cedm dead replay {}", letter.key.short());
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
pub fn treated(failure: FailureKind) -> &'static str {
    match failure {
        FailureKind::Retry => {
            "something outside was in the way (store, broker, disk), more often than the budget allows"
        }
        FailureKind::Reject => {
            "the job itself is wrong; trying again helps only once its cause is mended"
        }
        FailureKind::Bug => "the program failed, or its process died, again and again",
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

fn replayed(key: &JobKey, outcome: Replayed, output: Output) {
    let (word, said) = match outcome {
        Replayed::Queued => ("queued", "queued again, with a fresh budget of tries"),
        Replayed::AlreadyQueued => ("already_queued", "was queued already"),
        Replayed::Done => ("done", "has its result by now; the letter is gone"),
    };
    match output {
        Output::Json => crate::say!("{}", serde_json::json!({"key": key, "outcome": word})),
        Output::Text => crate::say!("{} {said}", key.short()),
    }
}
