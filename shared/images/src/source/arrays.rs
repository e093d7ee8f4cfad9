//! numpy arrays: npy, and npz with labels beside the images.

use super::{Labels, Source};
use crate::{
    ImageError, ImportOptions, Picture,
    container::{Container, Member},
};
use npyz::{DType, NpyHeader, Order};
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The order of the axes of an image array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// n, height, width (, channels).
    ChannelsLast,
    /// n, channels, height, width.
    Planes,
}

/// Images of one array, each read from its file when it is needed.
pub(super) struct Arrays {
    path: PathBuf,
    file: File,
    /// First byte of the data.
    offset: u64,
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
    layout: Layout,
    labels: Labels,
}

/// Names under which images and labels are usually stored.
const IMAGE_NAMES: [&str; 7] = [
    "images",
    "x",
    "x_train",
    "data",
    "samples",
    "arr_0",
    "train_images",
];
const LABEL_NAMES: [&str; 7] = [
    "labels",
    "y",
    "y_train",
    "label",
    "targets",
    "arr_1",
    "train_labels",
];

impl Arrays {
    pub(super) fn open_npy(path: &Path) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(ImageError::io("read", path))?;
        Self::over(path, file)
    }

    pub(super) fn open_npz(
        container: &Container,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<Self, ImageError> {
        let array = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| container.find(&format!("{name}.npy")))
        };
        let Some(images) = array(&IMAGE_NAMES) else {
            let found: Vec<&str> = container
                .members
                .iter()
                .map(|member| member.name.as_str())
                .take(5)
                .collect();
            let reason = format!(
                "no array of images: found {}, expected one of {}",
                found.join(", "),
                IMAGE_NAMES.join(", ")
            );
            return Err(ImageError::format(&container.path, reason));
        };
        let mut set = Self::over(
            &container.path,
            unpack(container, images, options, scratch)?,
        )?;
        if !options.ignore_labels
            && let Some(member) = array(&LABEL_NAMES)
        {
            let labels = read_labels(container, member)?;
            if labels.len() != set.count {
                let reason = format!("{} labels for {} images", labels.len(), set.count);
                return Err(ImageError::Labels {
                    what: format!("`{}`", member.name),
                    reason,
                });
            }
            set.labels.fine = Some(labels);
        }
        Ok(set)
    }

    fn over(path: &Path, mut file: File) -> Result<Self, ImageError> {
        use std::io::Seek;
        let fail = |reason: String| ImageError::format(path, reason);
        let header = NpyHeader::from_reader(&mut file)
            .map_err(|error| fail(format!("npy header: {error}")))?;
        let offset = file
            .stream_position()
            .map_err(ImageError::io("read", path))?;
        let shape: Vec<usize> = header.shape().iter().map(|size| *size as usize).collect();
        let dtype = header.dtype().descr();
        // Floats would need a scale that the file does not give.
        if !matches!(dtype.as_str(), "'|u1'" | "|u1") || header.order() != Order::C {
            return Err(fail(format!(
                "array of dtype {dtype}, expected uint8 in C order"
            )));
        }
        // Channels last where both fit: that is how image files are stacked.
        let (count, height, width, channels, layout) = match shape[..] {
            [n, h, w] => (n, h, w, 1, Layout::ChannelsLast),
            [n, h, w, c @ (1 | 3)] => (n, h, w, c, Layout::ChannelsLast),
            [n, c @ (1 | 3), h, w] => (n, h, w, c, Layout::Planes),
            _ => {
                return Err(fail(format!(
                    "array of shape {shape:?}, expected [n, h, w], [n, h, w, 1 or 3] or [n, 1 or \
                     3, h, w]"
                )));
            }
        };
        // The shape is the file's claim; a product that overflows is as wrong as one that is too
        // large.
        let bytes = (count as u64).checked_mul((height * width * channels) as u64);
        let length = file.metadata().map_err(ImageError::io("read", path))?.len();
        if bytes
            .and_then(|bytes| bytes.checked_add(offset))
            .is_none_or(|end| end > length)
        {
            return Err(fail(format!(
                "truncated: {length} bytes do not hold an array of shape {shape:?}"
            )));
        }
        if count == 0 || height * width == 0 {
            return Err(ImageError::NoImages {
                path: path.to_owned(),
                hint: format!(": the array has shape {shape:?}"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            offset,
            count,
            height,
            width,
            channels,
            layout,
            labels: Labels::default(),
        })
    }
}

/// Unpacks a member into an unnamed file: arrays may be larger than memory.
fn unpack(
    container: &Container,
    member: &Member,
    options: &ImportOptions,
    scratch: &Path,
) -> Result<File, ImageError> {
    use std::io::Seek;
    // Directory entries may understate the size: reading stops at a limit of its own.
    let limit = options
        .limits
        .expanded_from(0)
        .max(member.size.min(1 << 40));
    let mut file = tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
    let mut reader = container.stream(member)?.take(limit);
    std::io::copy(&mut reader, &mut file).map_err(|error| {
        ImageError::format(&container.path, format!("`{}`: {error}", member.name))
    })?;
    file.rewind().map_err(ImageError::io("read", scratch))?;
    Ok(file)
}

fn read_labels(container: &Container, member: &Member) -> Result<Vec<i64>, ImageError> {
    let fail = |reason: String| ImageError::Labels {
        what: format!("`{}`", member.name),
        reason,
    };
    let bytes = container.read(member, 1 << 30)?;
    let read = npyz::NpyFile::new(&bytes[..]).map_err(|error| fail(error.to_string()))?;
    let shape = read.shape().to_vec();
    // \[n\] and \[n, 1\] both hold one label for each image.
    if shape.iter().filter(|size| **size > 1).count() > 1 {
        return Err(fail(format!(
            "shape {shape:?}, expected one label for each image"
        )));
    }
    // Structured arrays have named fields; none of them is known to be the label.
    let DType::Plain(kind) = read.dtype() else {
        return Err(fail("a structured array".to_owned()));
    };
    macro_rules! read_as {
        ($($name:literal => $type:ty),*) => {
            match kind.to_string().trim_matches('\'').trim_start_matches(['<', '|']) {
                $($name => read.into_vec::<$type>().map(|all| all.into_iter().map(|label| label as i64).collect()),)*
                other => return Err(fail(format!("dtype {other}, expected integers"))),
            }
        };
    }
    let labels: Vec<i64> = read_as!("i8" => i64, "i4" => i32, "i2" => i16, "i1" => i8, "u1" => u8, "u2" => u16, "u4" => u32)
        .map_err(|error: std::io::Error| fail(error.to_string()))?;
    match labels.iter().find(|label| **label < 0) {
        Some(label) => Err(fail(format!("label {label}, expected integers from 0"))),
        None => Ok(labels),
    }
}

impl Source for Arrays {
    fn len(&self) -> usize {
        self.count
    }
    fn name(&self, index: usize) -> String {
        format!("{index:08}")
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn read(&self, index: usize) -> Result<Picture, ImageError> {
        let mut pixels = vec![0; self.height * self.width * self.channels];
        let offset = self.offset + index as u64 * pixels.len() as u64;
        // Positioned reads: threads share the file without a lock.
        self.file
            .read_exact_at(&mut pixels, offset)
            .map_err(ImageError::io("read", &self.path))?;
        match self.layout {
            Layout::ChannelsLast => Picture::new(self.width, self.height, self.channels, pixels),
            Layout::Planes => Picture::from_planes(self.width, self.height, self.channels, &pixels),
        }
    }
}
