//! MNIST's idx files, plain or with gzip: `train-images-idx3-ubyte`, with the labels in a file of
//! the same name with `labels-idx1` in it.

use super::{Labels, Source};
use crate::{
    ImageError, ImportOptions, Picture, Split,
    budget::{Budget, Permit},
    container::{Container, GZIP, Member, head_of},
};
use cedm_atomic_file::folder_of;
use cedm_tensor_files::open_file;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Types of an idx file: unsigned bytes in three axes, and in one.
const IMAGES: [u8; 4] = [0, 0, 8, 3];
const LABELS: [u8; 4] = [0, 0, 8, 1];
/// QMNIST's labels: big-endian integers of 32 bits in two axes, of which the first is the class.
const QMNIST: [u8; 4] = [0, 0, 12, 2];
/// Most columns of such labels; there are eight.
const COLUMNS: usize = 64;

/// Images of one file, each read when it is needed.
pub(super) struct Idx {
    path: PathBuf,
    /// The pixels alone, without header and without gzip.
    pixels: File,
    height: usize,
    width: usize,
    count: usize,
    labels: Labels,
    split: Split,
}

/// The bytes of a file or of a member of a container, and their number.
struct Packed<'a> {
    bytes: Box<dyn Read + 'a>,
    length: u64,
}

impl Packed<'static> {
    fn of_file(path: &Path) -> Result<Self, ImageError> {
        let file = open_file(path).map_err(ImageError::io("read", path))?;
        let length = file.metadata().map_err(ImageError::io("read", path))?.len();
        Ok(Self {
            bytes: Box::new(file),
            length,
        })
    }
}

impl<'a> Packed<'a> {
    fn of_member(container: &'a Container, member: &Member) -> Result<Self, ImageError> {
        Ok(Self {
            bytes: container.stream(member)?,
            length: member.size,
        })
    }

