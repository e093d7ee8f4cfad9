//! CIFAR-10 and CIFAR-100 as Python pickles or binary records, packed or expanded (spec §1.2).

use super::{Labels, Source};
use crate::{
    ImageError, ImportOptions, Picture, Split,
    budget::{Budget, Permit},
    container::{Container, Member},
    pickle::{Node, Pickle},
};

/// Bytes of one image: three planes of 32×32.
const IMAGE_BYTES: usize = 3072;
/// Bound on one member; the largest of the official archives takes 155 MB.
const MEMBER_LIMIT: u64 = 192 << 20;
/// Bound on the images of all members, which are kept in memory; the official ones take 154 MB.
const ALL_IMAGES: usize = 256 << 20;
/// Bound on the file of class names.
const NAMES_LIMIT: u64 = 1 << 20;

/// All images of one split, in memory: at most 155 MB.
pub(super) struct Cifar {
    pixels: Vec<u8>,
    labels: Labels,
    split: Split,
}

/// The files of one of the four official packages.
struct Package {
    train: &'static [&'static str],
    test: &'static [&'static str],
    names: &'static str,
    binary: bool,
    coarse: bool,
}

const PACKAGES: [Package; 4] = [
    Package {
        train: &[
            "data_batch_1",
            "data_batch_2",
            "data_batch_3",
            "data_batch_4",
            "data_batch_5",
        ],
        test: &["test_batch"],
        names: "batches.meta",
        binary: false,
        coarse: false,
    },
    Package {
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: &["test_batch.bin"],
        names: "batches.meta.txt",
        binary: true,
        coarse: false,
    },
    Package {
        // CIFAR-100: one file for each split, and coarse labels beside the fine ones.
        train: &["train"],
        test: &["test"],
        names: "meta",
        binary: false,
        coarse: true,
    },
    Package {
        train: &["train.bin"],
        test: &["test.bin"],
        names: "fine_label_names.txt",
        binary: true,
        coarse: true,
    },
];

/// The member with this file name, in any folder.
fn find<'a>(container: &'a Container, file: &str) -> Option<&'a Member> {
    container
        .members
        .iter()
        .find(|member| member.name.rsplit('/').next() == Some(file))
}

fn package(container: &Container) -> Option<&'static Package> {
    // `train` and `test` are common names: CIFAR-100 must also have its `meta`.
    let fits = |package: &&Package| {
        let images = package
            .train
            .iter()
            .chain(package.test)
            .any(|file| find(container, file).is_some());
        images && (!package.coarse || find(container, package.names).is_some())
    };
    PACKAGES.iter().find(fits)
}

/// Whether the container holds one of the four packages.
pub(super) fn recognises(container: &Container) -> bool {
    package(container).is_some()
}

impl Cifar {
    pub(super) fn open(container: &Container, options: &ImportOptions) -> Result<Self, ImageError> {
        let package = package(container).expect("invariant: only called for recognised containers");
        let files = match options.split {
            Split::Train => package.train,
            Split::Test => package.test,
        };
        let mut set = Self {
            pixels: Vec::new(),
            labels: Labels::default(),
            split: options.split,
        };
        let (mut fine, mut coarse) = (Vec::new(), Vec::new());
        for file in files {
            // Batches in the order of their numbers: the order of images is part of the data set.
            let member = find(container, file).ok_or_else(|| {
                ImageError::format(&container.path, format!("`{file}` is missing"))
            })?;
            let bytes = container.read(member, MEMBER_LIMIT)?;
            let read = if package.binary {
                read_records(&bytes, package.coarse)
            } else {
                read_pickle(&bytes, package.coarse)
            };
            let batch = read.map_err(|reason| {
                ImageError::format(&container.path, format!("`{file}`: {reason}"))
            })?;
            if set.pixels.len() + batch.pixels.len() > ALL_IMAGES {
                return Err(ImageError::format(
                    &container.path,
                    format!(
                        "`{file}`: with it the images take more than {ALL_IMAGES} bytes, expected \
                         the {IMAGE_BYTES} bytes of each of 50,000"
                    ),
                ));
            }
            set.pixels.extend(batch.pixels);
            fine.extend(batch.fine);
            coarse.extend(batch.coarse);
        }
        if !options.ignore_labels {
            set.labels.from = Some("the archive".to_owned());
            set.labels.fine = Some(fine);
            set.labels.coarse = package.coarse.then_some(coarse);
            if let Some(member) = find(container, package.names) {
                set.labels.class_names =
                    class_names(&container.read(member, NAMES_LIMIT)?, package);
            }
        }
        Ok(set)
    }
}

