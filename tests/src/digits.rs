//! A few handwritten digits and tiny sweeps over them, so that a whole walk takes seconds.

use crate::System;
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// The archive that ships with the demo.
pub fn archive() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../services/cli/demo/digits-8x8.zip"
    ))
}

/// The tiny sweep over the first 64 digits.
pub const TINY: &str = include_str!("../tiny.toml");

/// One unconditional network, trained long enough to be disturbed: no features, no clusters, one
/// sample set.
pub const LONG: &str = include_str!("../long.toml");

/// Imports the digits and submits a sweep file under a name.
///
/// # Errors
/// When either fails.
pub fn submit(system: &System, name: &str, toml: &str) -> Result<serde_json::Value> {
    let file = system.home().join(format!("{name}.toml"));
    fs::write(&file, toml).context("write the sweep file")?;
    system.ask(&[
        "import",
        &archive().display().to_string(),
        "--name",
        "digits",
        "--max-images",
        "64",
        "--shard-size",
        "32",
    ])?;
    system.ask(&["submit", &file.display().to_string(), "--name", name])
}