    /// The bytes without gzip.
    fn unpacked(self) -> std::io::Result<Box<dyn Read + 'a>> {
        let mut bytes = BufReader::with_capacity(1 << 16, self.bytes);
        Ok(if bytes.fill_buf()?.starts_with(GZIP) {
            Box::new(flate2::bufread::MultiGzDecoder::new(bytes))
        } else {
            Box::new(bytes)
        })
    }
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
    pub(super) fn open_file(
        path: &Path,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<Self, ImageError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let labels = match labels_beside(path)? {
            Some(file) => Some((file.display().to_string(), Packed::of_file(&file)?)),
            None => None,
        };
        let split = if of_test(&name) {
            Split::Test
        } else {
            Split::Train
        };
        if options.split == Split::Test && split == Split::Train {
            return Err(ImageError::Option {
                option: "split",
                reason: format!(
                    "test, but {} is one file, and its name is not that of a test part",
                    path.display()
                ),
            });
        }
        Self::new(path, Packed::of_file(path)?, split, options, scratch)?.labelled(labels, options)
    }

    /// The images of the wanted part in a container; `None` when it holds no idx files.
    pub(super) fn open(
        container: &Container,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<Option<Self>, ImageError> {
        let is_images = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.contains("images") && name.contains("idx3")
        };
        let all = container
            .members
            .iter()
            .filter(|member| is_images(&member.name));
        let all: Vec<&Member> = all.collect();
        if all.is_empty() {
            return Ok(None);
        }
        let wanted = options.split == Split::Test;
        let of_part = all.iter().filter(|member| of_test(&member.name) == wanted);
        let of_part: Vec<&Member> = of_part.copied().collect();
        let Some(images) = of_part.first() else {
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
        if let Some(other) = of_part
            .iter()
            .find(|member| set_of(&member.name) != set_of(&images.name))
        {
            return Err(ImageError::Option {
                option: "inside",
                reason: format!(
                    "none given, but {} holds several sets, `{}` and `{}`: give --inside with the \
                     folder of one, or import one of these files by its path",
                    container.path.display(),
                    images.name,
                    other.name
                ),
            });
        }
        let members = container.members.iter().map(|member| member.name.as_str());
        let labels = labels_of(&images.name, members).and_then(|name| container.find(name));
        let labels = match labels {
            Some(member) => Some((member.name.clone(), Packed::of_member(container, member)?)),
            None => None,
        };
        let path = container.path.join(&images.name);
        let packed = Packed::of_member(container, images)?;
        let set = Self::new(&path, packed, options.split, options, scratch)?;
        set.labelled(labels, options).map(Some)
    }

    /// Writes the pixels to an unnamed file in `scratch`, as many as the header says.
    fn new(
        path: &Path,
        packed: Packed<'_>,
        split: Split,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<Self, ImageError> {
        let limits = &options.limits;
        let fail = |reason: String| ImageError::format(path, format!("idx file: {reason}"));
        let damaged = |error: std::io::Error| fail(error.to_string());
        let most = limits.expanded_from(packed.length);
        let mut bytes = packed.unpacked().map_err(damaged)?;
        let mut head = Vec::new();
        let read = bytes.by_ref().take(16).read_to_end(&mut head);
        read.map_err(damaged)?;
        let [count, height, width] = lengths(&head, IMAGES).map_err(fail)?;
        let area = (height as u64).saturating_mul(width as u64);
        let expected = (count as u64).saturating_mul(area);
        if area > limits.pixels || count as u64 > limits.members {
            return Err(fail(format!(
                "{count} images of {width}x{height} pixels, expected at most {} of {}",
                limits.members, limits.pixels
            )));
        }
        if expected > most {
            return Err(ImageError::too_large(path, most));
        }
        let mut pixels =
            tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
        // One byte more than expected tells a file that is longer.
        let copied = std::io::copy(&mut bytes.take(expected + 1), &mut pixels).map_err(damaged)?;
        if copied != expected || copied == 0 {
            let found = if copied > expected { "more" } else { "fewer" };
            return Err(fail(format!(
                "{found} bytes of pixels than {count} images of {width}x{height} have, {expected}"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            pixels,
            height,
            width,
            count,
            labels: Labels::default(),
            split,
        })
    }

    /// The set with the labels of this file.
    fn labelled(
        mut self,
        labels: Option<(String, Packed<'_>)>,
        options: &ImportOptions,
    ) -> Result<Self, ImageError> {
        if options.ignore_labels {
            return Ok(self);
        }
        let Some((name, packed)) = labels else {
            let note = "no file of labels lies beside the images";
            self.labels.notes.push(note.to_owned());
            return Ok(self);
        };
        let fail = |reason: String| ImageError::Labels {
            what: format!("`{name}`"),
            reason,
        };
        let mut bytes = Vec::new();
        let most = (self.count as u64 + 1) * 4 * COLUMNS as u64;
        let read = packed
            .unpacked()
            .and_then(|packed| packed.take(most).read_to_end(&mut bytes));
        read.map_err(|error| fail(error.to_string()))?;
        if bytes.starts_with(&QMNIST) {
            let [labels, columns] = lengths(&bytes, QMNIST).map_err(fail)?;
            let row = 4 * columns;
            let fits = (1..=COLUMNS).contains(&columns) && bytes.len() == 12 + self.count * row;
            if labels != self.count || !fits {
                return Err(fail(format!(
                    "{labels} rows of {columns} labels for {} images",
                    self.count
                )));
            }
            let rows = bytes[12..].chunks_exact(row);
            let class = |row: &[u8]| {
                let class = row[..4].iter().fold(0, |sum, b| sum << 8 | i64::from(*b));
                i64::from(class as i32)
            };
            self.labels.fine = Some(rows.map(class).collect());
            self.labels.from = Some(name);
            return Ok(self);
        }
        let [labels] = lengths(&bytes, LABELS).map_err(fail)?;
        if labels != self.count || bytes.len() != 8 + self.count {
            return Err(fail(format!("{labels} labels for {} images", self.count)));
        }
        self.labels.fine = Some(bytes[8..].iter().map(|label| i64::from(*label)).collect());
        self.labels.from = Some(name);
        Ok(self)
    }
}

/// A name as it is compared: people pack these files, expand them, and write `.idx3` for `-idx3`.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let lower = lower.strip_suffix(".gz").unwrap_or(&lower);
    lower.replace(".idx", "-idx")
}

fn base_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether a file is of the test part.
fn of_test(name: &str) -> bool {
    let base = base_of(name).to_lowercase();
    base.contains("t10k") || base.contains("test")
}

/// The set that a file of images belongs to: its folder, without one of the file's own name, and
/// its name.
fn set_of(name: &str) -> (String, String) {
    let name = plain(name);
    let (folder, base) = name.rsplit_once('/').unwrap_or(("", &name));
    let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
    let folder = if last == base { above } else { folder };
    (folder.to_owned(), base.to_owned())
}

/// Of these names that of the labels of a file of images: beside it, in a folder of its own beside
/// the folder of the images, or one that alone has the right name in the whole source.
fn labels_of<'a>(images: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let of_labels = |name: &str| {
        let name = name.replace("images", "labels");
        [
            name.replace("idx3", "idx1"),
            name.replace("idx3-ubyte", "idx2-int"),
        ]
    };
    let images = plain(images);
    let (folder, base) = images.rsplit_once('/').unwrap_or(("", &images));
    let bases = of_labels(base);
    // A file of images under a name of its own has no file of labels.
    if bases.iter().any(|name| name == base) {
        return None;
    }
    let names = names.filter(|name| bases.contains(&plain(base_of(name))));
    let names: Vec<&str> = names.collect();
    let beside = |name: &&&str| {
        let name = plain(name);
        name.rsplit_once('/').map_or("", |(folder, _)| folder) == folder
    };
    let whole = of_labels(&images);
    let (set, _) = set_of(&images);
    let of_set = |name: &&&str| set_of(name).0 == set;
    names
        .iter()
        .find(beside)
        .or_else(|| names.iter().find(|name| whole.contains(&plain(name))))
        .or_else(|| names.iter().find(of_set))
        .or_else(|| names.first().filter(|_| names.len() == 1))
        .copied()
}

/// The labels of a file of images in its folder, or in a folder beside that.
fn labels_beside(path: &Path) -> Result<Option<PathBuf>, ImageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = folder_of(path);
    let list = |folder: &Path| -> Result<Vec<String>, ImageError> {
        let entries = std::fs::read_dir(folder).map_err(ImageError::io("list", folder))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    };
    let here = list(folder)?;
    let here = here.iter().map(String::as_str);
    let here = here.filter(|name| folder.join(name).is_file());
    if let Some(found) = labels_of(&name, here) {
        return Ok(Some(folder.join(found)));
    }
    // `train-images-idx3-ubyte/train-images-idx3-ubyte`, as some archives expand.
    let own = folder.file_name().unwrap_or_default().to_string_lossy();
    if plain(&own) != plain(&name) {
        return Ok(None);
    }
    let above = folder_of(folder);
    let mut beside = Vec::new();
    for entry in list(above)? {
        let inside = format!("{entry}/{entry}");
        beside.extend([entry, inside]);
    }
    let beside = beside.iter().map(String::as_str);
    let beside = beside.filter(|name| above.join(name).is_file());
    Ok(labels_of(&name, beside).map(|found| above.join(found)))
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
        let mut pixels = vec![0; area];
        // Positioned reads: threads share the file without a lock.
        self.pixels
            .read_exact_at(&mut pixels, index as u64 * area as u64)
            .map_err(ImageError::io("read", &self.path))?;
        Ok((Picture::new(self.width, self.height, 1, pixels)?, permit))
    }
}