fn class_names(bytes: &[u8], package: &Package) -> Vec<String> {
    if package.binary {
        return String::from_utf8_lossy(bytes)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let key = if package.coarse {
        "fine_label_names"
    } else {
        "label_names"
    };
    // Names are for reports only: an import works without them.
    let names = Pickle::read(bytes).ok().and_then(|pickle| {
        let list = pickle.get(pickle.root(), key)?;
        pickle
            .elements(list)?
            .iter()
            .map(|id| pickle.text(*id).map(str::to_owned))
            .collect()
    });
    names.unwrap_or_default()
}

#[derive(Default)]
struct Batch {
    pixels: Vec<u8>,
    fine: Vec<i64>,
    coarse: Vec<i64>,
}

fn read_records(bytes: &[u8], coarse: bool) -> Result<Batch, String> {
    let head = if coarse { 2 } else { 1 };
    if bytes.is_empty() || !bytes.len().is_multiple_of(head + IMAGE_BYTES) {
        return Err(format!(
            "{} bytes are not a whole number of records of {} bytes",
            bytes.len(),
            head + IMAGE_BYTES
        ));
    }
    let mut batch = Batch::default();
    for record in bytes.chunks_exact(head + IMAGE_BYTES) {
        // CIFAR-100 writes the coarse label first.
        batch.fine.push(i64::from(record[head - 1]));
        if coarse {
            batch.coarse.push(i64::from(record[0]));
        }
        // Red plane, green plane, blue plane, each row by row: as shards have them.
        batch.pixels.extend_from_slice(&record[head..]);
    }
    Ok(batch)
}

fn read_pickle(bytes: &[u8], coarse: bool) -> Result<Batch, String> {
    let pickle = Pickle::read(bytes).map_err(|error| error.to_string())?;
    let root = pickle.root();
    let ints = |key: &str| -> Result<Vec<i64>, String> {
        let list = pickle
            .get(root, key)
            .and_then(|id| pickle.elements(id))
            .ok_or_else(|| format!("the list `{key}` is missing"))?;
        list.iter()
            .map(|id| {
                pickle
                    .int(*id)
                    .ok_or_else(|| format!("`{key}` holds a value that is not an integer"))
            })
            .collect()
    };
    let data = pickle
        .get(root, "data")
        .ok_or("the array `data` is missing")?;
    let pixels = planes(&pickle, data).map_err(|reason| format!("`data`: {reason}"))?;
    let fine = ints(if coarse { "fine_labels" } else { "labels" })?;
    let coarse = if coarse {
        ints("coarse_labels")?
    } else {
        Vec::new()
    };
    if pixels.len() != fine.len() * IMAGE_BYTES
        || (!coarse.is_empty() && coarse.len() != fine.len())
    {
        return Err(format!(
            "{} labels do not fit {} bytes of pixels",
            fine.len(),
            pixels.len()
        ));
    }
    Ok(Batch {
        pixels,
        fine,
        coarse,
    })
}

/// Images of a pickled array, each as three planes: shapes [n, 3072] and [n, 3, 32, 32] as CIFAR
/// has them, and [n, 32, 32, 3].
fn planes(pickle: &Pickle<'_>, id: usize) -> Result<Vec<u8>, String> {
    let array = PickledArray::read(pickle, id)?;
    let images = array.bytes.len() / IMAGE_BYTES;
    match array.shape[..] {
        [n, 3072] | [n, 3, 32, 32] if usize::try_from(n) == Ok(images) => Ok(array.bytes),
        [n, 32, 32, 3] if usize::try_from(n) == Ok(images) => {
            let mut planes = Vec::with_capacity(array.bytes.len());
            for image in array.bytes.chunks_exact(IMAGE_BYTES) {
                for channel in 0..3 {
                    planes.extend(image[channel..].iter().step_by(3));
                }
            }
            Ok(planes)
        }
        _ => Err(format!(
            "array of shape {:?}, expected [n, 3072], [n, 3, 32, 32] or [n, 32, 32, 3]",
            array.shape
        )),
    }
}

/// A numpy array of dtype uint8 in a pickle.
struct PickledArray {
    shape: Vec<i64>,
    bytes: Vec<u8>,
}

impl PickledArray {
    /// Up to protocol 4 numpy calls `_reconstruct` and sets the state (version, shape, dtype,
    /// fortran order, bytes); from protocol 5 on it calls `_frombuffer` with (bytes, dtype, shape,
    /// order) and, since NumPy 2.4, the order in which the axes of that shape are to be put.
    fn read(pickle: &Pickle<'_>, id: usize) -> Result<Self, String> {
        let unlike = || "not an array of bytes".to_owned();
        let integers = |id: usize| -> Option<Vec<i64>> {
            let all = pickle.elements(id)?;
            all.iter().map(|id| pickle.int(*id)).collect()
        };
        let ((_, function), args) = pickle.call(id).ok_or_else(unlike)?;
        let (shape, dtype, fortran, data, axes) = if function == "_frombuffer" {
            let [data, dtype, shape, order, rest @ ..] = args else {
                return Err(unlike());
            };
            let axes = rest.first().filter(|id| *pickle.node(**id) != Node::None);
            let fortran = match pickle.text(*order) {
                Some("C") => false,
                Some("F") => true,
                Some("K") if axes.is_some() => false,
                _ => return Err("an array in an unknown order, expected C or F".to_owned()),
            };
            (*shape, *dtype, fortran, *data, axes.copied())
        } else {
            let state = pickle.state(id).and_then(|state| pickle.elements(state));
            let Some([_, shape, dtype, fortran, data]) = state else {
                return Err(unlike());
            };
            (*shape, *dtype, pickle.int(*fortran) != Some(0), *data, None)
        };
        // The dtype is made by `numpy.dtype("u1", ...)`.
        let dtype = pickle
            .call(dtype)
            .and_then(|(_, args)| pickle.text(*args.first()?));
        if !matches!(dtype, Some("u1" | "|u1" | "uint8")) {
            return Err(format!(
                "dtype {}, expected uint8",
                dtype.unwrap_or("unknown")
            ));
        }
        let mut shape = integers(shape).ok_or_else(unlike)?;
        let bytes = pickle.bytes(data).ok_or_else(unlike)?.into_owned();
        let count = shape
            .iter()
            .try_fold(1i64, |count, length| count.checked_mul(*length));
        if count != i64::try_from(bytes.len()).ok() {
            return Err(format!("{} bytes do not fill shape {shape:?}", bytes.len()));
        }
        if shape.len() > 8 {
            return Err(format!("{} axes, expected at most 4", shape.len()));
        }
        let mut axes = match axes {
            None => (0..shape.len()).collect(),
            Some(axes) => permutation(&integers(axes).ok_or_else(unlike)?, shape.len())
                .ok_or("its axes are in an order that names one twice or not at all")?,
        };
        if fortran {
            // Bytes in Fortran order are those in C order of the array with its axes turned round.
            shape.reverse();
            axes.reverse();
        }
        Ok(Self::transposed(shape, bytes, &axes))
    }

    /// The array whose axis `k` is axis `axes[k]` of this one, with its bytes in C order.
    fn transposed(shape: Vec<i64>, bytes: Vec<u8>, axes: &[usize]) -> Self {
        if axes.is_sorted() {
            return Self { shape, bytes };
        }
        let mut strides = vec![1usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis] as usize;
        }
        let lengths: Vec<usize> = axes.iter().map(|axis| shape[*axis] as usize).collect();
        let strides: Vec<usize> = axes.iter().map(|axis| strides[*axis]).collect();
        let (mut index, mut from) = (vec![0; axes.len()], 0);
        let mut out = Vec::with_capacity(bytes.len());
        for _ in 0..bytes.len() {
            out.push(bytes[from]);
            // The next index, the last axis first.
            for axis in (0..axes.len()).rev() {
                index[axis] += 1;
                from += strides[axis];
                if index[axis] < lengths[axis] {
                    break;
                }
                from -= index[axis] * strides[axis];
                index[axis] = 0;
            }
        }
        Self {
            shape: lengths.iter().map(|length| *length as i64).collect(),
            bytes: out,
        }
    }
}

/// The axes as indices, where they name each of `count` once.
fn permutation(axes: &[i64], count: usize) -> Option<Vec<usize>> {
    let found: Option<Vec<usize>> = axes.iter().map(|at| usize::try_from(*at).ok()).collect();
    let found = found?;
    let mut sorted = found.clone();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..count).then_some(found)
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.pixels.len() / IMAGE_BYTES
    }
    fn name(&self, index: usize) -> String {
        format!("{}/{index:05}", self.split.name())
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn kind(&self) -> String {
        "CIFAR archive".to_owned()
    }
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Permit<'b>), ImageError> {
        let planes = &self.pixels[index * IMAGE_BYTES..(index + 1) * IMAGE_BYTES];
        let permit = budget.acquire(planes.len() as u64);
        Ok((Picture::from_planes(32, 32, 3, planes)?, permit))
    }
}
