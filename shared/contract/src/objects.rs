//! Object keys: where artefacts lie in the store.

use crate::{Attempt, Digest, JobKey, SweepId};

/// Longest object key in bytes: what every store, the embedded one included, can hold.
pub const MAX_OBJECT_KEY: usize = 140;

/// `manifest/<key>`: the create-only record that makes a job's result visible.
pub fn manifest_key(key: &JobKey) -> String {
    format!("manifest/{key}")
}
/// `object/<key>/<attempt>/`: everything that one attempt uploads.
pub fn attempt_prefix(key: &JobKey, attempt: &Attempt) -> String {
    format!("object/{key}/{attempt}/")
}
/// `object/<key>/<attempt>/<name>`: one output of one attempt.
pub fn output_key(key: &JobKey, attempt: &Attempt, name: &str) -> String {
    format!("object/{key}/{attempt}/{name}")
}
/// `checkpoint/<key>/`: the checkpoints of a long job, shared by its attempts.
pub fn checkpoint_prefix(key: &JobKey) -> String {
    format!("checkpoint/{key}/")
}
/// `checkpoint/<key>/<step>-<attempt>`: create-only; the step is zero-padded so that names sort.
pub fn checkpoint_key(key: &JobKey, step: u64, attempt: &Attempt) -> String {
    format!("checkpoint/{key}/{step:012}-{attempt}")
}
/// `blob/<digest>`: a user's file (weights, imported ids), named by its content.
pub fn blob_key(digest: &Digest) -> String {
    format!("blob/{digest}")
}
/// `sweep/<id>/<what>`: the spec and the end markers of a sweep.
pub fn sweep_key(sweep: &SweepId, what: &str) -> String {
    format!("sweep/{sweep}/{what}")
}
/// `suspect/manifest/<key>/<name>`: a manifest that did not verify, moved here out of the way.
pub fn set_aside_key(key: &JobKey, name: &str) -> String {
    format!("suspect/manifest/{key}/{name}")
}
/// `suspect/strange/<name>`: what lay below `manifest/` under a name that is no job's, moved here.
pub fn set_aside_strange_key(name: &str) -> String {
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
