//! Pixels as they are meant: arrays of every kind are read right or refused by name, damaged files
//! are found, and memory does not grow with what a header claims.

use super::*;
use crate::{Limits, Values};

/// An npy file of version 1.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
}

fn error_of(path: &Path, options: &ImportOptions) -> String {
    quiet(path, options).unwrap_err().to_string()
}

#[test]
fn arrays_are_read_right_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let bytes: Vec<u8> = (0..3).flat_map(pixels).collect();
    fs::write(&path, npy("|u1", false, "(3, 4, 4, 3)", &bytes)).unwrap();
    let expect = quiet(&path, &options()).unwrap().set.content;
    let floats = |scale: fn(f64) -> f64| bytes.iter().map(move |byte| scale((*byte).into()));
    for (values, descr, data) in [
        (
            Values::Unit,
            "<f4",
            floats(|byte| byte / 255.0)
                .flat_map(|value| (value as f32).to_le_bytes())
                .collect::<Vec<u8>>(),
        ),
        (
            Values::Signed,
            ">f8",
            floats(|byte| (byte - 127.5) / 127.5)
                .flat_map(f64::to_be_bytes)
                .collect(),
        ),
    ] {
        fs::write(&path, npy(descr, false, "(3, 4, 4, 3)", &data)).unwrap();
        let told = ImportOptions {
            values: Some(values),
            ..options()
        };
        assert_eq!(quiet(&path, &told).unwrap().set.content, expect, "{descr}");
        let error = error_of(&path, &options());
        assert!(
            error.contains("whose range the file does not say"),
            "{error}"
        );
        let other = ImportOptions {
            values: Some(Values::Unit),
            strict: true,
            ..options()
        };
        if values == Values::Signed {
            let error = error_of(&path, &other);
            assert!(error.contains("expected 0 to 1"), "{error}");
        }
    }
    for (descr, fortran, shape, expected) in [
        ("|i1", false, "(3, 4, 4, 3)", "array of int8"),
        ("|b1", false, "(3, 4, 4, 3)", "array of bool"),
        ("|u1", true, "(3, 4, 4, 3)", "Fortran order"),
        ("|u1", false, "(4, 4, 3, 3)", "(`hwcn`, not read"),
        ("|u1", false, "(12, 12)", "no known layout"),
        ("|u1", false, "(4, 4, 3)", "1 colour image of 4x4 (`hwc`)"),
        ("|u1", false, "(3, 3, 4, 4)", ""),
        ("|u1", false, "(9, 4, 4)", ""),
        ("|u1", false, "(2, 4, 4, 4)", "with alpha"),
        (
            "|u1",
            false,
            "(4294967296, 4294967296, 4294967296)",
            "can be counted",
        ),
        ("|u1", false, "(1, 9223372036854775807, 1)", "truncated"),
        ("<u2", false, "(1, 8, 9)", "array of uint16"),
    ] {
        fs::write(&path, npy(descr, fortran, shape, &bytes)).unwrap();
        match quiet(&path, &options()) {
            Ok(_) => assert!(expected.is_empty(), "{descr} {shape} was read"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{shape}: {error}"
                );
            }
        }
    }
}

#[test]
fn parts_of_an_npz_file_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keras.npz");
    let images = |from: usize| {
        let bytes: Vec<u8> = (from..from + 2).flat_map(pixels).collect();
        npy("|u1", false, "(2, 4, 4, 3)", &bytes)
    };
    let labels = |labels: [u8; 2]| npy("|u1", false, "(2,)", &labels);
    let members = [
        ("x_train.npy".to_owned(), images(0)),
        ("y_train.npy".to_owned(), labels([1, 0])),
        ("x_test.npy".to_owned(), images(2)),
        ("y_test.npy".to_owned(), labels([0, 2])),
    ];
    zip_of(&path, &members, CompressionMethod::Deflated);
    let of = |split| {
        let out = folder.path().join(format!("{split:?}"));
        let options = ImportOptions { split, ..options() };
        import(&path, &options, &out, &mut |_| {}).unwrap();
        read_shard(&out.join("shard-00000.safetensors")).unwrap()
    };
    assert_eq!(of(Split::Train).labels.unwrap(), [1, 0]);
    assert_eq!(of(Split::Test).labels.unwrap(), [0, 2]);
    zip_of(&path, &members[..2], CompressionMethod::Deflated);
    let error = error_of(
        &path,
        &ImportOptions {
            split: Split::Test,
            ..options()
        },
    );
    assert!(error.contains("expected one of x_test"), "{error}");
}

