//! Object keys: where artefacts lie in the store.

use crate::{Attempt, Digest, JobKey, SweepId};
use std::str::FromStr;

/// Longest object key in bytes: what every store, the embedded one included, can hold.
pub const MAX_OBJECT_KEY: usize = 140;

/// Everything below it is a [`manifest_key`].
pub const MANIFEST_PREFIX: &str = "manifest/";
/// Everything below it is an [`output_key`].
pub const OBJECT_PREFIX: &str = "object/";
/// Everything below it is a [`checkpoint_key`].
pub const CHECKPOINT_PREFIX: &str = "checkpoint/";
/// Everything below it is a [`blob_key`].
pub const BLOB_PREFIX: &str = "blob/";
/// Everything below it is a [`dataset_key`].
pub const DATASET_PREFIX: &str = "dataset/";
/// Everything below it is a [`sweep_key`].
pub const SWEEP_PREFIX: &str = "sweep/";
/// Everything below it is about results that did not verify.
pub const SUSPECT_PREFIX: &str = "suspect/";
/// Everything below it is about the store itself.
pub const SYSTEM_PREFIX: &str = "system/";

/// `manifest/<key>`: the create-only record that makes a job's result visible.
pub fn manifest_key(key: &JobKey) -> String {
    format!("{MANIFEST_PREFIX}{key}")
}
/// `object/<key>/<attempt>/`: everything that one attempt uploads.
pub fn attempt_prefix(key: &JobKey, attempt: &Attempt) -> String {
    format!("{OBJECT_PREFIX}{key}/{attempt}/")
}
/// `object/<key>/<attempt>/<name>`: one output of one attempt.
pub fn output_key(key: &JobKey, attempt: &Attempt, name: &str) -> String {
    format!("{OBJECT_PREFIX}{key}/{attempt}/{name}")
}
/// `checkpoint/<key>/`: the checkpoints of a long job, shared by its attempts.
pub fn checkpoint_prefix(key: &JobKey) -> String {
    format!("{CHECKPOINT_PREFIX}{key}/")
}
/// `checkpoint/<key>/<step>-<attempt>`: create-only; the step is zero-padded so that names sort.
pub fn checkpoint_key(key: &JobKey, step: u64, attempt: &Attempt) -> String {
    format!("{CHECKPOINT_PREFIX}{key}/{step:012}-{attempt}")
}
/// `blob/<digest>`: a user's file (weights, imported ids), named by its content.
pub fn blob_key(digest: &Digest) -> String {
    format!("{BLOB_PREFIX}{digest}")
}
/// `dataset/<name>`: which import an image set's name stands for.
pub fn dataset_key(name: &str) -> String {
    format!("{DATASET_PREFIX}{name}")
}
/// `sweep/<id>/<what>`: the spec and the end markers of a sweep.
pub fn sweep_key(sweep: &SweepId, what: &str) -> String {
    format!("{SWEEP_PREFIX}{sweep}/{what}")
}
/// Name below `sweep/<id>/` of the sweep as submitted.
pub const SPEC: &str = "spec";
/// Name below `sweep/<id>/` of the mark of a cancelled sweep.
pub const CANCELLED: &str = "cancelled";
/// Name below `sweep/<id>/` of the mark of a sweep of which no job is started for now.
pub const PAUSED: &str = "paused";
/// `suspect/manifest/<key>/<name>`: a manifest that did not verify, moved here out of the way.
pub fn quarantine_key(key: &JobKey, name: &str) -> String {
    format!("{SUSPECT_PREFIX}manifest/{key}/{name}")
}
/// `suspect/strange/<name>`: what lay below `manifest/` under a name that is no job's, moved here.
pub fn quarantine_strange_key(name: &str) -> String {
    format!("{SUSPECT_PREFIX}strange/{name}")
}
/// Everything below it is a [`notice_key`].
pub const NOTICE_PREFIX: &str = "suspect/notice/";
/// `suspect/notice/<key>`: a worker's word that a result does not verify, for whoever may move it
/// aside.
pub fn notice_key(key: &JobKey) -> String {
    format!("{NOTICE_PREFIX}{key}")
}
/// `system/identity`: which store this is; create-only, never changed.
pub const IDENTITY_KEY: &str = "system/identity";
/// Everything below it is a probe of the store, removed at once.
pub const PROBE_PREFIX: &str = "probe/";

