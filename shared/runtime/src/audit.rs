//! The invariants of the protocol, checked by one piece of code: by `cedm fsck` over a real store,
//! by the simulation and the process tests over theirs.
//!
//! 1. A manifest can be read, is that of its key, and its own outputs are below its attempt's
//!    prefix.
//! 2. Every object that it relies on has the size and digest that it promises.
//! 3. What an event called done has a manifest.
//! 4. What was asked for has a manifest, unless it is open: queued, dead or cancelled.
//! 5. Every object of an attempt belongs to a manifest, or is counted as unclaimed: a superseded or
//!    abandoned attempt left it, or one that is still running.
//!
//! What lies in the store under a name that no program gives breaks nothing, and is listed.

use crate::{
    store::{Store, StoreError},
    verify::{LookUpError, StoredResult, Verifier, objects_of},
};
use cedm_contract::{
    Event, EventAttempt, EventWhat, JobKey, MANIFEST_PREFIX, Manifest, OBJECT_PREFIX,
    attempt_prefix, is_object_key,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What an audit assumes about the results of a store.
#[derive(Debug, Default, Clone)]
pub struct Claims {
    /// Jobs that an event called done.
    pub announced: BTreeSet<JobKey>,
    /// Jobs that were submitted.
    pub wanted: BTreeSet<JobKey>,
    /// Jobs that need not have a result: queued, being performed, dead, cancelled.
    pub open: BTreeSet<JobKey>,
}

impl Claims {
    /// What these events call done. A result that was discarded afterwards, because it did not
    /// verify, is not claimed any more.
    pub fn of_events(events: &[Event]) -> Self {
        let mut last: HashMap<&JobKey, (u64, bool)> = HashMap::new();
        for event in events {
            let is_done = match event.what {
                EventWhat::Done => true,
                EventWhat::Failed if event.attempt.is_none() => false,
                _ => continue,
            };
            let entry = last.entry(&event.key).or_insert((0, false));
            *entry = (*entry).max((event.at_ms, is_done));
        }
        let done = last.into_iter().filter(|(_, (_, is_done))| *is_done);
        Self {
            announced: done.map(|(key, _)| key.clone()).collect(),
            ..Self::default()
        }
    }
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Key of the job whose manifest it is.
    pub key: JobKey,
    /// What is wrong with it.
    pub reason: String,
}

/// Objects and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Volume {
    /// Number of objects below the prefix.
    pub objects: u64,
    /// Total size of these objects in bytes.
    pub bytes: u64,
}

