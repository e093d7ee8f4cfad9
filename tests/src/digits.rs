//! Handwritten digits and tiny sweeps over them, so that a whole sweep takes seconds.

use crate::{System, events::Watch};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

/// The archive of digits that is part of the demo.
pub fn archive() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../services/cli/demo/digits-8x8.zip"
    ))
}

/// A sweep over the first 64 digits that needs every kind of job.
pub const TINY: &str = include_str!("../tiny.toml");

/// A sweep of seconds: one small k-means clustering, one network, one set of samples.
pub const SMALL: &str = include_str!("../small.toml");

/// A sweep with one unconditional network that trains long enough to be interrupted: no features,
/// no clusters, one sample set.
pub const LONG: &str = include_str!("../long.toml");

/// Imports the first 64 digits, in two shards, under the name `digits`.
///
/// # Errors
/// When the import fails.
pub fn import(system: &System) -> Result<()> {
    let archive = archive().display().to_string();
    let size = ["--max-images", "64", "--shard-size", "32"];
    let arguments = [&["import", &archive, "--name", "digits"], &size[..]].concat();
    system.run_json(&arguments).map(drop)
}

/// Imports the digits and submits a sweep file under a name.
///
/// # Errors
/// When the import or the submission fails.
pub fn submit(system: &System, name: &str, toml: &str) -> Result<serde_json::Value> {
    let file = system.home().join(format!("{name}.toml"));
    fs::write(&file, toml).context("write the sweep file")?;
    import(system)?;
    system.run_json(&["submit", &file.display().to_string(), "--name", name])
}

/// The digests of a sweep that nothing disturbs, in a system of its own.
///
/// # Errors
/// When it does not complete within `timeout`.
pub fn undisturbed(name: &str, toml: &str, timeout: Duration) -> Result<BTreeMap<String, String>> {
    let system = System::start()?;
    submit(&system, name, toml)?;
    ensure!(
        Watch::on(&system, name)?.end(timeout)?,
        "the undisturbed run did not complete"
    );
    system.digests(name)
}

/// A sweep whose clustering is dead: it names ids for three images, of a set of 64.
///
/// # Errors
/// When the file of ids cannot be written.
pub fn wrong(system: &System) -> Result<String> {
    let ids = system.home().join("ids.npy");
    fs::write(&ids, npy(&[0, 1, 0])).context("write the ids")?;
    let imported = format!(
        "method = \"imported\"\nfile = \"{}\"\nclusters = 2",
        ids.display()
    );
    Ok(LONG
        .replace("name = \"long\"", "name = \"wrong\"")
        .replace("method = \"none\"", &imported)
        .replace("budget_kimg = 12.8", "budget_kimg = 0.256"))
}

/// A one-dimensional int64 array as numpy writes it.
fn npy(values: &[i64]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}",
        values.len()
    );
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(
        u16::try_from(header.len())
            .expect("invariant: a short header")
            .to_le_bytes(),
    );
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}
