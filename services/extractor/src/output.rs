//! The array files that commands write: `.safetensors` or `.npy`, by the ending of `--out`.

use anyhow::{Context, Result, ensure};
use npyz::{AutoSerialize, WriteOptions, WriterBuilder};
use std::{
    fs::{self, File},
    io::BufWriter,
    path::Path,
};

/// Checks the ending before anything is computed.
///
/// # Errors
/// For any other ending than `.safetensors` and `.npy`.
pub(crate) fn require_array_name(out: &Path) -> Result<()> {
    let extension = out.extension().and_then(|extension| extension.to_str());
    ensure!(
        matches!(extension, Some("safetensors" | "npy")),
        "--out {}: expected a name that ends in .safetensors or .npy",
        out.display()
    );
    Ok(())
}

/// Writes one array in C order as a .npy file: beside `out` first, so that a file that exists is
/// complete.
///
/// # Errors
/// When the file cannot be written, or `values` does not fill `shape`.
pub(crate) fn write_npy<T: AutoSerialize>(out: &Path, shape: &[u64], values: Vec<T>) -> Result<()> {
    let partial = out.with_extension("partial");
    let written = || -> std::io::Result<()> {
        let file = BufWriter::new(File::create(&partial)?);
        let options = WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(file).begin_nd()?;
        writer.extend(values)?;
        writer.finish()?;
        fs::rename(&partial, out)
    };
    written().with_context(|| format!("write {}", out.display()))
}