impl Volume {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What an audit found.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub struct Findings {
    /// Number of manifests that were checked.
    pub manifests: u64,
    /// Objects that they rely on, all of them verified, each counted once.
    pub sound: Volume,
    /// What does not hold; empty in a store that is as it should be.
    pub violations: Vec<Violation>,
    /// Objects of names that no program gives, wherever they lie: nothing reads them.
    pub strange: Vec<String>,
    /// Manifests with a newer schema version, which this program cannot check.
    pub newer: Vec<JobKey>,
    /// Objects that no manifest names: attempts that were superseded or abandoned, or are still
    /// running.
    pub unclaimed: Volume,
}

/// Looks at everything, or at the manifests of `keys` alone; `progress` receives how many of how
/// many manifests are done.
///
/// # Errors
/// When the store fails.
pub async fn audit(
    store: &Arc<dyn Store>,
    keys: Option<&[JobKey]>,
    claims: &Claims,
    mut progress: impl FnMut(u64, u64),
) -> Result<Findings, StoreError> {
    let (mut listed, mut strange, mut objects) = (Vec::new(), Vec::new(), Vec::new());
    match keys {
        Some(keys) => listed.extend_from_slice(keys),
        None => {
            for object in store.list("").await? {
                let key = object.key.as_str();
                if !is_object_key(key) {
                    strange.push(object.key);
                } else if let Some(key) = key.strip_prefix(MANIFEST_PREFIX) {
                    listed.extend(key.parse::<JobKey>());
                } else if key.starts_with(OBJECT_PREFIX) {
                    objects.push(object);
                }
            }
        }
    }
    // A new verifier: nothing counts as verified already.
    let verifier = Verifier::new(store.clone());
    let (mut findings, mut owned, mut standing) = (
        Findings {
            strange,
            ..Findings::default()
        },
        HashSet::new(),
        BTreeSet::new(),
    );
    for (position, key) in listed.iter().enumerate() {
        progress(position as u64, listed.len() as u64);
        let violation = match verifier.look_up(key, true).await {
            Ok(StoredResult::Sound(manifest)) => {
                for object in objects_of(&manifest) {
                    if owned.insert(object.object.clone()) {
                        findings.sound.add(object.size);
                    }
                }
                misplaced(&manifest)
            }
            Ok(StoredResult::Broken(reason)) => Some(reason),
            Ok(StoredResult::Nothing) => Some("its manifest is missing".to_owned()),
            Err(LookUpError::Newer(_)) => {
                findings.newer.push(key.clone());
                None
            }
            Err(LookUpError::Store(error)) => return Err(error),
        };
        findings.manifests += 1;
        standing.insert(key.clone());
        findings
            .violations
            .extend(violation.map(|reason| Violation {
                key: key.clone(),
                reason,
            }));
    }
    for (claimed, reason) in [
        (
            &claims.announced,
            "an event called it done, and there is no manifest",
        ),
        (
            &claims.wanted,
            "it was asked for, and it is neither done nor queued, dead or cancelled",
        ),
    ] {
        let unmet = claimed
            .iter()
            .filter(|key| !standing.contains(*key) && !claims.open.contains(*key));
        findings.violations.extend(unmet.map(|key| Violation {
            key: key.clone(),
            reason: reason.to_owned(),
        }));
    }
    // What a newer program names is not known here, so its jobs' objects are left out.
    let newer: HashSet<&str> = findings.newer.iter().map(JobKey::as_str).collect();
    let unclaimed = objects.iter().filter(|object| {
        let key = object.key.split('/').nth(1).unwrap_or_default();
        !owned.contains(&object.key) && !newer.contains(key)
    });
    unclaimed.for_each(|object| findings.unclaimed.add(object.size));
    Ok(findings)
}

/// An output of the manifest that is not below its attempt's prefix.
fn misplaced(manifest: &Manifest) -> Option<String> {
    let prefix = attempt_prefix(&manifest.key, &manifest.attempt);
    let stray = manifest
        .outputs
        .iter()
        .find(|output| !output.object.object.starts_with(&prefix))?;
    Some(format!(
        "output `{}` is at `{}`, not below `{prefix}`",
        stray.name, stray.object.object
    ))
}

/// How many different attempts committed a result, by job, as the events tell: one, unless a result
/// was discarded in between. `None` stands for the program itself, which commits imports and
/// reports without a delivery.
pub fn commits(events: &[Event]) -> BTreeMap<JobKey, BTreeSet<Option<EventAttempt>>> {
    let mut commits: BTreeMap<JobKey, BTreeSet<Option<EventAttempt>>> = BTreeMap::new();
    // An event may be published twice (an answer that was lost): attempts are counted, not events.
    for event in events
        .iter()
        .filter(|event| event.what == EventWhat::Done && !event.cached)
    {
        commits
            .entry(event.key.clone())
            .or_default()
            .insert(event.attempt);
    }
    commits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commit::commit,
        store::{Body, RamStore},
        testing::manifest,
    };
    use cedm_contract::{Attempt, Digest, ObjectRef, Output, output_key};

    fn with_output(delivery: u64, at: Option<&str>) -> Manifest {
        let mut manifest = manifest(delivery);
        let object = at.map_or_else(
            || output_key(&manifest.key, &manifest.attempt, "a"),
            str::to_owned,
        );
        let object = ObjectRef {
            object,
            size: 4,
            digest: Digest::of(b"text"),
        };
        manifest.outputs.push(Output {
            name: "a".to_owned(),
            object,
            volatile: false,
        });
        manifest.digest = Manifest::digest_of(&manifest.outputs, &manifest.result);
        manifest
    }

