//! numpy arrays: npy, and npz with labels beside the images.

mod layout;

use super::{Labels, Source, labels::three};
use crate::{
    ImageError, ImportOptions, Picture, Split, Values,
    budget::{Budget, Permit},
    container::{Container, Member},
};
use cedm_tensor_files::{NpyHeader, NpyType, open_file};
use layout::{Axes, Layout, axes};
use std::{
    fs::File,
    io::{BufReader, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Images of one array, each read from its file when it is needed.
pub(super) struct Arrays {
    path: PathBuf,
    file: File,
    /// First byte of the data.
    offset: u64,
    axes: Axes,
    dtype: NpyType,
    /// Range of the numbers, where they are floats.
    values: Option<Values>,
    labels: Labels,
}

/// Names under which images and labels of each part are usually stored.
fn names(split: Split) -> (&'static [&'static str], &'static [&'static str]) {
    match split {
        Split::Train => (
            &[
                "images",
                "x",
                "x_train",
                "train_x",
                "data",
                "samples",
                "arr_0",
                "train_images",
            ],
            &[
                "labels",
                "y",
                "y_train",
                "train_y",
                "label",
                "targets",
                "arr_1",
                "train_labels",
            ],
        ),
        Split::Test => (
            &["x_test", "test_x", "test_images", "images_test"],
            &["y_test", "test_y", "test_labels", "labels_test"],
        ),
    }
}

/// Whether an array of this name holds the images of a part.
pub(crate) fn is_array_of_images(name: &str) -> bool {
    [Split::Train, Split::Test]
        .iter()
        .any(|split| names(*split).0.contains(&name))
}

impl Arrays {
    pub(super) fn open_npy(path: &Path, options: &ImportOptions) -> Result<Self, ImageError> {
        let file = open_file(path).map_err(ImageError::io("read", path))?;
        if options.split == Split::Test {
            return Err(ImageError::Option {
                option: "split",
                reason: "test, but an npy file has no parts".to_owned(),
            });
        }
        Self::over(path, file, options)
    }

