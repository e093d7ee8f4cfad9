//! The error type of this crate: weight files and extractors.

use cedm_fault::{Fault, FileError, HasFault};

/// Why weights could not be read, or features not be computed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A file that cannot be read or written, is in none of the supported formats, or is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// A safetensors file that cannot be read or written.
    #[error(transparent)]
    TensorFile(#[from] cedm_tensor_files::TensorFileError),
    /// Weights that belong to another network.
    #[error(
        "the weights do not fit {architecture}: {}{}",
        describe(missing, unexpected, misshapen),
        nearest.as_ref().map_or_else(String::new, |nearest| format!("; nearest is {nearest}"))
    )]
    Mismatch {
        /// The network they should fit.
        architecture: String,
        /// Names that the network needs and the file lacks.
        missing: Vec<String>,
        /// Names in the file that the network does not have.
        unexpected: Vec<String>,
        /// Names with the shapes found and expected.
        misshapen: Vec<String>,
        /// The extractor whose tensors are most like these, in words.
        nearest: Option<String>,
    },
    /// An extractor that does not exist, lacks a file, or cannot take its input.
    #[error("extractor `{name}`: {reason}")]
    Extractor {
        /// Name of the extractor.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// An operation that failed inside libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl HasFault for NetError {
    fn fault(&self) -> Fault {
        match self {
            NetError::File(error) => error.fault(),
            NetError::TensorFile(error) => error.fault(),
            NetError::Mismatch { .. } | NetError::Extractor { .. } => Fault::Input,
            NetError::Torch(_) => Fault::Bug,
        }
    }
}

impl NetError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<std::path::PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::io(action, path);
        move |source| error(source).into()
    }
    pub(crate) fn format(path: impl Into<std::path::PathBuf>, reason: impl Into<String>) -> Self {
        FileError::format(path, reason).into()
    }
    pub(crate) fn extractor(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Extractor {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// The first three of each list, with counts: a file of another network differs in hundreds of
/// names.
fn describe(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let part = |names: &[String], what: &str| match names.len() {
        0 => None,
        count => {
            let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            Some(format!(
                "{count} {what} ({shown}{})",
                if count > 3 { ", …" } else { "" }
            ))
        }
    };
    let parts = [
        part(missing, "missing"),
        part(unexpected, "unexpected"),
        part(misshapen, "of another shape"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
