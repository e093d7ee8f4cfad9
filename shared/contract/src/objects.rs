//! Object keys: where artefacts lie in the store.

use crate::{Attempt, Digest, JobKey, SweepId};

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
/// `suspect/manifest/<key>/<name>`: a manifest that did not verify, moved here out of the way.
pub fn quarantine_key(key: &JobKey, name: &str) -> String {
    format!("{SUSPECT_PREFIX}manifest/{key}/{name}")
}
/// `suspect/strange/<name>`: what lay below `manifest/` under a name that is no job's, moved here.
pub fn quarantine_strange_key(name: &str) -> String {
    format!("suspect/strange/{name}")
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