    async fn audited(
        objects: &[(&str, &'static str)],
        manifest: Option<&Manifest>,
        claims: &Claims,
    ) -> Findings {
        let store: Arc<dyn Store> = Arc::new(RamStore::default());
        for (key, text) in objects {
            store.put(key, Body::Bytes((*text).into())).await.unwrap();
        }
        if let Some(manifest) = manifest {
            commit(store.as_ref(), &Verifier::new(store.clone()), manifest)
                .await
                .unwrap();
        }
        audit(&store, None, claims, |_, _| {}).await.unwrap()
    }

    #[tokio::test]
    async fn each_violation_is_found() {
        let good = with_output(1, None);
        let place = good.outputs[0].object.object.clone();
        let claims = |key: &JobKey| Claims {
            announced: [key.clone()].into(),
            wanted: [key.clone()].into(),
            open: BTreeSet::new(),
        };
        let left = output_key(&good.key, &Attempt::new(1, 9), "left");
        let strange = [
            "elsewhere",
            "manifest/../x",
            "object/x/y/z",
            "sweep/No Name/spec",
        ];
        let mut objects = vec![(place.as_str(), "text"), (left.as_str(), "left")];
        objects.extend(strange.map(|name| (name, "whatever")));
        let sound = audited(&objects, Some(&good), &claims(&good.key)).await;
        assert!(sound.violations.is_empty(), "{sound:?}");
        assert_eq!(sound.strange, strange, "shown, and no obstacle");
        assert_eq!(
            (sound.manifests, sound.sound, sound.unclaimed),
            (
                1,
                Volume {
                    objects: 1,
                    bytes: 4
                },
                Volume {
                    objects: 1,
                    bytes: 4
                }
            )
        );

        for (objects, manifest, claims, expect) in [
            (
                vec![(place.as_str(), "tent")],
                Some(&good),
                Claims::default(),
                "digest",
            ),
            (
                vec![("elsewhere", "text")],
                Some(&with_output(1, Some("elsewhere"))),
                Claims::default(),
                "not below",
            ),
            (vec![], None, claims(&good.key), "no manifest"),
        ] {
            let found = audited(&objects, manifest, &claims).await;
            assert!(
                found
                    .violations
                    .iter()
                    .any(|violation| violation.reason.contains(expect)),
                "{expect}: {found:?}"
            );
        }
        let open = Claims {
            announced: BTreeSet::new(),
            open: [good.key.clone()].into(),
            wanted: [good.key.clone()].into(),
        };
        assert!(
            audited(&[], None, &open).await.violations.is_empty(),
            "what is queued need not be done"
        );
    }

    #[test]
    fn a_discarded_result_is_claimed_no_more() {
        let key = JobKey::of(b"job");
        let event = |what, at_ms, attempt: Option<(u64, u64)>| Event {
            at_ms,
            attempt: attempt.map(|(sequence, at)| EventAttempt::of_delivery(sequence, at)),
            cached: false,
            ..crate::redeliverer::event(cedm_contract::Kind::Fit, &key, what)
        };
        let mut events = vec![
            event(EventWhat::Done, 1, Some((1, 1))),
            event(EventWhat::Done, 1, Some((1, 1))),
        ];
        assert_eq!(Claims::of_events(&events).announced.len(), 1);
        assert_eq!(
            commits(&events)[&key].len(),
            1,
            "the same event twice is one commit"
        );
        events.push(event(EventWhat::Failed, 2, Some((1, 2))));
        assert_eq!(
            Claims::of_events(&events).announced.len(),
            1,
            "a failed attempt takes nothing back"
        );
        events.push(event(EventWhat::Failed, 3, None));
        assert!(Claims::of_events(&events).announced.is_empty());
        events.push(event(EventWhat::Done, 4, Some((2, 1))));
        assert_eq!(Claims::of_events(&events).announced.len(), 1);
        assert_eq!(commits(&events)[&key].len(), 2);
    }
}
