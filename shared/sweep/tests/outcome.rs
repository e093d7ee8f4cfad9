//! Outcomes keep their JSON: what an earlier build wrote, this one reads.

#![forbid(unsafe_code)]

use cedm_sweep::outcome::{Missing, MissingCell};

/// As it was written before a missing thing named its network.
const OLDER: &str = r#"{"what":"score temi C=10 at 24 kimg, set 0","reason":"not finished","key":null,"pending":true}"#;

#[test]
fn a_missing_thing_without_its_network_still_parses_and_keeps_its_bytes() {
    let missing: Missing = serde_json::from_str(OLDER).unwrap();
    assert_eq!(missing.cell, None);
    assert_eq!(serde_json::to_string(&missing).unwrap(), OLDER);
}

#[test]
fn a_missing_thing_names_its_network() {
    let mut missing: Missing = serde_json::from_str(OLDER).unwrap();
    missing.cell = Some(MissingCell {
        clustering: "temi".to_owned(),
        clusters: Some(10),
        seed: None,
        nimg: Some(24_000),
        score: None,
    });
    let json = serde_json::to_string(&missing).unwrap();
    assert_eq!(serde_json::from_str::<Missing>(&json).unwrap(), missing);
    assert!(json.starts_with(OLDER.trim_end_matches('}')), "{json}");
}
