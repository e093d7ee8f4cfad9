//! Identifiers, subjects and object keys survive being written and read.

#![forbid(unsafe_code)]

use cedm_contract::{
    Attempt, Digest, JobKey, Kind, MAX_OBJECT_KEY, Priority, SweepId, attempt_prefix, blob_key,
    checkpoint_key, delay_subject, job_subject, kinds::reference::REFERENCE, manifest_key,
    output_key, parse_job_subject, sweep_key,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn identifiers_survive_their_text(bytes in prop::collection::vec(any::<u8>(), 0..40), sequence: u64, delivery: u64, time in 0u64..1 << 48, random: u128) {
        let key = JobKey::of(&bytes);
        prop_assert_eq!(key.as_str().parse::<JobKey>().unwrap(), key);
        prop_assert_eq!(Digest::of_reader(&bytes[..]).unwrap(), (bytes.len() as u64, Digest::of(&bytes)));
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
            prop_assert!(text.len() <= MAX_OBJECT_KEY, "{} bytes: {}", text.len(), text);
        }
        prop_assert!(output_key(&key, &attempt, "x").starts_with(&attempt_prefix(&key, &attempt)));
    }
}
