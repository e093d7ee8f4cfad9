//! Data sets of every format as one thing: a list of images with labels that can be read in any
//! order.

mod arrays;
mod cifar;
mod encoded;
mod idx;
mod labels;

use crate::{
    ImageError, ImportOptions, Picture, Skipped,
    budget::{Budget, Permit},
    container::{Container, head_of},
};
use cedm_contract::TensorName;
use std::{collections::BTreeSet, ops::Range, path::Path};

/// File in the folder of an import with [`VECTORS_TENSOR`]: the labels of a set whose labels are
/// vectors, in the order of its images.
pub(crate) const VECTORS: &str = "vectors.safetensors";

/// The tensor in `VECTORS`.
pub const VECTORS_TENSOR: TensorName = TensorName::new("vectors", "f32 [n, d]");

/// Labels of a data set, aligned with its images.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Labels {
    pub fine: Option<Vec<i64>>,
    pub coarse: Option<Vec<i64>>,
    pub class_names: Vec<String>,
    /// Vectors of one width in place of classes.
    pub vectors: Option<Vec<Vec<f32>>>,
    /// Where they came from, in words.
    pub from: Option<String>,
    /// What a user should know about them.
    pub notes: Vec<String>,
    /// Names of the files that were read.
    pub read: BTreeSet<String>,
    /// Fields of samples that were read.
    pub fields: BTreeSet<String>,
}

/// An opened data set.
pub(crate) trait Source: Sync {
    /// Number of images in the source.
    fn len(&self) -> usize;
    /// Name of one image.
    fn name(&self, index: usize) -> String;
    /// Labels of all images.
    fn labels(&self) -> &Labels;
    /// What it is, in words: "zip archive of images".
    fn kind(&self) -> String;
    /// What looks like a file of the set and is no part of it, with the reason.
    fn left_out(&self) -> &[Skipped] {
        &[]
    }
    /// Looks at images that are to be read next, without decoding them.
    ///
    /// # Errors
    /// When they go beyond the limits of the whole set.
    fn look_ahead(&self, _range: Range<usize>) -> Result<(), ImageError> {
        Ok(())
    }
    /// Reads and decodes one image, whose memory is counted against the budget until the permit is
    /// dropped.
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Permit<'b>), ImageError>;
}

/// Opens the data set at `path`; its content decides the format.
pub(crate) fn open(
    path: &Path,
    options: &ImportOptions,
    scratch: &Path,
) -> Result<Box<dyn Source>, ImageError> {
    if !path.exists() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file or folder");
        return Err(ImageError::io("read", path)(missing));
    }
    if !path.is_file() && !path.is_dir() {
        let reason = "a named pipe, a socket or a device, expected a file or a folder";
        return Err(ImageError::format(path, reason));
    }
    if path.is_file() && head_of(path)?.starts_with(b"\x93NUMPY") {
        return Ok(Box::new(arrays::Arrays::open_npy(path, options)?));
    }
    if path.is_file() && idx::recognises(path)? {
        return Ok(Box::new(idx::Idx::open_file(path, options, scratch)?));
    }
    let container = Container::open(path, options, scratch)?;
    // Before arrays and images: its files have names of their own.
    if cifar::recognises(&container) {
        return Ok(Box::new(cifar::Cifar::open(&container, options)?));
    }
    if let Some(set) = idx::Idx::open(&container, options, scratch)? {
        return Ok(Box::new(set));
    }
    if container
        .members
        .iter()
        .any(|member| member.name.ends_with(".npy"))
        && !encoded::has_images(&container)
    {
        return Ok(Box::new(arrays::Arrays::open_npz(
            &container, options, scratch,
        )?));
    }
    Ok(Box::new(encoded::Encoded::open(container, options)?))
}
