//! A fixed number of inputs of every target, the same in every run.

#![forbid(unsafe_code)]

use cedm_fuzz::{Mutator, Target, seeds};
use std::path::Path;

/// Inputs of each target: seconds in all.
const INPUTS: u64 = 4_000;

#[test]
fn damaged_files_of_every_kind_are_read_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases");
    let folder = tempfile::tempdir().unwrap();
    for target in Target::ALL {
        let seeds = seeds(&corpus, target).unwrap();
        let mutator = Mutator::new(&seeds);
        for number in 0..INPUTS {
            // A panic names the target and the number in its message of the test.
            let input = mutator.input(number);
            let run = std::panic::catch_unwind(|| target.run(&input, folder.path()).unwrap());
            assert!(run.is_ok(), "{target:?} input {number}");
        }
    }
}
