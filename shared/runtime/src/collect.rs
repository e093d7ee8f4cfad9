//! What in a store is of no use to anybody any more: the collector behind `cedm gc`.
//!
//! A result is *needed* when a root names it (a sweep, a name of an image set, a queued job) or a
//! needed result was made from it. Of a sweep that is not complete, whatever was made from its
//! images is needed too: behind a result that is lost, its plan has no keys. Everything else may go
//! once it is old enough:
//!
//! 1. objects of attempts that no manifest names: superseded or abandoned;
//! 2. checkpoints of jobs that have a result, or that nobody needs;
//! 3. results that nobody needs, each manifest before its objects, so that an interruption leaves
//!    no result whose objects are gone;
//! 4. users' files that no sweep and no kept result names;
//! 5. copies of broken manifests, kept for a look.
//!
//! It may run beside everything else: what is needed is asked for last, after everything was read.
//! At worst it removes a result that a job takes up between that moment and the deletion: that
//! input is missing then, and is made again as after any other loss.

use crate::{
    store::{Listed, Store, StoreError},
    verify::objects_of,
};
use cedm_contract::{
    BLOB_PREFIX, CHECKPOINT_PREFIX, JobKey, Kind, MANIFEST_PREFIX, Manifest, OBJECT_PREFIX,
    SUSPECT_PREFIX, manifest_key,
};
use futures::{StreamExt, TryStreamExt};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

/// Manifests that are read at the same time.
const CONCURRENCY: usize = 32;

/// What must stay, whatever its age.
#[derive(Debug, Default, Clone)]
pub struct Roots {
    /// Results that are needed by themselves: of sweeps, of names of image sets.
    pub keys: BTreeSet<JobKey>,
    /// Imports from which everything that was made stays: those of sweeps that are not complete.
    pub sources: BTreeSet<JobKey>,
    /// Jobs that are queued or running: their checkpoints and objects are in the making.
    pub open: BTreeSet<JobKey>,
    /// Texts in which the digests of users' files stand: the sweeps as submitted.
    pub texts: Vec<String>,
    /// Why it is not known what is needed; then no result and no user's file is taken for unneeded.
    pub doubts: Vec<String>,
}

/// How old things must be before they are collected, by their last change in the store.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// What attempts left behind, and checkpoints of jobs that are done.
    pub left: Duration,
    /// What nobody needs.
    pub unneeded: Duration,
}

/// A result that nobody needs.
#[derive(Debug, Clone)]
pub struct UnneededResult {
    /// Key of its job.
    pub key: JobKey,
    /// Kind of its job.
    pub kind: Kind,
    /// Its objects; without those that a kept result names.
    pub objects: Vec<Listed>,
    /// Size of its manifest in bytes.
    pub manifest_bytes: u64,
    /// When its manifest was written, by the store's clock: another one was written since where
    /// this has changed.
    pub modified_ms: u64,
}

/// Results, checkpoints and uploaded files that nobody needs.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Objects of attempts that were superseded or abandoned.
    pub attempts: Vec<Listed>,
    /// Checkpoints that nobody continues from.
    pub checkpoints: Vec<Listed>,
    /// Results that nobody needs.
    pub results: Vec<UnneededResult>,
    /// Users' files that nothing names.
    pub blobs: Vec<Listed>,
    /// Manifests that were set aside.
    pub suspects: Vec<Listed>,
    /// Why results and users' files were left alone; empty where they were not.
    pub doubts: Vec<String>,
}

