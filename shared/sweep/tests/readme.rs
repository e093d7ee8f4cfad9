//! The sweep file that the README shows is one that the parser takes.

#![forbid(unsafe_code)]

use cedm_sweep::SweepSpec;

#[test]
fn the_readmes_sweep_file_parses() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let spec = SweepSpec::parse(file).unwrap();
    assert_eq!(spec.clusterings.len(), 2);
}
