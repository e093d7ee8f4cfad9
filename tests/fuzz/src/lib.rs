//! Fuzzing of every reader of strangers' bytes: archives, arrays, images, label files, pickles and
//! weight files.
//!
//! Inputs are made from sound files by seeded mutation, so that a finding is made again by its
//! seed. The toolchain of the project is stable Rust, which has no coverage instrumentation for
//! fuzzers behind a stable flag; the mutations know of lengths and counts instead, which is what
//! parsers trust too much. [`Target`] lists the readers, [`Mutator`] makes inputs, the program runs
//! them in child processes with limits of memory and time.

#![forbid(unsafe_code)]

mod mutator;
mod target;

pub use mutator::Mutator;
pub use target::Target;

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// Sound files up to this size are seeds: longer ones are slow, and parsers read their heads.
const LARGEST_SEED: u64 = 128 << 10;

/// Every file below a folder that may be a seed of `target`, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn seeds(folder: &Path, target: Target) -> Result<Vec<Vec<u8>>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.metadata()?.len() <= LARGEST_SEED {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    let mut seeds = target.own_seeds();
    for file in files.iter().filter(|file| target.takes(file)) {
        seeds.push(fs::read(file).with_context(|| format!("read {}", file.display()))?);
    }
    Ok(seeds)
}
