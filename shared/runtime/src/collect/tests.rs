//! The collector over a store in memory.

use super::*;
use crate::{
    store::{Body, RamStore},
    testing::job,
};
use cedm_contract::{
    Attempt, Digest, Input, Job, JobResult, ObjectRef, Output, checkpoint_key,
    kinds::fit::FitResult, output_key,
};

const DAY: Duration = Duration::from_secs(86_400);
const AGES: Ages = Ages {
    left: DAY,
    unneeded: Duration::from_secs(10 * 86_400),
};

/// Days after everything was stored.
fn after(days: u64) -> u64 {
    1 + days * 86_400_000
}

/// A result of a job of its own, of one output, made from `inputs`.
fn result(name: &str, inputs: &[&Manifest]) -> Manifest {
    let pins = inputs.iter().enumerate().map(|(number, from)| Input {
        role: format!("input/{number}"),
        key: from.key.clone(),
        digest: from.digest.clone(),
    });
    let base = job(name);
    let job = Job::new(base.spec, pins.collect(), base.priority, base.hints);
    let attempt = Attempt::new(1, 1);
    let object = ObjectRef {
        object: output_key(&job.key, &attempt, "a"),
        size: 4,
        digest: Digest::of(b"text"),
    };
    let output = Output {
        name: "a".to_owned(),
        object,
        volatile: false,
    };
    Manifest::of(
        job,
        attempt,
        vec![output],
        JobResult::Fit(FitResult { dim: 4 }),
    )
}

async fn store_of(results: &[&Manifest], others: &[&str]) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    for result in results {
        let bytes = result.encode();
        let key = manifest_key(&result.key);
        store.put(&key, Body::Bytes(bytes.into())).await.unwrap();
        let object = &result.outputs[0].object.object;
        store.put(object, Body::Bytes("text".into())).await.unwrap();
    }
    for other in others {
        store.put(other, Body::Bytes("x".into())).await.unwrap();
    }
    store
}

fn roots(needed: &[&Manifest]) -> Roots {
    Roots {
        keys: needed.iter().map(|result| result.key.clone()).collect(),
        ..Roots::default()
    }
}

async fn found(store: &Arc<dyn Store>, roots: &Roots, days: u64) -> Garbage {
    let roots = async || Ok::<_, StoreError>(roots.clone());
    survey(store, roots, AGES, after(days), |_, _| {})
        .await
        .unwrap()
}

fn names(listed: &[Listed]) -> Vec<&str> {
    listed.iter().map(|object| object.key.as_str()).collect()
}

/// What a needed result was made from stays, through every step; the rest goes when it is old.
#[tokio::test]
async fn results_that_nothing_needs_are_found_when_they_are_old() {
    let images = result("images", &[]);
    let features = result("features", &[&images]);
    let clusters = result("clusters", &[&features]);
    let other = result("other", &[&features]);
    let store = store_of(&[&images, &features, &clusters, &other], &[]).await;
    let roots = roots(&[&clusters]);
    assert!(found(&store, &roots, 9).await.results.is_empty());
    let garbage = found(&store, &roots, 10).await;
    let keys: Vec<&JobKey> = garbage.results.iter().map(|result| &result.key).collect();
    assert_eq!(keys, [&other.key]);
    assert_eq!(
        names(&garbage.results[0].objects),
        [other.outputs[0].object.object.as_str()]
    );
    // Queued: its result would be looked up at any moment.
    let mut open = roots.clone();
    open.open.insert(other.key.clone());
    assert!(found(&store, &open, 10).await.results.is_empty());
}

/// Behind a lost result the plan of a sweep has no keys: what was made from its images stays.
#[tokio::test]
async fn what_a_sweep_that_is_not_complete_may_need_stays() {
    let (images, other) = (result("images", &[]), result("other", &[]));
    let features = result("features", &[&images]);
    let clusters = result("clusters", &[&features]);
    // The features are lost; the plan knows their key and no other.
    let store = store_of(&[&images, &clusters, &other], &[]).await;
    let mut roots = roots(&[&images, &features]);
    let unneeded = async |roots: &Roots| -> Vec<JobKey> {
        let results = found(&store, roots, 100).await.results;
        results.into_iter().map(|result| result.key).collect()
    };
    assert_eq!(unneeded(&roots).await.len(), 2);
    roots.sources.insert(features.key.clone());
    assert_eq!(unneeded(&roots).await, std::slice::from_ref(&other.key));
}

