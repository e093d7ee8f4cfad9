//! The files that commands write: their names, and arrays as `.npy`.

use anyhow::{Context, Result, ensure};
use cedm_atomic_file::AtomicFile;
use npyz::{AutoSerialize, WriteOptions, WriterBuilder};
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

/// Writes one array in C order as a .npy file.
///
/// # Errors
/// When the file cannot be written, or `values` does not fill `shape`.
pub(crate) fn write_npy<T: AutoSerialize>(out: &Path, shape: &[u64], values: Vec<T>) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = AtomicFile::create(out)?;
        let options = WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut file).begin_nd()?;
        writer.extend(values)?;
        writer.finish()?;
        file.commit()
    };
    write().with_context(|| format!("write {}", out.display()))
}
