//! Stored sweeps keep their bytes: what an earlier build wrote, this one reads, and writes the
//! same.
//!
//! `CEDM_BLESS=1 cargo test -p cedm-sweep --test records` writes the golden file anew, for a
//! deliberate change of format.

#![forbid(unsafe_code)]

use cedm_contract::{ContractError, JobKey};
use cedm_sweep::{Sweep, SweepSpec};
use proptest::prelude::*;
use std::path::PathBuf;

const FILE: &str = r#"[images]
set = "digits"
[extractor]
name = "pixels"
[[clustering]]
method = "kmeans"
clusters = [10]
[training]
preset = "digits8"
[sampling]
images = 100
[evaluation]
extractor = "pixels"
metrics = ["fd"]
"#;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn stored(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

#[test]
fn sweeps_keep_their_bytes() {
    let sweep = Sweep::new(
        "digits".parse().unwrap(),
        SweepSpec::parse(FILE).unwrap(),
        JobKey::of(b"images"),
        None,
        1_700_000_000_000,
        FILE.to_owned(),
    );
    let found = sweep.encode();
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(path("sweep.json"), &found).unwrap();
    }
    let expected = stored("sweep.json");
    assert_eq!(
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(&expected),
        "sweep.json is written differently now"
    );
    assert_eq!(Sweep::decode(&expected).unwrap(), sweep);
    // as it was written before neighbours had a section, when shards were of 2,500 images unless
    // the file said otherwise
    let mut older = Sweep::decode(&stored("sweep_without_neighbours.json")).unwrap();
    assert_eq!(
        std::mem::replace(&mut older.spec.sampling.shard_size, 2_560),
        2_500
    );
    assert_eq!(older, sweep);
}

#[test]
fn a_newer_record_is_refused_by_name() {
    let text = String::from_utf8(stored("sweep.json")).unwrap();
    let newer = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
    assert!(matches!(
        Sweep::decode(newer.as_bytes()),
        Err(ContractError::NewerSchema {
            what: "sweep",
            found: 2,
            ..
        })
    ));
}

proptest! {
    #[test]
    fn broken_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Sweep::decode(&bytes).is_err());
    }
}