#[test]
fn a_flipped_bit_in_a_zip_archive_is_found_however_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    // BMP has no checksums of its own.
    let mut bmp = Vec::new();
    image::codecs::bmp::BmpEncoder::new(&mut bmp)
        .write_image(&pixels(1), 4, 4, ExtendedColorType::Rgb8)
        .unwrap();
    let members = [("a.bmp".to_owned(), bmp), ("b.png".to_owned(), png(2))];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        zip_of(&path, &members, method);
        let mut bytes = fs::read(&path).unwrap();
        bytes[30 + "a.bmp".len() + 60] ^= 4;
        fs::write(&path, bytes).unwrap();
        let imported = quiet(&path, &options()).unwrap();
        assert_eq!(imported.set.count, 1, "{method:?}");
        assert_eq!(imported.skipped[0].name, "a.bmp", "{method:?}");
    }
}

#[test]
fn members_that_share_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let members = [("a.png".to_owned(), png(0)), ("b.png".to_owned(), png(0))];
    zip_of(&path, &members, CompressionMethod::Stored);
    let mut bytes = fs::read(&path).unwrap();
    // The directory's second entry points at the first member; the offset stands at its byte 42.
    let second = (0..bytes.len() - 4)
        .filter(|at| &bytes[*at..at + 4] == b"PK\x01\x02")
        .nth(1)
        .unwrap();
    bytes[second + 42..second + 46].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = error_of(&path, &options());
    assert!(error.contains("lie on the same bytes"), "{error}");
}

#[test]
fn what_an_npz_file_expands_to_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let array = npy("|u1", false, "(1024, 32, 32)", &vec![0; 1 << 20]);
    let members = [("images.npy".to_owned(), array)];
    zip_of(&path, &members, CompressionMethod::Deflated);
    let limits = Limits {
        expanded_bytes: 1 << 16,
        ..Limits::default()
    };
    let error = error_of(
        &path,
        &ImportOptions {
            limits,
            ..options()
        },
    );
    assert!(error.contains("exceeds the limit"), "{error}");
}

#[test]
fn large_images_are_decoded_within_the_budget_and_written_in_smaller_shards() {
    let folder = tempfile::tempdir().unwrap();
    let members: Vec<(String, Vec<u8>)> = (0..6)
        .map(|index| {
            let grey = vec![index as u8; 512 * 512];
            (
                format!("{index}.png"),
                encoded(&grey, 512, 512, ExtendedColorType::L8),
            )
        })
        .collect();
    folder_of(&folder.path().join("in"), &members);
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        ImportOptions {
            limits,
            ..options()
        }
    };
    let source = folder.path().join("in");
    let set = quiet(&source, &limits(|limits| limits.shard_bytes = 600_000))
        .unwrap()
        .set;
    let counts: Vec<u64> = set.shards.iter().map(|shard| shard.count).collect();
    assert_eq!(counts, [2, 2, 2]);
    let whole = quiet(&source, &options()).unwrap().set;
    assert_eq!((whole.shards.len(), &whole.content), (1, &set.content));
    // An image larger than the whole budget is decoded alone.
    let alone = quiet(&source, &limits(|limits| limits.in_flight_bytes = 1))
        .unwrap()
        .set;
    assert_eq!(alone.content, whole.content);
    let error = error_of(&source, &limits(|limits| limits.side = 256));
    assert!(
        error.contains("512x512 pixels, more than the allowed side of 256"),
        "{error}"
    );
    let imported = quiet(&source, &limits(|limits| limits.decoded_bytes = 1000));
    let error = imported.unwrap_err().to_string();
    assert!(
        error.contains("take 262144 bytes, more than the allowed 1000"),
        "{error}"
    );
}