/// Looks for what may go at the Unix time `now_ms`; changes nothing. `roots` is called when the
/// store has been read. `progress` receives how many of how many manifests are read.
///
/// # Errors
/// When the store fails, or `roots` does.
pub async fn survey<E: From<StoreError>>(
    store: &Arc<dyn Store>,
    roots: impl AsyncFnOnce() -> Result<Roots, E>,
    ages: Ages,
    now_ms: u64,
    mut progress: impl FnMut(u64, u64),
) -> Result<Garbage, E> {
    // Before the manifests: what an attempt uploads while they are read has no manifest among them,
    // and must not count as left over. It is young besides.
    let objects = store.list(OBJECT_PREFIX).await?;
    let checkpoints = store.list(CHECKPOINT_PREFIX).await?;
    let blobs = store.list(BLOB_PREFIX).await?;
    let suspects = store.list(SUSPECT_PREFIX).await?;
    let listed = store.list(MANIFEST_PREFIX).await?;

    let mut known = Known::default();
    let total = listed.len() as u64;
    let reads: Vec<_> = listed.iter().map(|object| read(store, object)).collect();
    let mut reads = futures::stream::iter(reads).buffered(CONCURRENCY);
    let mut done = 0;
    while let Some(found) = reads.try_next().await? {
        (done, _) = (done + 1, progress(done, total));
        known.add(found);
    }
    let roots = &roots().await?;

    let is_old = |object: &Listed, age: Duration| {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        // A store that tells no times gives no age.
        object.modified_ms > 0 && object.modified_ms.saturating_add(age) <= now_ms
    };
    let needed = known.needed(roots);
    let mut doubts = roots.doubts.clone();
    doubts.extend(known.unreadable.iter().map(|key| {
        format!(
            "`{}` cannot be read, so that what it was made from is unknown",
            manifest_key(key)
        )
    }));
    let mut garbage = Garbage::default();

    let owned: HashSet<&str> = known
        .manifests
        .values()
        .flat_map(|m| owned_by(&m.manifest))
        .collect();
    // What an attempt uploads stays together until its youngest object is old: an import of a large
    // set takes days. And a manifest that cannot be read may name objects of any attempt.
    let mut young: HashSet<&str> = HashSet::new();
    for object in &objects {
        if !is_old(object, ages.left) {
            young.insert(attempt_in(&object.key));
        }
    }
    for object in &objects {
        let is_spared =
            key_in(&object.key, OBJECT_PREFIX).is_none_or(|key| roots.open.contains(&key));
        let is_left = !owned.contains(object.key.as_str()) && !is_spared;
        if is_left && !young.contains(attempt_in(&object.key)) && known.unreadable.is_empty() {
            garbage.attempts.push(object.clone());
        }
    }
    for object in checkpoints {
        let Some(key) = key_in(&object.key, CHECKPOINT_PREFIX) else {
            continue;
        };
        let is_over = known.manifests.contains_key(&key) && is_old(&object, ages.left);
        // A job behind a lost result has no key in the plan of its sweep.
        let is_known = doubts.is_empty() && roots.sources.is_empty();
        let is_unneeded = is_known && !roots.keys.contains(&key) && is_old(&object, ages.unneeded);
        if !roots.open.contains(&key) && (is_over || is_unneeded) {
            garbage.checkpoints.push(object);
        }
    }
    let old = suspects
        .into_iter()
        .filter(|object| is_old(object, ages.unneeded));
    garbage.suspects = old.collect();
    if !doubts.is_empty() {
        garbage.doubts = doubts;
        return Ok(garbage);
    }

    let stays =
        |key: &JobKey, found: &Found| needed.contains(key) || !is_old(&found.listed, ages.unneeded);
    let (kept, unneeded): (Vec<_>, Vec<_>) = known
        .manifests
        .iter()
        .partition(|(key, found)| stays(key, found));
    let texts = texts(&kept);
    let kept: HashSet<&str> = kept
        .into_iter()
        .flat_map(|(_, found)| owned_by(&found.manifest))
        .collect();
    let mut by_key: BTreeMap<JobKey, Vec<Listed>> = BTreeMap::new();
    for object in &objects {
        let is_unkept = owned.contains(object.key.as_str()) && !kept.contains(object.key.as_str());
        if let Some(key) = key_in(&object.key, OBJECT_PREFIX).filter(|_| is_unkept) {
            by_key.entry(key).or_default().push(object.clone());
        }
    }
    for (key, found) in unneeded {
        garbage.results.push(UnneededResult {
            key: key.clone(),
            kind: found.manifest.kind(),
            modified_ms: found.listed.modified_ms,
            objects: by_key.remove(key).unwrap_or_default(),
            manifest_bytes: found.listed.size,
        });
    }
    let texts: Vec<&str> = roots
        .texts
        .iter()
        .chain(&texts)
        .map(String::as_str)
        .collect();
    for object in blobs {
        let digest = &object.key[BLOB_PREFIX.len()..];
        let is_named = texts.iter().any(|text| text.contains(digest));
        if !is_named && is_old(&object, ages.unneeded) {
            garbage.blobs.push(object);
        }
    }
    Ok(garbage)
}