/// An object of an unneeded result that a needed one names stays.
#[tokio::test]
async fn an_object_of_two_results_stays_with_the_second() {
    let first = result("first", &[]);
    let mut second = result("second", &[]);
    let shared = Output {
        name: "b".to_owned(),
        ..first.outputs[0].clone()
    };
    second.outputs.push(shared);
    second.digest = Manifest::digest_of(&second.outputs, &second.result);
    let store = store_of(&[&first, &second], &[]).await;
    let garbage = found(&store, &roots(&[&second]), 10).await;
    assert_eq!(garbage.results.len(), 1);
    assert!(garbage.results[0].objects.is_empty(), "{garbage:?}");
}

#[tokio::test]
async fn what_attempts_left_is_found_and_what_they_are_making_is_not() {
    let (done, open) = (result("done", &[]), result("open", &[]));
    let attempt = Attempt::new(7, 2);
    let lost = output_key(&done.key, &attempt, "a");
    let making = output_key(&open.key, &attempt, "a");
    let over = checkpoint_key(&done.key, 5, &attempt);
    let going_on = checkpoint_key(&open.key, 5, &attempt);
    let strange = "object/no-key/x";
    let left: Vec<&str> = vec![&lost, &making, &over, &going_on, strange];
    let store = store_of(&[&done], &left).await;
    let mut roots = roots(&[&done]);
    roots.open.insert(open.key.clone());
    let young = found(&store, &roots, 0).await;
    assert!(young.attempts.is_empty() && young.checkpoints.is_empty());
    let garbage = found(&store, &roots, 100).await;
    assert_eq!(names(&garbage.attempts), [lost.as_str()]);
    assert_eq!(names(&garbage.checkpoints), [over.as_str()]);
    assert!(garbage.results.is_empty());
    // Nobody asks for the other job any more.
    let garbage = found(
        &store,
        &Roots {
            open: BTreeSet::new(),
            ..roots
        },
        100,
    )
    .await;
    assert_eq!(
        names(&garbage.attempts),
        [lost.as_str(), making.as_str()]
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(garbage.checkpoints.len(), 2);
}

/// Where it is not known what is needed, nothing is taken for unneeded.
#[tokio::test]
async fn doubts_keep_results_and_files() {
    let (needed, other) = (result("needed", &[]), result("other", &[]));
    let blob = format!("{BLOB_PREFIX}{}", Digest::of(b"weights"));
    let store = store_of(&[&needed, &other], &[&blob]).await;
    let sound = roots(&[&needed]);
    let garbage = found(&store, &sound, 100).await;
    assert_eq!((garbage.results.len(), garbage.blobs.len()), (1, 1));
    let named = Roots {
        texts: vec![format!("{{\"object\": \"{blob}\"}}")],
        ..sound.clone()
    };
    assert!(found(&store, &named, 100).await.blobs.is_empty());

    let doubtful = Roots {
        doubts: vec!["sweep x cannot be read".to_owned()],
        ..sound.clone()
    };
    let newer = JobKey::of(b"newer");
    let unread = store_of(&[&needed, &other], &[&blob, &manifest_key(&newer)]).await;
    for (store, roots) in [(&store, &doubtful), (&unread, &sound)] {
        let garbage = found(store, roots, 100).await;
        assert!(
            garbage.results.is_empty() && garbage.blobs.is_empty(),
            "{garbage:?}"
        );
        assert_eq!(garbage.doubts.len(), 1);
    }
}

/// A store that does not say when an object was changed gives it no age.
#[tokio::test]
async fn what_has_no_age_stays() {
    let other = result("other", &[]);
    let store = store_of(&[&other], &[]).await;
    let roots = async || Ok::<_, StoreError>(Roots::default());
    let garbage = survey(&store, roots, AGES, 0, |_, _| {}).await.unwrap();
    assert!(garbage.results.is_empty());
}
