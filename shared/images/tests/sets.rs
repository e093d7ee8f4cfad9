//! Sets as people have them: what an import understands of each, what it lists as left out, and
//! what it refuses because there are two ways to read it.

#![forbid(unsafe_code)]

#[path = "sets/archives.rs"]
mod archives;
#[path = "sets/arrays.rs"]
mod arrays;
#[path = "sets/labels.rs"]
mod labels;
#[path = "sets/options.rs"]
mod options;
#[path = "sets/parts.rs"]
mod parts;
#[path = "sets/ways.rs"]
mod ways;

use archives::{tarred, zipped};
use cedm_images::{ImportOptions, Imported, import, read_shard};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use zip::CompressionMethod;

/// Files of a set: their names and bytes.
type Files = Vec<(String, Vec<u8>)>;

/// A picture of its own for each seed.
fn png(seed: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..27u8)
        .map(|at| at.wrapping_mul(seed | 1) ^ seed)
        .collect();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 3, 3);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    png
}

/// Files from names alone: pictures where the name says so, else a few bytes.
fn named(names: &[&str]) -> Files {
    let file = |(at, name): (usize, &&str)| {
        let picture = [".png", ".PNG"].iter().any(|end| name.ends_with(end));
        let bytes = if picture {
            png(at as u8)
        } else {
            b"x".to_vec()
        };
        ((*name).to_owned(), bytes)
    };
    names.iter().enumerate().map(file).collect()
}

fn with(mut files: Files, name: &str, bytes: impl AsRef<[u8]>) -> Files {
    files.push((name.to_owned(), bytes.as_ref().to_vec()));
    files
}

fn tar(files: &Files) -> Vec<u8> {
    tarred(files)
}

fn zip(files: &Files) -> Vec<u8> {
    zipped(files, CompressionMethod::Deflated)
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (head.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], head.as_bytes(), data].concat()
}

/// Three images as an array, and their labels.
fn array_and_labels() -> (Vec<u8>, Vec<u8>) {
    let images = npy("|u1", "(3, 4, 4, 3)", &[7; 144]);
    (images, npy("|u1", "(3,)", &[2, 0, 1]))
}

/// A file of three images of MNIST.
fn idx(kind: [u8; 4], lengths: &[u32], data: &[u8]) -> Vec<u8> {
    let lengths: Vec<u8> = lengths.iter().flat_map(|n| n.to_be_bytes()).collect();
    [&kind, &lengths[..], data].concat()
}

fn mnist() -> (Vec<u8>, Vec<u8>) {
    let images = idx([0, 0, 8, 3], &[3, 4, 4], &[9; 48]);
    (images, idx([0, 0, 8, 1], &[3], &[5, 0, 4]))
}

/// A folder for the sources of one test.
struct Place(tempfile::TempDir);

/// What an import understood.
struct Set {
    imported: Imported,
    labels: Vec<i64>,
    names: Vec<String>,
}

impl Set {
    fn classes(&self) -> Vec<&str> {
        let names = self.imported.set.class_names.iter();
        names.map(String::as_str).collect()
    }
    fn left_out(&self) -> Vec<&str> {
        let skipped = self.imported.skipped.iter();
        skipped.map(|left| left.name.as_str()).collect()
    }
    fn notes(&self) -> String {
        self.imported.summary.notes.join("\n")
    }
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn folder(&self, name: &str, files: &Files) -> PathBuf {
        let root = self.0.path().join(name);
        fs::create_dir_all(&root).unwrap();
        for (file, bytes) in files {
            self.file(&format!("{name}/{file}"), bytes);
        }
        root
    }

    /// The files as a folder, a zip and a tar archive.
    fn all(&self, name: &str, files: &Files) -> Vec<PathBuf> {
        vec![
            self.folder(name, files),
            self.file(&format!("{name}.zip"), zip(files)),
            self.file(&format!("{name}.tar"), tar(files)),
        ]
    }

    fn import(&self, source: &Path, options: &ImportOptions) -> Result<Set, String> {
        let out = self.0.path().join("out");
        let imported = import(source, options, &out, &mut |_| {});
        let imported = imported.map_err(|error| error.to_string())?;
        let mut labels = Vec::new();
        for shard in &imported.set.shards {
            let shard = read_shard(&out.join(&shard.object.object)).unwrap();
            labels.extend(shard.labels.unwrap_or_default());
        }
        let names = fs::read_to_string(out.join("names.jsonl")).unwrap();
        let names = names.lines().map(|line| line.trim_matches('"').to_owned());
        let names = names.collect();
        fs::remove_dir_all(&out).unwrap();
        Ok(Set {
            imported,
            labels,
            names,
        })
    }

    fn read(&self, source: &Path) -> Set {
        self.import(source, &ImportOptions::default()).unwrap()
    }

    fn refuses(&self, source: &Path, options: &ImportOptions, parts: &[&str]) {
        let Err(error) = self.import(source, options) else {
            panic!(
                "{} is read, expected an error of {parts:?}",
                source.display()
            );
        };
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

fn label_field(field: &str) -> ImportOptions {
    ImportOptions {
        label_field: Some(field.to_owned()),
        ..ImportOptions::default()
    }
}
