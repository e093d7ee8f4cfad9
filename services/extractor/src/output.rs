//! The names of the files that commands write.

use anyhow::{Result, ensure};
use std::path::Path;

/// Endings of the array files that commands write.
pub(crate) const ARRAYS: &[&str] = &["safetensors", "npy"];

/// Checks the ending of `--out` before anything is computed.
///
/// # Errors
/// For any other ending than these.
pub(crate) fn require_ending(out: &Path, endings: &[&str]) -> Result<()> {
    let extension = out.extension().and_then(|extension| extension.to_str());
    ensure!(
        extension.is_some_and(|extension| endings.contains(&extension)),
        "--out {}: expected a name that ends in .{}",
        out.display(),
        endings.join(" or .")
    );
    Ok(())
}