/// A manifest as found.
struct Found {
    listed: Listed,
    manifest: Manifest,
}

#[derive(Default)]
struct Known {
    manifests: BTreeMap<JobKey, Found>,
    /// Keys whose manifest this program cannot read.
    unreadable: BTreeSet<JobKey>,
}

/// What a listed manifest turned out to be; `None` for what is no manifest, or gone by now.
type Read = Option<(JobKey, Option<Found>)>;

async fn read(store: &Arc<dyn Store>, listed: &Listed) -> Result<Read, StoreError> {
    let Ok(key) = listed.key[MANIFEST_PREFIX.len()..].parse::<JobKey>() else {
        return Ok(None); // nothing reads it; `cedm fsck` lists it
    };
    let Some(bytes) = store.get(&listed.key).await? else {
        return Ok(None);
    };
    let manifest = Manifest::decode(&bytes)
        .ok()
        .filter(|manifest| manifest.key == key);
    let found = manifest.map(|manifest| Found {
        listed: listed.clone(),
        manifest,
    });
    Ok(Some((key, found)))
}

impl Known {
    fn add(&mut self, read: Read) {
        match read {
            Some((key, Some(found))) => {
                self.manifests.insert(key, found);
            }
            Some((key, None)) => {
                self.unreadable.insert(key);
            }
            None => {}
        }
    }

    /// The roots, what was made from the sources, and whatever all of these were made from.
    fn needed(&self, roots: &Roots) -> HashSet<JobKey> {
        let made = self.made_from(&roots.sources);
        let mut needed = HashSet::new();
        let mut todo: Vec<&JobKey> = roots.keys.iter().chain(&roots.open).collect();
        todo.extend(made);
        while let Some(key) = todo.pop() {
            if !needed.insert(key.clone()) {
                continue;
            }
            if let Some(found) = self.manifests.get(key) {
                todo.extend(found.manifest.inputs.iter().map(|input| &input.key));
            }
        }
        needed
    }

    /// Keys of the results that were made from these, directly or through others, and theirs.
    fn made_from<'k>(&'k self, sources: &'k BTreeSet<JobKey>) -> HashSet<&'k JobKey> {
        let mut readers: BTreeMap<&JobKey, Vec<&JobKey>> = BTreeMap::new();
        for (key, found) in &self.manifests {
            for input in &found.manifest.inputs {
                readers.entry(&input.key).or_default().push(key);
            }
        }
        let mut made = HashSet::new();
        let mut todo: Vec<&JobKey> = sources.iter().collect();
        while let Some(key) = todo.pop() {
            if made.insert(key) {
                todo.extend(readers.get(key).into_iter().flatten());
            }
        }
        made
    }
}

/// The parameters of these results: digests of users' files stand in them.
fn texts(results: &[(&JobKey, &Found)]) -> Vec<String> {
    // Equal parameters occur thousands of times.
    let texts: BTreeSet<String> = results
        .iter()
        .filter_map(|(_, found)| serde_json::to_string(&found.manifest.spec).ok())
        .filter(|text| text.contains(BLOB_PREFIX))
        .collect();
    texts.into_iter().collect()
}

fn owned_by(manifest: &Manifest) -> Vec<&str> {
    let objects = objects_of(manifest).into_iter();
    objects.map(|object| object.object.as_str()).collect()
}

/// `object/<key>/<attempt>` of such a name.
fn attempt_in(name: &str) -> &str {
    let end = name
        .match_indices('/')
        .nth(2)
        .map_or(name.len(), |(at, _)| at);
    &name[..end]
}

/// The job in a name like `object/<key>/…`; `None` for another name, which is not ours to judge.
fn key_in(name: &str, prefix: &str) -> Option<JobKey> {
    name.strip_prefix(prefix)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
