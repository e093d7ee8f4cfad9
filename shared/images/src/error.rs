//! The error type of this crate.

use crate::Limits;
use cedm_fault::{Fault, FileError, HasFault};
use std::path::{Path, PathBuf};

/// Why a data set could not be read, written or made into shards.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file that cannot be read or written, is in none of the supported formats, or is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// A shard that cannot be read or written.
    #[error(transparent)]
    TensorFile(#[from] cedm_tensor_files::TensorFileError),
    /// One image that cannot be used.
    #[error("image `{name}`: {reason}")]
    Image {
        /// Its name in the data set.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A data set without a single usable image.
    #[error("{}: no image found{hint}", path.display())]
    NoImages {
        /// Path of the source.
        path: PathBuf,
        /// What was found instead.
        hint: String,
    },
    /// Labels that do not fit the images.
    #[error("labels of {what}: {reason}")]
    Labels {
        /// File or records that hold the labels.
        what: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// An archive that exceeds one of the limits.
    #[error("{what} exceeds the limit of {limit} {unit}: {advice}")]
    Limit {
        /// What is too large.
        what: String,
        /// Value of the limit.
        limit: u64,
        /// Unit of the limit: "bytes" or "members".
        unit: &'static str,
        /// What to do if the data set really is this large.
        advice: &'static str,
    },
    /// A member name that points outside its archive.
    #[error("{}: member `{name}` points outside the archive", path.display())]
    UnsafeName {
        /// Path of the archive.
        path: PathBuf,
        /// The name as found.
        name: String,
    },
    /// Options that contradict each other or the data.
    #[error("option {option}: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
}

impl HasFault for ImageError {
    fn fault(&self) -> Fault {
        match self {
            ImageError::File(error) => error.fault(),
            ImageError::TensorFile(error) => error.fault(),
            ImageError::Image { .. }
            | ImageError::NoImages { .. }
            | ImageError::Labels { .. }
            | ImageError::Limit { .. }
            | ImageError::UnsafeName { .. }
            | ImageError::Option { .. } => Fault::Input,
        }
    }
}

impl ImageError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let error = FileError::io(action, path);
        move |source| error(source).into()
    }
    pub(crate) fn format(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        FileError::format(path, reason).into()
    }
    pub(crate) fn image(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Image {
            name: name.into(),
            reason: reason.into(),
        }
    }
    /// An archive with more members than the limits allow.
    pub(crate) fn too_many(path: &Path, limits: &Limits) -> Self {
        Self::Limit {
            what: format!("the number of members of {}", path.display()),
            limit: limits.members,
            unit: "members",
            advice: "import it in parts",
        }
    }
    /// A compressed file that expands to more than `limit` bytes.
    pub(crate) fn too_large(path: &Path, limit: u64) -> Self {
        Self::Limit {
            what: format!("the expanded size of {}", path.display()),
            limit,
            unit: "bytes",
            advice: "expand it yourself and import the folder",
        }
    }
    /// The error with the path of the set, where it names a file within alone.
    pub(crate) fn within(self, source: &Path) -> Self {
        match self {
            Self::Labels { what, reason } => Self::Labels {
                what: format!("{what} of {}", source.display()),
                reason,
            },
            Self::Image { name, reason } => Self::format(source, format!("`{name}`: {reason}")),
            other => other,
        }
    }
    /// Whether the source or the options are wrong, so that the same import would fail again.
    pub fn is_lasting(&self) -> bool {
        self.fault() == Fault::Input
    }
    /// Whether the error concerns one image alone, so that an import may skip it.
    pub fn is_about_one_image(&self) -> bool {
        matches!(self, Self::Image { .. })
    }
}
