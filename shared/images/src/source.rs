//! Data sets of every format as one thing: a list of images with labels that can be read in any
//! order.

mod arrays;
mod cifar;
mod encoded;
mod idx;
mod labels;

pub(crate) use arrays::is_array_of_images;

use crate::{
    ImageError, ImportOptions, Picture, ReadAs, Skipped, Split,
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
    /// How many of the images that were read so far are the first picture of several in their file.
    fn several(&self) -> u64 {
        0
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
        // WebDataset's users name shards so.
        let braces = path.to_string_lossy().contains("..}");
        let reason = if braces {
            "no such file or folder: braces are not expanded, give the folder of the shards"
        } else {
            "no such file or folder"
        };
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, reason);
        return Err(ImageError::io("read", path)(missing));
    }
    if !path.is_file() && !path.is_dir() {
        let reason = "a named pipe, a socket or a device, expected a file or a folder";
        return Err(ImageError::format(path, reason));
    }
    if path.is_file() && head_of(path)?.starts_with(b"\x93NUMPY") {
        NPY.check(path, "an npy file", options)?;
        let mut set = arrays::Arrays::open_npy(path, options)?;
        set.note(labels_beside(path));
        return Ok(Box::new(set));
    }
    if path.is_file() && idx::recognises(path)? {
        let takes = Takes {
            split: true,
            ..NONE
        };
        takes.check(path, "an idx file", options)?;
        return Ok(Box::new(idx::Idx::open_file(path, options, scratch)?));
    }
    let container = Container::open(path, options, scratch)?;
    let fits = |way: ReadAs| container.way.is_none_or(|chosen| chosen == way);
    // Before arrays and images: its files have names of their own.
    let records = Takes {
        split: true,
        inside: true,
        ..NONE
    };
    if (fits(ReadAs::Cifar) || fits(ReadAs::Shards)) && cifar::recognises(&container) {
        records.check(path, "a CIFAR archive", options)?;
        return Ok(Box::new(cifar::Cifar::open(&container, options)?));
    }
    if (fits(ReadAs::Idx) || fits(ReadAs::Shards))
        && let Some(set) = idx::Idx::open(&container, options, scratch)?
    {
        records.check(path, "a set of idx files", options)?;
        return Ok(Box::new(set));
    }
    let arrays = container
        .members
        .iter()
        .any(|member| member.name.ends_with(".npy"));
    if arrays && (container.way == Some(ReadAs::Arrays) || !encoded::has_images(&container)) {
        let takes = Takes {
            values: true,
            image_field: true,
            label_field: true,
            ..records
        };
        takes.check(path, "a set of numpy arrays", options)?;
        let mut set = arrays::Arrays::open_npz(&container, options, scratch)?;
        if !options.ignore_labels {
            set.note(unused_arrays(&container, set.labels(), options));
        }
        return Ok(Box::new(set));
    }
    let takes = Takes {
        split: container.table.is_some(),
        inside: true,
        image_field: !container.kind.starts_with("LMDB"),
        label_field: true,
        globs: true,
        values: false,
    };
    takes.check(path, &format!("a {}", container.kind), options)?;
    Ok(Box::new(encoded::Encoded::open(container, options)?))
}

/// Which options a kind of source takes.
struct Takes {
    split: bool,
    inside: bool,
    image_field: bool,
    label_field: bool,
    globs: bool,
    values: bool,
}

const NONE: Takes = Takes {
    split: false,
    inside: false,
    image_field: false,
    label_field: false,
    globs: false,
    values: false,
};

const NPY: Takes = Takes {
    // Refused where the array is opened.
    split: true,
    values: true,
    ..NONE
};

impl Takes {
    /// # Errors
    /// When an option is given that this kind of source does not take: it would change nothing.
    fn check(&self, path: &Path, kind: &str, options: &ImportOptions) -> Result<(), ImageError> {
        let given = [
            (
                "include",
                !options.include.is_empty() && !self.globs,
                "image files",
            ),
            (
                "exclude",
                !options.exclude.is_empty() && !self.globs,
                "image files",
            ),
            (
                "image-field",
                options.image_field.is_some() && !self.image_field,
                "WebDataset samples, parquet tables and npz files",
            ),
            (
                "label-field",
                options.label_field.is_some() && !options.ignore_labels && !self.label_field,
                "WebDataset samples, parquet tables, npz files and images with metadata.csv or \
                 metadata.jsonl",
            ),
            (
                "split",
                options.split != Split::default() && !self.split,
                "CIFAR, idx files, npz files and folders of parquet files; --inside takes the \
                 images of one folder",
            ),
            (
                "values",
                options.values.is_some() && !self.values,
                "numpy arrays of floats",
            ),
            (
                "inside",
                options.inside.is_some() && !self.inside,
                "folders and archives",
            ),
        ];
        match given.into_iter().find(|(_, refused, _)| *refused) {
            None => Ok(()),
            Some((option, _, of)) => Err(ImageError::Option {
                option,
                reason: format!("given, but {} is {kind}: it is for {of}", path.display()),
            }),
        }
    }
}

/// Arrays of an npz file that may hold labels of its images, and are not read.
fn unused_arrays(
    container: &Container,
    labels: &Labels,
    options: &ImportOptions,
) -> Option<String> {
    let other_part = |stem: &str| {
        let stem = stem.to_lowercase();
        match options.split {
            Split::Train => stem.contains("test") || stem.contains("val"),
            Split::Test => !stem.contains("test"),
        }
    };
    let names = container.members.iter().map(|member| member.name.as_str());
    let found: Vec<&str> = names
        .filter(|name| labels.from.as_deref() != Some(*name))
        .filter_map(|name| name.strip_suffix(".npy"))
        .filter(|stem| labels::is_label_name(stem) && !other_part(stem))
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "arrays that may hold labels are not used: {}; --label-field names one to be read",
            labels::three(found)
        )
    })
}

/// Files of labels beside an npy file of images, which alone is read.
fn labels_beside(path: &Path) -> Option<String> {
    let own = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(cedm_atomic_file::folder_of(path)).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = names.filter(|name| {
        let stem = name.strip_suffix(".npy");
        name != own && stem.is_some_and(labels::is_label_name)
    });
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| {
        format!(
            "files beside it that may hold labels are not used: {}; a folder or an npz file of \
             `images` and `labels` has both",
            labels::three(found.iter().map(String::as_str).collect())
        )
    })
}
