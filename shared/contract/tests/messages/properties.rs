//! What holds for every message, identifier and object key, tried with random values.

use super::*;
use proptest::prelude::*;

proptest! {
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
