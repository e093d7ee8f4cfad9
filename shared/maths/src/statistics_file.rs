//! Reference statistics in EDM's file format: an npz archive with `mu` \[d\] and `sigma` \[d, d\]
//! (spec §10.1).
//!
//! Files written by EDM, C-EDM, pytorch-fid, clean-fid and dgm-eval can be read, compressed or not.
//! Files written here also hold the number of images and the extractor, in arrays that the readers
//! of those programs ignore.

use crate::{Gaussian, MathsError};
use cedm_atomic_file::AtomicFile;
use cedm_tensor_files::{NpyHeader, open_file};
use npyz::{DType, TypeStr, WriterBuilder};
use std::{
    fs::File,
    io::{BufReader, Cursor, Read, Write},
    path::Path,
};
use tch::{Device, Kind, Tensor};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// The contents of a statistics file.
#[derive(Debug)]
pub struct Statistics {
    /// Mean and covariance of the features.
    pub gaussian: Gaussian,
    /// Number of images it was computed from, if the file has it.
    pub count: Option<i64>,
    /// Name of the extractor, if the file has it.
    pub extractor: Option<String>,
    /// Digest of the extractor's weights, if the file has it.
    pub weights: Option<String>,
}

/// Bytes that an array may always expand to: the covariance of 4,096 features takes half of it.
const EXPANDED: u64 = 256 << 20;

/// Reads a statistics file.
///
/// # Errors
/// [`MathsError::Io`] for a file that cannot be opened, [`MathsError::File`] for one of another
/// format; the errors of [`Gaussian::new`] for values that are not a mean and a covariance.
pub fn read_statistics(file: &Path) -> Result<Statistics, MathsError> {
    let broken = |reason: String| MathsError::File {
        file: file.to_owned(),
        reason,
    };
    let opened = open(file)?;
    // Covariances hardly compress: a small file that expands to gigabytes is none.
    let packed = opened.metadata().map_or(0, |data| data.len());
    let limit = EXPANDED.max(packed.saturating_mul(4));
    let mut archive = ZipArchive::new(BufReader::new(opened))
        .map_err(|error| broken(format!("is not an npz archive: {error}")))?;
    let mut member = |name: &str| -> Result<Option<Vec<u8>>, MathsError> {
        let mut bytes = Vec::new();
        match archive.by_name(&format!("{name}.npy")) {
            Err(zip::result::ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(broken(format!("array `{name}` cannot be read: {error}"))),
            // Reading to the end also verifies the checksum of the member.
            Ok(entry) => entry
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| broken(format!("array `{name}` cannot be read: {error}")))?,
        };
        if bytes.len() as u64 > limit {
            return Err(broken(format!(
                "array `{name}` expands to more than {limit} bytes"
            )));
        }
        Ok(Some(bytes))
    };
    let mut required = |name: &str| -> Result<Tensor, MathsError> {
        let bytes = member(name)?
            .ok_or_else(|| broken(format!("has no array `{name}`, expected `mu` and `sigma`")))?;
        floats(&bytes).map_err(|reason| broken(format!("array `{name}` {reason}")))
    };
    let (mu, sigma) = (required("mu")?, required("sigma")?);
    let mut text = |name: &str| -> Result<Option<String>, MathsError> {
        let Some(bytes) = member(name)? else {
            return Ok(None);
        };
        let read = header(&bytes).and_then(|header| header.text(&bytes));
        read.map_err(|reason| broken(format!("array `{name}` is not a string: {reason}")))
    };
    let (extractor, weights) = (text("extractor")?, text("weights")?);
    let count = match member("count")? {
        None => None,
        Some(bytes) => {
            let read = header(&bytes).and_then(|header| header.integers(&bytes));
            read.map_err(|reason| broken(format!("array `count` is not an integer: {reason}")))?
                .into_iter()
                .next()
        }
    };
    let name = file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    Ok(Statistics {
        gaussian: Gaussian::new(name, &mu, &sigma)?,
        count,
        extractor,
        weights,
    })
}

