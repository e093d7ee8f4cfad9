//! Reference statistics: what is written is read, what NumPy writes is read, what is broken says
//! what is wrong.

use cedm_maths::{Gaussian, Statistics, array_names, read_statistics, write_statistics};
use npyz::WriterBuilder;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};
use tch::{Device, Kind, Tensor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fn statistics(extractor: Option<&str>) -> Statistics {
    let mu = Tensor::arange(3, (Kind::Double, Device::Cpu)).sin();
    let sigma = Tensor::eye(3, (Kind::Double, Device::Cpu)) * 2.0 + 0.1;
    Statistics {
        gaussian: Gaussian::new("made", &mu, &sigma).unwrap(),
        count: Some(1797),
        extractor: extractor.map(str::to_owned),
        weights: extractor.map(|_| "ab".repeat(32)),
    }
}

/// An npz file as NumPy writes it, with the given arrays in their own type and order.
fn npz(file: &Path, arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> PathBuf {
    let mut archive = ZipWriter::new(File::create(file).unwrap());
    for (name, bytes) in arrays {
        archive
            .start_file(
                format!("{name}.npy"),
                SimpleFileOptions::default().compression_method(method),
            )
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    file.to_owned()
}

fn array<T: npyz::AutoSerialize + npyz::Serialize + Copy>(
    values: &[T],
    shape: &[u64],
    order: npyz::Order,
) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut npy = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .order(order)
        .writer(&mut bytes)
        .begin_nd()
        .unwrap();
    npy.extend(values.iter().copied()).unwrap();
    npy.finish().unwrap();
    bytes.into_inner()
}

#[test]
fn what_is_written_is_read_and_equal_statistics_give_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let (file, again) = (
        folder.path().join("stats.npz"),
        folder.path().join("again.npz"),
    );
    let written = statistics(Some("inception_fid"));
    write_statistics(&file, &written).unwrap();
    write_statistics(&again, &written).unwrap();
    let read = read_statistics(&file).unwrap();
    assert_eq!(
        (read.gaussian.mu(), read.gaussian.sigma()),
        (written.gaussian.mu(), written.gaussian.sigma())
    );
    assert_eq!(
        (read.count, read.extractor, read.weights),
        (written.count, written.extractor, written.weights)
    );
    assert_eq!(
        std::fs::read(&file).unwrap(),
        std::fs::read(&again).unwrap()
    );
    assert_eq!(
        array_names(&file).unwrap(),
        ["mu", "sigma", "count", "extractor", "weights"]
    );
    write_statistics(&file, &statistics(None)).unwrap();
    assert_eq!(read_statistics(&file).unwrap().extractor, None);
}

#[test]
fn single_precision_compressed_and_column_major_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let sigma = [2.0f32, 0.5, 0.5, 1.0];
    for order in [npyz::Order::C, npyz::Order::Fortran] {
        let arrays = [
            ("mu", array(&[1.0f64, 2.0], &[2], npyz::Order::C)),
            ("sigma", array(&sigma, &[2, 2], order)),
        ];
        let read = read_statistics(&npz(
            &folder.path().join("other.npz"),
            &arrays,
            CompressionMethod::Deflated,
        ))
        .unwrap();
        assert_eq!(
            read.gaussian.sigma(),
            &Tensor::from_slice(&sigma)
                .view([2, 2])
                .to_kind(Kind::Double)
        );
        assert_eq!((read.count, read.extractor), (None, None));
    }
}

#[test]
fn broken_files_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let good = path("good.npz");
    write_statistics(&good, &statistics(Some("pca"))).unwrap();
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(path("text.npz"), "no archive at all").unwrap();
    std::fs::write(path("cut.npz"), &bytes[..bytes.len() / 2]).unwrap();
    let mut flipped = bytes.clone();
    flipped[170] ^= 1; // inside the values of `mu`
    std::fs::write(path("flipped.npz"), flipped).unwrap();
    let mu = || ("mu", array(&[1.0f64, 2.0], &[2], npyz::Order::C));
    let with = |name: &str, sigma: Vec<u8>| {
        npz(
            &path(name),
            &[mu(), ("sigma", sigma)],
            CompressionMethod::Stored,
        )
    };
    let c = npyz::Order::C;
    let cases = [
        (path("absent.npz"), "cannot open"),
        (path("text.npz"), "is not an npz archive"),
        (path("cut.npz"), "is not an npz archive"),
        (path("flipped.npz"), "array `mu` cannot be read"),
        (
            npz(&path("only-mu.npz"), &[mu()], CompressionMethod::Stored),
            "has no array `sigma`",
        ),
        (
            with("shape.npz", array(&[1.0f64, 2.0], &[2], c)),
            "covariance of shape.npz has shape [2], expected [2, 2]",
        ),
        (
            with("integers.npz", array(&[1i64, 0, 0, 1], &[2, 2], c)),
            "expected float64 or float32",
        ),
        (
            with("junk.npz", b"junk".to_vec()),
            "array `sigma` is not an npy array",
        ),
        (
            with(
                "nan.npz",
                array(&[1.0f64, f64::NAN, f64::NAN, 1.0], &[2, 2], c),
            ),
            "2 values that are NaN or infinite",
        ),
        (
            with("skew.npz", array(&[1.0f64, 0.5, -0.5, 1.0], &[2, 2], c)),
            "expected symmetric",
        ),
    ];
    for (file, expected) in cases {
        let message = read_statistics(&file).unwrap_err().to_string();
        assert!(message.contains(expected), "{}: {message}", file.display());
    }
}