    pub(super) fn open_npz(
        container: &Container,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<Self, ImageError> {
        let (image_names, label_names) = names(options.split);
        let all = |names: &[&str]| -> Vec<&Member> {
            let members = names
                .iter()
                .map(|name| container.find(&format!("{name}.npy")));
            members.flatten().collect()
        };
        let images = match &options.image_field {
            Some(wanted) => Some(chosen(container, "image-field", wanted)?),
            None => only_one(container, all(image_names))?,
        };
        let Some(images) = images else {
            let found: Vec<&str> = container
                .members
                .iter()
                .map(|member| member.name.as_str())
                .take(5)
                .collect();
            let reason = format!(
                "no array of images: found {}, expected one of {}, or --image-field with a name",
                found.join(", "),
                image_names.join(", ")
            );
            return Err(ImageError::format(&container.path, reason));
        };
        // The header first: a shape that cannot be read needs no unpacking.
        let mut start = BufReader::new(container.stream(images)?);
        let named = |reason: String| {
            ImageError::format(&container.path, format!("`{}`: {reason}", images.name))
        };
        NpyHeader::read(&mut start, images.size).map_err(named)?;
        drop(start);
        let mut set = Self::over(
            &container.path,
            unpack(container, images, options, scratch)?,
            options,
        )?;
        let labels = match &options.label_field {
            _ if options.ignore_labels => None,
            Some(wanted) => Some(chosen(container, "label-field", wanted)?),
            None => all(label_names).first().copied(),
        };
        if let Some(member) = labels {
            let labels = read_labels(container, member, set.axes.count, options)?;
            set.labels.from = Some(member.name.clone());
            set.labels.fine = Some(labels);
        }
        Ok(set)
    }

    /// Adds what a user should know of the labels.
    pub(super) fn note(&mut self, note: Option<String>) {
        self.labels.notes.extend(note);
    }

    fn over(path: &Path, mut file: File, options: &ImportOptions) -> Result<Self, ImageError> {
        let fail = |reason: String| ImageError::format(path, reason);
        let length = file.metadata().map_err(ImageError::io("read", path))?.len();
        let header = NpyHeader::read(&mut file, length).map_err(fail)?;
        let (dtype, shape) = (header.dtype, &header.shape);
        let values = values_of(dtype, options).map_err(fail)?;
        if header.fortran_order && shape.len() > 1 {
            return Err(fail(
                "array in Fortran order, expected C order: save np.ascontiguousarray(images)"
                    .to_owned(),
            ));
        }
        let axes = axes(shape, options.layout).map_err(fail)?;
        if header.count == 0 {
            return Err(ImageError::NoImages {
                path: path.to_owned(),
                hint: format!(": the array has shape {shape:?}"),
            });
        }
        if axes.count as u64 > options.limits.members {
            return Err(fail(format!(
                "{} images, more than the allowed {}: import the array in parts",
                axes.count, options.limits.members
            )));
        }
        let pixels = (axes.height as u64).saturating_mul(axes.width as u64);
        if pixels > options.limits.pixels {
            return Err(fail(format!(
                "images of {}x{} pixels, more than the allowed {}",
                axes.width, axes.height, options.limits.pixels
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            offset: header.offset,
            axes,
            dtype,
            values,
            labels: Labels::default(),
        })
    }
}

/// The array that the options name.
///
/// # Errors
/// When there is none of that name.
fn chosen<'c>(
    container: &'c Container,
    option: &'static str,
    wanted: &str,
) -> Result<&'c Member, ImageError> {
    let stem = wanted.strip_suffix(".npy").unwrap_or(wanted);
    container.find(&format!("{stem}.npy")).ok_or_else(|| {
        let names = container.members.iter().map(|member| member.name.as_str());
        let names = names.filter_map(|name| name.strip_suffix(".npy"));
        ImageError::Option {
            option,
            reason: format!("`{wanted}`, but the arrays are {}", three(names.collect())),
        }
    })
}

/// Of arrays with names of images the one whose shape is that of images, or the first where none
/// is.
///
/// # Errors
/// When several are: the wrong one would be as good a set.
fn only_one<'c>(
    container: &'c Container,
    named: Vec<&'c Member>,
) -> Result<Option<&'c Member>, ImageError> {
    let [first, _, ..] = named[..] else {
        return Ok(named.first().copied());
    };
    let mut fitting = Vec::new();
    for member in &named {
        let mut start = BufReader::new(container.stream(member)?);
        let header = NpyHeader::read(&mut start, member.size);
        if header.is_ok_and(|header| header.shape.len() > 2) {
            fitting.push(*member);
        }
    }
    match fitting[..] {
        [] => Ok(Some(first)),
        [one] => Ok(Some(one)),
        _ => {
            let names = fitting.iter().map(|member| member.name.as_str());
            Err(ImageError::Option {
                option: "image-field",
                reason: format!(
                    "none given, but {} holds {} arrays of images, {}: give --image-field with the \
                     name of one",
                    container.path.display(),
                    fitting.len(),
                    three(names.filter_map(|name| name.strip_suffix(".npy")).collect())
                ),
            })
        }
    }
}

/// How the numbers of a type are to be read as pixels: bytes as they are, floats by the range that
/// the options give. A scale is never guessed.
fn values_of(dtype: NpyType, options: &ImportOptions) -> Result<Option<Values>, String> {
    match (dtype.kind, dtype.size, options.values) {
        ('u', 1, None) => Ok(None),
        ('u', 1, Some(_)) => {
            Err("array of uint8, which has one range: leave `values` out".to_owned())
        }
        ('f', 2 | 4 | 8, Some(values)) => Ok(Some(values)),
        ('f', ..) => Err(format!(
            "array of {dtype}, whose range the file does not say: give `values`, `unit` for [0, 1] \
             or `signed` for [-1, 1]"
        )),
        _ => Err(format!("array of {dtype}, expected uint8 or floats")),
    }
}

