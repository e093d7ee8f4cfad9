//! What holds for every message, identifier and object key, tried with random values.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn identifiers_survive_their_text(bytes in prop::collection::vec(any::<u8>(), 0..40), sequence: u64, delivery: u64, time in 0u64..1 << 48, random: u128) {
        let key = JobKey::of(&bytes);
        prop_assert_eq!(key.as_str().parse::<JobKey>().unwrap(), key);
        let attempt = Attempt { sequence, delivery, ulid: ulid::Ulid::from_parts(time, random) };
        prop_assert_eq!(attempt.to_string().parse::<Attempt>().unwrap(), attempt);
    }

    #[test]
    fn no_text_is_taken_for_an_identifier_by_mistake(text in "\\PC{0,60}") {
        if let Ok(key) = text.parse::<JobKey>() { prop_assert_eq!(key.as_str(), &text); }
        if let Ok(sweep) = text.parse::<SweepId>() { prop_assert_eq!(sweep.as_str(), &text); }
        if let Ok(attempt) = text.parse::<Attempt>() { prop_assert_eq!(attempt.to_string().to_lowercase(), text.to_lowercase()); }
    }

    #[test]
    fn subjects_say_what_they_hold(seed: u64, kind in prop::sample::select(Kind::ALL), priority in prop::sample::select(&Priority::ALL[..])) {
        let key = JobKey::of(&seed.to_le_bytes());
        prop_assert_eq!(parse_job_subject(&job_subject(kind, priority, &key)).unwrap(), (kind, priority, key.clone()));
        prop_assert_eq!(parse_job_subject(&delay_subject(kind, priority, &key)).unwrap(), (kind, priority, key));
    }

    #[test]
    fn object_keys_fit_every_store(seed: u64, sequence: u64, delivery: u64, step in 0u64..1_000_000_000_000) {
        let key = JobKey::of(&seed.to_le_bytes());
        let attempt = Attempt { sequence, delivery, ulid: ulid::Ulid::from_parts((1 << 48) - 1, u128::MAX) };
        let sweep: SweepId = "a".repeat(48).parse().unwrap();
        let digest = Digest::of(&seed.to_le_bytes());
        for text in [manifest_key(&key), checkpoint_key(&key, step, &attempt), blob_key(&digest), sweep_key(&sweep, "cancelled"), output_key(&key, &attempt, REFERENCE.as_str())] {
            prop_assert!(text.len() <= cedm_contract::MAX_OBJECT_KEY, "{} bytes: {}", text.len(), text);
        }
        prop_assert!(output_key(&key, &attempt, "x").starts_with(&attempt_prefix(&key, &attempt)));
    }

    /// The key is made of what the result depends on, and of nothing else.
    #[test]
    fn keys_depend_on_work_alone(label in ".{0,30}", every: Option<u64>, priority in prop::sample::select(&Priority::ALL[..]), seed in 8u64..) {
        let job = train();
        let hints = Hints { checkpoint_every_s: every, sweep: None, label };
        let mut inputs = job.inputs.clone();
        inputs[0].key = key("the same bytes, made in another way");
        let same = Job::new(job.spec.clone(), inputs.clone(), priority, hints.clone());
        prop_assert_eq!(&same.key, &job.key);
        prop_assert_eq!(Job::decode(&same.encode().unwrap()).unwrap(), same);
        inputs[0].digest = Digest::of(b"other bytes");
        prop_assert_ne!(Job::key_of(&job.spec, &inputs), job.key.clone());
        let mut spec = job.spec.clone();
        if let JobSpec::Train(params) = &mut spec { params.seed = seed; }
        prop_assert_ne!(Job::key_of(&spec, &job.inputs), job.key);
    }

    /// Digests are recomputed from what was read, so every number must come back to the last bit.
    #[test]
    fn numbers_survive_the_manifest(loss in any::<f64>().prop_filter("finite", |x| x.is_finite()), metric in 0.0f64..1e9) {
        let mut manifest = manifest();
        manifest.result = JobResult::Train(TrainResult { nimg: 1, steps: 1, label_dim: 1, parameters: 1, loss: Some(loss) });
        manifest.digest = Manifest::digest_of(&manifest.outputs, &manifest.result);
        manifest.metrics.insert("rate".to_owned(), metric);
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Job::decode(&bytes).is_err());
        prop_assert!(Manifest::decode(&bytes).is_err());
    }
}
