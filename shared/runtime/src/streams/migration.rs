//! Streams of earlier versions, which had neither prefix nor mark, make room for those of this one.
//!
//! What the store can rebuild is deleted: queue, retries, events, buckets. Dead letters are copied:
//! their stream first gives up its subjects, then the letters move, then it is deleted, so that a
//! crash anywhere in between loses none and the next start goes on. Only a stream whose name,
//! description and subjects are all those of an earlier version is touched.

use super::{existing, ownership};
use crate::{RuntimeError, queue::NatsQueue};
use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        context::DeleteStreamErrorKind,
        stream::{Config, LastRawMessageErrorKind},
    },
};
use cedm_contract::{DEAD_STREAM, Names};
use futures::TryStreamExt;

/// Where the letters' stream listens while they are copied.
const RETIRED_SUBJECT: &str = "cedm-retired.dead";

/// What an earlier version made.
struct Earlier {
    name: &'static str,
    descriptions: &'static [&'static str],
    subjects: &'static [&'static [&'static str]],
}

const EARLIER: [Earlier; 9] = [
    Earlier {
        name: "JOBS",
        descriptions: &[
            "Work queue: one outstanding job per content key",
            "Work queue: one outstanding job per content key, and retries that wait for their time",
        ],
        subjects: &[&["cedm.job.>"], &["cedm.job.>", "cedm.delay.>"]],
    },
    Earlier {
        name: "DELAYS",
        descriptions: &[
            "Scheduled retries, kept out of the work queue until they are due",
            "Retries that wait for their time; they hold no slot of the work queue",
        ],
        subjects: &[&["cedm.delay.>", "cedm.due.>"]],
    },
    Earlier {
        name: "EVENTS",
        descriptions: &[
            "Job events: started, progress, done, failed, superseded, dead; hints only, manifests in the store are authoritative",
            "What happened to jobs; readers are idempotent, the manifests are the truth",
        ],
        subjects: &[&["cedm.evt.>"]],
    },
    Earlier {
        name: "ADVISORIES",
        descriptions: &[
            "Server advisories about jobs that reached max_deliver or were terminated",
            "The broker's own words about jobs it gave up on",
        ],
        subjects: &[&[
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS.>",
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.>",
        ]],
    },
    Earlier {
        name: DEAD_STREAM,
        descriptions: &[
            "Dead letters: jobs that failed for good, with the reason; `cedm dead replay` submits them again with fresh attempts",
            "Jobs that nobody could do, with the reason; replay gives them a fresh budget",
        ],
        subjects: &[&["cedm.dead.>"]],
    },
    Earlier {
        name: "KV_sweeps",
        descriptions: &[
            "Active sweeps; the coordinator can rebuild the bucket from the store",
            "Active sweeps; rebuilt from the store",
        ],
        subjects: &[&["$KV.sweeps.>"]],
    },
    Earlier {
        name: "KV_workers",
        descriptions: &["Heartbeats of running workers"],
        subjects: &[&["$KV.workers.>"]],
    },
    Earlier {
        name: "KV_leases",
        descriptions: &[
            "Short-lived locks on commits (CEDM_COMMIT_LEASE)",
            "Who holds what for a short while",
        ],
        subjects: &[&["$KV.leases.>"]],
    },
    Earlier {
        name: "KV_system",
        descriptions: &["What all processes have to agree on: the id of the coordinator's store"],
        subjects: &[&["$KV.system.>"]],
    },
];

impl Earlier {
    fn is(&self, config: &Config) -> bool {
        let description = config.description.as_deref().unwrap_or_default();
        self.descriptions.contains(&description)
            && self.subjects.iter().any(|known| config.subjects == **known)
    }
}

/// Makes room: deletes what can be rebuilt, and takes the letters' subjects from their stream.
/// Streams of other applications stay as they are.
///
/// # Errors
/// When NATS fails.
pub(super) async fn make_room(queue: &NatsQueue) -> Result<(), RuntimeError> {
    // Earlier versions knew one prefix for subjects.
    if *queue.names() != Names::default() {
        return Ok(());
    }
    for earlier in &EARLIER {
        let Some(config) = existing(queue, earlier.name).await? else {
            continue;
        };
        if !earlier.is(&config) {
            continue;
        }
        if earlier.name == DEAD_STREAM {
            tracing::info!(
                stream = earlier.name,
                "dead letters of an earlier version are copied"
            );
            let retired = Config {
                subjects: vec![RETIRED_SUBJECT.to_owned()],
                metadata: ownership::mark(queue.names()),
                ..config
            };
            let updated = queue.context().update_stream(retired).await;
            updated.map_err(|error| {
                RuntimeError::broker(format!("retire stream {}", earlier.name), error)
            })?;
        } else {
            tracing::info!(
                stream = earlier.name,
                "a stream of an earlier version makes room; its contents are rebuilt from the store"
            );
            delete(queue, earlier.name).await?;
        }
    }
    Ok(())
}

/// Copies the letters of an earlier version into their new stream, and deletes the old one. A
/// letter that is there already is newer and stays.
///
/// # Errors
/// When NATS fails; the next start goes on.
pub(super) async fn move_letters(queue: &NatsQueue) -> Result<(), RuntimeError> {
    let is_retired = |config: &Config| {
        ownership::is_marked(queue.names(), config) && config.subjects == [RETIRED_SUBJECT]
    };
    if !existing(queue, DEAD_STREAM)
        .await?
        .is_some_and(|config| is_retired(&config))
    {
        return Ok(());
    }
    let failed = |action: &str, error: Box<dyn std::error::Error + Send + Sync>| {
        RuntimeError::Other(anyhow::anyhow!("{action} of stream {DEAD_STREAM}: {error}"))
    };
    let js = queue.context();
    let old = js.get_stream_no_info(DEAD_STREAM).await;
    let old = old.map_err(|error| RuntimeError::broker("get stream", error))?;
    let listed = old.info_with_subjects(">").await;
    let listed = listed.map_err(|error| failed("list letters", error.into()))?;
    let subjects: Vec<(String, usize)> = listed
        .try_collect()
        .await
        .map_err(|error| failed("list letters", error.into()))?;
    for (subject, _) in &subjects {
        if queue.last(DEAD_STREAM, subject).await?.is_some() {
            continue;
        }
        let letter = match old.get_last_raw_message_by_subject(subject).await {
            Ok(letter) => letter,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => continue,
            Err(error) => return Err(failed("read a letter", error.into())),
        };
        let mut headers = HeaderMap::new();
        for (name, values) in letter.headers.iter() {
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(NATS_MESSAGE_ID, format!("moved-{}", letter.sequence));
        let sent = js
            .publish_with_headers(subject.clone(), headers, letter.payload)
            .await;
        let stored = sent
            .map_err(|error| RuntimeError::broker("copy a dead letter", error))?
            .await;
        stored.map_err(|error| RuntimeError::broker("copy a dead letter", error))?;
    }
    tracing::info!(
        letters = subjects.len(),
        "dead letters of an earlier version were copied"
    );
    delete(queue, DEAD_STREAM).await
}

async fn delete(queue: &NatsQueue, stream: &str) -> Result<(), RuntimeError> {
    match queue.context().delete_stream(stream).await {
        Ok(_) => Ok(()),
        // Another process was faster.
        Err(error)
            if matches!(error.kind(), DeleteStreamErrorKind::JetStream(answer)
                if answer.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND) =>
        {
            Ok(())
        }
        Err(error) => Err(RuntimeError::broker(
            format!("delete stream {stream}"),
            error,
        )),
    }
}