/// Unpacks a member into an unnamed file: arrays may be larger than memory.
fn unpack(
    container: &Container,
    member: &Member,
    options: &ImportOptions,
    scratch: &Path,
) -> Result<File, ImageError> {
    let packed = match std::fs::metadata(&container.path) {
        Ok(data) if data.is_file() => data.len(),
        _ => member.size,
    };
    let limit = options.limits.expanded_from(packed);
    if member.size > limit {
        return Err(ImageError::Limit {
            what: format!(
                "the size of `{}` in {}",
                member.name,
                container.path.display()
            ),
            limit,
            unit: "bytes",
            advice: "expand it yourself and import the npy file",
        });
    }
    let mut file = tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
    // The reader stops at the size that the directory states, which was checked above.
    let mut reader = container.stream(member)?;
    std::io::copy(&mut reader, &mut file).map_err(|error| {
        ImageError::format(&container.path, format!("`{}`: {error}", member.name))
    })?;
    file.rewind().map_err(ImageError::io("read", scratch))?;
    Ok(file)
}

fn read_labels(
    container: &Container,
    member: &Member,
    images: usize,
    options: &ImportOptions,
) -> Result<Vec<i64>, ImageError> {
    let fail = |reason: String| ImageError::Labels {
        what: format!("`{}`", member.name),
        reason,
    };
    // The header first: numbers of another count need no memory.
    let mut start = BufReader::new(container.stream(member)?);
    let header = NpyHeader::read(&mut start, member.size).map_err(fail)?;
    drop(start);
    if header.count != images {
        return Err(fail(format!("{} labels for {images} images", header.count)));
    }
    let bytes = container.read(member, options.limits.label_bytes)?;
    let header = NpyHeader::read(&mut &bytes[..], bytes.len() as u64).map_err(fail)?;
    // \[n\] and \[n, 1\] both hold one label for each image.
    if header.shape.iter().filter(|size| **size > 1).count() > 1 {
        return Err(fail(format!(
            "shape {:?}, expected one label for each image",
            header.shape
        )));
    }
    let labels = header.integers(&bytes).map_err(fail)?;
    match labels.iter().find(|label| **label < 0) {
        Some(label) => Err(fail(format!("label {label}, expected integers from 0"))),
        None => Ok(labels),
    }
}

/// A float as a byte, as EDM's tools round it: [−1, 1] by x · 127.5 + 128, [0, 1] by 255 x + 0.5,
/// both cut to whole numbers.
///
/// # Errors
/// For numbers clearly outside the range: the range would be the wrong one.
fn byte(value: f64, values: Values) -> Result<u8, String> {
    let (scaled, low) = match values {
        Values::Unit => (value * 255.0 + 0.5, 0.0),
        Values::Signed => (value * 127.5 + 128.0, -1.0),
    };
    // Samplers overshoot a little.
    let slack = 0.1;
    if !(low - slack..=1.0 + slack).contains(&value) {
        return Err(format!("the number {value}, expected {low} to 1"));
    }
    Ok(scaled.clamp(0.0, 255.0) as u8)
}

impl Source for Arrays {
    fn len(&self) -> usize {
        self.axes.count
    }
    fn name(&self, index: usize) -> String {
        format!("{index:08}")
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn kind(&self) -> String {
        "numpy array".to_owned()
    }
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Permit<'b>), ImageError> {
        let Axes {
            height,
            width,
            channels,
            layout,
            ..
        } = self.axes;
        let numbers = height * width * channels;
        let mut bytes = vec![0; numbers * self.dtype.size];
        let permit = budget.acquire(2 * bytes.len() as u64);
        let offset = self.offset + index as u64 * bytes.len() as u64;
        // Positioned reads: threads share the file without a lock.
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(ImageError::io("read", &self.path))?;
        let pixels = match self.values {
            None => bytes,
            Some(values) => bytes
                .chunks_exact(self.dtype.size)
                .map(|number| byte(self.dtype.float(number), values))
                .collect::<Result<Vec<u8>, String>>()
                .map_err(|reason| ImageError::image(self.name(index), reason))?,
        };
        let picture = match layout {
            Layout::ChannelsLast => Picture::new(width, height, channels, pixels),
            Layout::Planes => Picture::from_planes(width, height, channels, &pixels),
        };
        Ok((picture?, permit))
    }
}
