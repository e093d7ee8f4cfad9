//! MNIST's idx files, plain or with gzip: `train-images-idx3-ubyte`, with the labels in a file of
//! the same name with `labels-idx1` in it.

use super::{Labels, Source};
use crate::{
    ImageError, ImportOptions, Picture, Split,
    budget::{Budget, Permit},
    container::{Container, GZIP, head_of},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Types of an idx file: unsigned bytes in three axes, and in one.
const IMAGES: [u8; 4] = [0, 0, 8, 3];
const LABELS: [u8; 4] = [0, 0, 8, 1];
/// Largest file; the largest of its kind, EMNIST's, takes 0.6 GB.
const LIMIT: u64 = 1 << 30;

/// Images of one file, in memory.
pub(super) struct Idx {
    bytes: Vec<u8>,
    height: usize,
    width: usize,
    count: usize,
    labels: Labels,
    split: Split,
}

/// Whether a file is one of images.
pub(super) fn recognises(path: &Path) -> Result<bool, ImageError> {
    Ok(unpacked(&head_of(path)?, 4).starts_with(&IMAGES))
}

/// Up to `limit` bytes, without gzip; less where the bytes end early.
fn unpacked(bytes: &[u8], limit: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let _ends_early = if bytes.starts_with(GZIP) {
        flate2::read::MultiGzDecoder::new(bytes)
            .take(limit)
            .read_to_end(&mut out)
    } else {
        bytes.take(limit).read_to_end(&mut out)
    };
    out
}

impl Idx {
    /// The images in a file of their own; labels are read from the file beside it.
    pub(super) fn open_file(path: &Path, options: &ImportOptions) -> Result<Self, ImageError> {
        let read = |path: &Path| {
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(ImageError::io("read", path))?;
            let read = file.take(LIMIT).read_to_end(&mut bytes);
            read.map_err(ImageError::io("read", path))?;
            Ok::<_, ImageError>(bytes)
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = labels_of(&name)
            .into_iter()
            .map(|name| path.with_file_name(name));
        let beside: Option<PathBuf> = beside.into_iter().find(|path| path.is_file());
        let labels = match &beside {
            Some(file) => Some((file.display().to_string(), read(file)?)),
            None => None,
        };
        let split = if name.starts_with("t10k") || name.contains("test") {
            Split::Test
        } else {
            Split::Train
        };
        Self::new(path, &read(path)?, labels, split, options)
    }

    /// The images of the wanted part in a container; `None` when it holds no idx files.
    pub(super) fn open(
        container: &Container,
        options: &ImportOptions,
    ) -> Result<Option<Self>, ImageError> {
        let is_images = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.contains("images") && name.contains("idx3")
        };
        let mut all = container
            .members
            .iter()
            .filter(|member| is_images(&member.name))
            .peekable();
        if all.peek().is_none() {
            return Ok(None);
        }
        let of_test = |name: &str| name.contains("t10k") || name.contains("test");
        let wanted = options.split == Split::Test;
        let Some(images) = all.find(|member| of_test(&member.name) == wanted) else {
            let expected = if wanted {
                "t10k-images-idx3-ubyte"
            } else {
                "train-images-idx3-ubyte"
            };
            return Err(ImageError::format(
                &container.path,
                format!("`{expected}` is missing"),
            ));
        };
        let labels = labels_of(&images.name);
        let labels = labels.iter().find_map(|name| container.find(name));
        let labels = match labels {
            Some(member) => Some((member.name.clone(), container.read(member, LIMIT)?)),
            None => None,
        };
        let bytes = container.read(images, LIMIT)?;
        let path = container.path.join(&images.name);
        Self::new(&path, &bytes, labels, options.split, options).map(Some)
    }

    fn new(
        path: &Path,
        bytes: &[u8],
        labels: Option<(String, Vec<u8>)>,
        split: Split,
        options: &ImportOptions,
    ) -> Result<Self, ImageError> {
        let fail = |reason: String| ImageError::format(path, format!("idx file: {reason}"));
        let limit = options.limits.expanded_from(bytes.len() as u64);
        let mut bytes = unpacked(bytes, limit);
        let [count, height, width] = lengths(&bytes, IMAGES).map_err(fail)?;
        bytes.drain(..16);
        let expected = count
            .checked_mul(height)
            .and_then(|area| area.checked_mul(width));
        if expected != Some(bytes.len()) || bytes.is_empty() {
            return Err(fail(format!(
                "{} bytes of pixels for {count} images of {width}x{height}",
                bytes.len()
            )));
        }
        let mut found = Labels::default();
        match labels.filter(|_| !options.ignore_labels) {
            None if !options.ignore_labels => {
                found
                    .notes
                    .push("no file of labels lies beside the images".to_owned());
            }
            None => {}
            Some((name, bytes)) => {
                let fail = |reason: String| ImageError::Labels {
                    what: format!("`{name}`"),
                    reason,
                };
                let bytes = unpacked(&bytes, limit);
                let [labels] = lengths(&bytes, LABELS).map_err(fail)?;
                if labels != count || bytes.len() != 8 + count {
                    return Err(fail(format!("{labels} labels for {count} images")));
                }
                found.fine = Some(bytes[8..].iter().map(|label| i64::from(*label)).collect());
                found.from = Some(name);
            }
        }
        Ok(Self {
            bytes,
            height,
            width,
            count,
            labels: found,
            split,
        })
    }
}

/// The names that the labels of a file of images may have.
fn labels_of(images: &str) -> Vec<String> {
    let (folder, base) = images
        .rsplit_once('/')
        .map_or(("", images), |(folder, base)| (folder, base));
    let base = base.replace("images", "labels").replace("idx3", "idx1");
    let folder = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let other = match base.strip_suffix(".gz") {
        Some(plain) => plain.to_owned(),
        None => format!("{base}.gz"),
    };
    let mut names = vec![format!("{folder}{base}"), format!("{folder}{other}")];
    // A file of images under a name of its own has no file of labels beside it.
    names.retain(|name| name != images);
    names
}

/// The lengths of the axes after the type: big-endian numbers of 32 bits.
fn lengths<const N: usize>(bytes: &[u8], kind: [u8; 4]) -> Result<[usize; N], String> {
    let head = bytes.get(..4 + 4 * N);
    let head = head.ok_or_else(|| format!("{} bytes, expected a header", bytes.len()))?;
    if !head.starts_with(&kind) {
        return Err(format!("type {:?}, expected {kind:?}", &head[..4]));
    }
    let mut lengths = [0; N];
    for (length, bytes) in lengths.iter_mut().zip(head[4..].chunks_exact(4)) {
        *length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    }
    Ok(lengths)
}

impl Source for Idx {
    fn len(&self) -> usize {
        self.count
    }
    fn name(&self, index: usize) -> String {
        format!("{}/{index:05}", self.split.name())
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn kind(&self) -> String {
        "MNIST idx file".to_owned()
    }
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Permit<'b>), ImageError> {
        let area = self.height * self.width;
        let permit = budget.acquire(area as u64);
        let pixels = self.bytes[index * area..(index + 1) * area].to_vec();
        Ok((Picture::new(self.width, self.height, 1, pixels)?, permit))
    }
}