/// Whether an object key has one of the forms above, so that a program may have written it. No
/// program reads what has another form.
pub fn is_object_key(key: &str) -> bool {
    /// Whether what follows the prefix has its form.
    type HasForm = fn(&str) -> bool;
    let forms: [(&str, HasForm); 9] = [
        (MANIFEST_PREFIX, is_a::<JobKey>),
        (OBJECT_PREFIX, is_output),
        (CHECKPOINT_PREFIX, is_checkpoint),
        (BLOB_PREFIX, is_a::<Digest>),
        (DATASET_PREFIX, is_dataset_name),
        (SWEEP_PREFIX, is_of_sweep),
        (SUSPECT_PREFIX, |rest| !rest.is_empty()),
        (SYSTEM_PREFIX, |rest| !rest.is_empty()),
        (PROBE_PREFIX, |rest| !rest.is_empty()),
    ];
    forms
        .iter()
        .any(|(prefix, has_form)| key.strip_prefix(prefix).is_some_and(has_form))
}

/// Whether an image set can have this name.
pub fn is_dataset_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=48).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn is_a<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

/// `<key>/<attempt>/<name>`
fn is_output(rest: &str) -> bool {
    let mut parts = rest.splitn(3, '/');
    parts.next().is_some_and(is_a::<JobKey>)
        && parts.next().is_some_and(is_a::<Attempt>)
        && parts.next().is_some_and(|name| !name.is_empty())
}

/// `<key>/<step>-<attempt>`, and the same with `.json` for its record.
fn is_checkpoint(rest: &str) -> bool {
    let Some((key, name)) = rest.split_once('/') else {
        return false;
    };
    let name = name.strip_suffix(".json").unwrap_or(name);
    let parts = name.split_once('-');
    is_a::<JobKey>(key)
        && parts.is_some_and(|(step, attempt)| {
            step.len() == 12 && is_a::<u64>(step) && is_a::<Attempt>(attempt)
        })
}

/// `<id>/<what>`; what a sweep has is known where its lifecycle is.
fn is_of_sweep(rest: &str) -> bool {
    let parts = rest.split_once('/');
    parts.is_some_and(|(id, what)| is_a::<SweepId>(id) && !what.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_write_is_told_from_everything_else() {
        let (key, attempt) = (JobKey::of(b"job"), Attempt::new(7, 1));
        let (digest, sweep) = (Digest::of(b"file"), "a-sweep".parse().unwrap());
        let checkpoint = checkpoint_key(&key, 512, &attempt);
        for own in [
            manifest_key(&key),
            output_key(&key, &attempt, "features.safetensors"),
            format!("{checkpoint}.json"),
            checkpoint,
            blob_key(&digest),
            dataset_key("digits_8.x8"),
            sweep_key(&sweep, "spec"),
            quarantine_key(&key, "01J"),
            quarantine_strange_key("01J"),
            notice_key(&key),
            IDENTITY_KEY.to_owned(),
            format!("{PROBE_PREFIX}01J"),
        ] {
            assert!(is_object_key(&own), "{own}");
        }
        for strange in [
            String::new(),
            "manifest".to_owned(),
            "manifest/".to_owned(),
            "manifest/no key".to_owned(),
            format!("manifest/{key}/more"),
            format!("object/{key}"),
            format!("object/{key}/{attempt}/"),
            format!("object/{key}/no-attempt/a"),
            format!("object/x/{attempt}/a"),
            format!("checkpoint/{key}/12-{attempt}"),
            format!("checkpoint/{key}/000000000012-"),
            format!("checkpoint/{key}/000000000012-{attempt}.txt"),
            format!("checkpoint/000000000012-{attempt}"),
            "blob/../etc/passwd".to_owned(),
            format!("blob/{digest}/more"),
            "dataset/No Name".to_owned(),
            "dataset/".to_owned(),
            format!("dataset/{}", "n".repeat(49)),
            "sweep/a".to_owned(),
            "sweep/a/".to_owned(),
            "sweep/No Name/spec".to_owned(),
            "suspect/".to_owned(),
            "somebody/else's".to_owned(),
            "/manifest".to_owned(),
        ] {
            assert!(!is_object_key(&strange), "{strange}");
        }
    }
}
