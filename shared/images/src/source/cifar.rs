//! CIFAR-10 and CIFAR-100 as Python pickles or binary records, packed or expanded (spec §1.2).

use super::{Labels, Source};
use crate::{
    ImageError, ImportOptions, Picture, Split,
    container::{Container, Member},
    pickle::{Node, Pickle},
};

/// Bytes of one image: three planes of 32×32.
const IMAGE_BYTES: usize = 3072;
/// Bound on one member; the largest of the official archives takes 155 MB.
const MEMBER_LIMIT: u64 = 256 << 20;

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
            set.pixels.extend(batch.pixels);
            fine.extend(batch.fine);
            coarse.extend(batch.coarse);
        }
        if !options.ignore_labels {
            set.labels.fine = Some(fine);
            set.labels.coarse = package.coarse.then_some(coarse);
            if let Some(member) = find(container, package.names) {
                set.labels.class_names =
                    class_names(&container.read(member, MEMBER_LIMIT)?, package);
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
    let pixels = array_bytes(&pickle, data).ok_or("`data` is not an array of bytes")?;
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

/// Bytes of a pickled numpy array of dtype uint8: its state is (version, shape, dtype, fortran
/// order, bytes).
fn array_bytes(pickle: &Pickle<'_>, id: usize) -> Option<Vec<u8>> {
    let state = pickle.elements(pickle.state(id)?)?;
    // A transposed array would have its bytes in another order.
    if state.len() != 5 || !matches!(pickle.node(state[3]), Node::Bool(false) | Node::Int(0)) {
        return None;
    }
    match pickle.node(state[4]) {
        Node::Bytes(bytes) => Some(bytes.to_vec()),
        // Python 3 writes bytes into protocol 2 as `_codecs.encode(text, "latin1")`: each character
        // is one byte.
        Node::Call { .. } => match pickle.call(state[4])? {
            (("_codecs", "encode"), args) => pickle
                .text(*args.first()?)?
                .chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect(),
            _ => None,
        },
        _ => None,
    }
}

impl Source for Cifar {
    fn len(&self) -> usize {
        self.pixels.len() / IMAGE_BYTES
    }
    fn name(&self, index: usize) -> String {
        format!(
            "{}/{index:05}",
            if self.split == Split::Train {
                "train"
            } else {
                "test"
            }
        )
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn read(&self, index: usize) -> Result<Picture, ImageError> {
        Picture::from_planes(
            32,
            32,
            3,
            &self.pixels[index * IMAGE_BYTES..(index + 1) * IMAGE_BYTES],
        )
    }
}
