//! The readers that are fuzzed.

use anyhow::{Context, Result};
use cedm_images::{ImportOptions, pickle::Pickle};
use cedm_nets::weights::{Encoder, Weights};
use cedm_tensor_files::{NpyHeader, TensorFile};
use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A reader of strangers' bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// The import of an archive or array: zip, tar, npz, npy, idx
    Archive,
    /// The import of an archive with this `dataset.json`
    Labels,
    /// One image file, decoded
    Image,
    /// A pickle, read as data
    Pickle,
    /// The header and numbers of an npy file
    Npy,
    /// The header and tensors of a safetensors file
    Tensors,
    /// A weight file: PyTorch zip, legacy stream, pickle, safetensors
    Weights,
}

impl Target {
    /// Every target, in the order in which they are fuzzed.
    pub const ALL: [Target; 7] = [
        Target::Archive,
        Target::Labels,
        Target::Image,
        Target::Pickle,
        Target::Npy,
        Target::Tensors,
        Target::Weights,
    ];

    /// Whether a sound file is a seed.
    pub fn takes(self, file: &Path) -> bool {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match self {
            Target::Archive => {
                matches!(
                    extension,
                    "zip" | "tar" | "npz" | "npy" | "xz" | "gz" | "mdb" | "parquet"
                ) || name.contains("idx")
            }
            Target::Image => matches!(
                extension,
                "png" | "jpg" | "jpe" | "gif" | "ppm" | "dib" | "bmp" | "webp" | "tif"
            ),
            Target::Pickle => name.starts_with("data_batch") || extension == "pkl",
            Target::Npy => extension == "npy",
            Target::Weights => matches!(extension, "pt" | "pth" | "pkl" | "bin"),
            Target::Labels | Target::Tensors => false,
        }
    }

    /// Seeds that are made here.
    pub fn own_seeds(self) -> Vec<Vec<u8>> {
        match self {
            Target::Labels => [
                r#"{"labels": [["a/0.png", 0], ["a/1.png", 12]], "class_names": ["x", "y"]}"#,
                r#"{"labels": [["a/0.png", [0, 1]], ["a/1.png", [1.0, 0]]], "coarse_labels": null}"#,
                r#"{"labels": null}"#,
            ]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
            Target::Tensors | Target::Weights => {
                let numbers = [1u8, 2, 3, 4, 5, 6];
                let data = cedm_tensor_files::Data::of_bytes(&[2, 3], &numbers);
                let tensors = [("model.map_layer0.weight", data)];
                let bytes = cedm_tensor_files::encode("seed", &tensors, &[("sigma_data", "0.5")]);
                vec![bytes.expect("invariant: a sound file is written")]
            }
            _ => Vec::new(),
        }
    }

    /// Reads the bytes as far as the program would; errors are what is expected of most inputs.
    /// `folder` is for temporary files.
    ///
    /// # Errors
    /// When the temporary files cannot be written, which is no finding.
    pub fn run(self, bytes: &[u8], folder: &Path) -> Result<()> {
        match self {
            Target::Archive => import(bytes, folder)?,
            Target::Labels => import(&archive_with(bytes)?, folder)?,
            Target::Image => drop(cedm_images::decode(
                "input",
                bytes,
                &cedm_images::Limits::default(),
            )),
            Target::Pickle => {
                if let Ok(pickle) = Pickle::read(bytes) {
                    for id in pickle.ids().take(10_000) {
                        let _ = (pickle.items(id), pickle.call(id), pickle.text(id));
                    }
                }
            }
            Target::Npy => {
                if let Ok(header) = NpyHeader::read(&mut &bytes[..], bytes.len() as u64) {
                    let _ = (
                        header.integers(bytes),
                        header.floats(bytes),
                        header.text(bytes),
                    );
                }
            }
            Target::Tensors => {
                if let Ok(file) = TensorFile::from_bytes("input", bytes) {
                    for name in file.names() {
                        let _ = file.bytes(&name);
                    }
                }
            }
            Target::Weights => {
                let path = folder.join("weights");
                fs::write(&path, bytes).context("write the input")?;
                if let Ok(weights) = Weights::read(&path) {
                    drop(weights.backbone(Encoder::Teacher));
                }
            }
        }
        Ok(())
    }
}

fn import(bytes: &[u8], folder: &Path) -> Result<()> {
    let path = folder.join("input");
    fs::write(&path, bytes).context("write the input")?;
    let out = folder.join("out");
    let options = ImportOptions {
        resolution: Some((4, 4)),
        threads: 1,
        ..ImportOptions::default()
    };
    let _ = cedm_images::import(&path, &options, &out, &mut |_| {});
    for left in ["out", "out.partial"] {
        let left = folder.join(left);
        if left.exists() {
            fs::remove_dir_all(left).context("remove the result")?;
        }
    }
    Ok(())
}

/// An archive of two images and these bytes as `dataset.json`.
fn archive_with(labels: &[u8]) -> Result<Vec<u8>> {
    // The smallest netpbm image: one grey pixel.
    const IMAGE: &[u8] = b"P5\n1 1\n255\n\x07";
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("a/0.png", IMAGE),
        ("a/1.png", IMAGE),
        ("dataset.json", labels),
    ] {
        archive.start_file(name, options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}
