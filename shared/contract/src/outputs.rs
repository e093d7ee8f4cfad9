//! Names of what a job writes: output files, and the tensors inside them.

use std::fmt;

/// Whether an output has the same bytes in every run of the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stability {
    /// The same bytes in every run; part of the manifest's digest.
    Stable,
    /// Different from run to run (timings, rates); not part of the digest.
    Volatile,
}

/// The name of an output file, unique within a manifest, and whether its bytes are reproducible.
///
/// The names of a kind are constants in its file below [`crate::kinds`]; everything that stores,
/// looks up or fetches an output takes one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutputName {
    name: &'static str,
    stability: Stability,
}

impl OutputName {
    /// An output with the same bytes in every run.
    pub const fn stable(name: &'static str) -> Self {
        Self {
            name,
            stability: Stability::Stable,
        }
    }

    /// An output that may differ from run to run.
    pub const fn volatile(name: &'static str) -> Self {
        Self {
            name,
            stability: Stability::Volatile,
        }
    }

    /// The name as it stands in the manifest: `features.safetensors`.
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// Whether its bytes may differ from run to run.
    pub fn is_volatile(self) -> bool {
        self.stability == Stability::Volatile
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// So that a file can carry the output's name: `folder.join(ASSIGNMENTS)`.
impl AsRef<std::path::Path> for OutputName {
    fn as_ref(&self) -> &std::path::Path {
        self.name.as_ref()
    }
}

/// A tensor of a safetensors output: its name, and its dtype and shape in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorName {
    /// The name in the file.
    pub name: &'static str,
    /// Dtype and shape, `i64 [n]`, for people.
    pub layout: &'static str,
}

impl TensorName {
    /// A tensor with this name; `layout` says its dtype and shape.
    pub const fn new(name: &'static str, layout: &'static str) -> Self {
        Self { name, layout }
    }
}

impl fmt::Display for TensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// So that a list of named tensors can be written as it is.
impl AsRef<str> for TensorName {
    fn as_ref(&self) -> &str {
        self.name
    }
}