/// Names of the arrays in an npz file.
///
/// # Errors
/// [`MathsError::Io`] for a file that cannot be opened, [`MathsError::File`] for one that is no npz
/// archive.
pub fn array_names(file: &Path) -> Result<Vec<String>, MathsError> {
    let broken = |reason: String| MathsError::File {
        file: file.to_owned(),
        reason,
    };
    let opened = open(file)?;
    let archive = ZipArchive::new(BufReader::new(opened))
        .map_err(|error| broken(format!("is not an npz archive: {error}")))?;
    let names = archive
        .file_names()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(format!("has a damaged archive directory: {error}")))?;
    Ok(names
        .iter()
        .filter_map(|name| npyz::npz::array_name_from_file_name(name))
        .map(str::to_owned)
        .collect())
}

/// Opens a statistics file. Only this counts as a failure of the disk: a truncated archive shows as
/// an I/O error too, but later, while it is read.
fn open(file: &Path) -> Result<File, MathsError> {
    open_file(file).map_err(|source| MathsError::Io {
        action: "open",
        file: file.to_owned(),
        source,
    })
}

fn header(bytes: &[u8]) -> Result<NpyHeader, String> {
    NpyHeader::read(&mut &bytes[..], bytes.len() as u64)
}

/// Reads an npy array of float32 or float64 as a float64 tensor.
fn floats(bytes: &[u8]) -> Result<Tensor, String> {
    let header = header(bytes).map_err(|reason| format!("is not an npy array: {reason}"))?;
    if header.dtype.kind != 'f' || header.dtype.size < 4 {
        return Err(format!(
            "is of type {}, expected float64 or float32",
            header.dtype
        ));
    }
    let shape: Vec<i64> = header.shape.iter().map(|&side| side as i64).collect();
    Ok(Tensor::from_slice(&header.floats(bytes)?).view(shape.as_slice()))
}

/// Writes a statistics file, uncompressed like those of `numpy.savez`. Equal statistics give equal
/// bytes.
///
/// # Errors
/// [`MathsError::Io`] when the file cannot be written.
pub fn write_statistics(file: &Path, statistics: &Statistics) -> Result<(), MathsError> {
    write(file, statistics).map_err(|source| MathsError::Io {
        action: "write",
        file: file.to_owned(),
        source,
    })
}

fn write(file: &Path, statistics: &Statistics) -> std::io::Result<()> {
    let mut archive = ZipWriter::new(AtomicFile::create(file)?);
    let mut member = |name: &str, bytes: Vec<u8>| {
        // A fixed date: equal statistics must give equal files.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::DEFAULT);
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&bytes)
    };
    for (name, tensor) in [
        ("mu", statistics.gaussian.mu()),
        ("sigma", statistics.gaussian.sigma()),
    ] {
        let shape: Vec<u64> = tensor.size().iter().map(|&side| side as u64).collect();
        let flat = tensor
            .to_kind(Kind::Double)
            .to_device(Device::Cpu)
            .contiguous()
            .view([-1]);
        let values: Vec<f64> = Vec::try_from(flat).expect("invariant: a float64 vector on the CPU");
        let mut bytes = Cursor::new(Vec::new());
        let mut npy = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(&mut bytes)
            .begin_nd()?;
        npy.extend(values)?;
        npy.finish()?;
        member(name, bytes.into_inner())?;
    }
    if let Some(count) = statistics.count {
        let mut bytes = Cursor::new(Vec::new());
        let mut npy = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[])
            .writer(&mut bytes)
            .begin_nd()?;
        npy.push(&count)?;
        npy.finish()?;
        member("count", bytes.into_inner())?;
    }
    for (name, text) in [
        ("extractor", &statistics.extractor),
        ("weights", &statistics.weights),
    ] {
        if let Some(text) = text {
            member(name, text_array(text)?)?;
        }
    }
    archive.finish()?.commit()
}

/// A NumPy array of no dimensions that holds one string.
fn text_array(text: &str) -> std::io::Result<Vec<u8>> {
    let dtype: TypeStr = format!("<U{}", text.chars().count().max(1))
        .parse()
        .expect("invariant: a well-formed type string");
    let mut bytes = Cursor::new(Vec::new());
    let mut npy = npyz::WriteOptions::<str>::new()
        .dtype(DType::Plain(dtype))
        .shape(&[])
        .writer(&mut bytes)
        .begin_nd()?;
    npy.push(text)?;
    npy.finish()?;
    Ok(bytes.into_inner())
}
