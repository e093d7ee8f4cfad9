//! Weight files and arrays that ask for more than they hold.

use cedm_contract::{Digest, MOST_WEIGHT_BYTES};
use cedm_nets::{Weights, arrays, weights::size_and_digest};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A file of PyTorch's with one tensor of 32-bit floats, of this shape and these strides over a
/// storage of `numbers`.
fn pt(path: &Path, name: &str, numbers: usize, shape: &[i64], strides: &[i64]) {
    let mut out = b"\x80\x02}".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let number = |out: &mut Vec<u8>, value: i64| {
        out.extend([0x8a, 8]);
        out.extend(value.to_le_bytes());
    };
    text(&mut out, name);
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(&mut out, "storage");
    out.extend(b"ctorch\nFloatStorage\n");
    text(&mut out, "0");
    text(&mut out, "cpu");
    number(&mut out, numbers as i64);
    out.extend(b"tQK\x00");
    for sides in [shape, strides] {
        out.push(b'(');
        sides.iter().for_each(|side| number(&mut out, *side));
        out.push(b't');
    }
    out.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let values = 1.5f32.to_le_bytes().repeat(numbers);
    for (name, content) in [("a/data.pkl", out), ("a/data/0", values)] {
        archive.start_file(name, options).unwrap();
        archive.write_all(&content).unwrap();
    }
    archive.finish().unwrap();
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    /// A file of nothing but a hole.
    fn hollow(&self, length: u64) -> PathBuf {
        let path = self.path("hollow.pt");
        File::create(&path).unwrap().set_len(length).unwrap();
        path
    }
}

/// With a stride of 0 four bytes have any shape.
#[test]
fn a_tensor_of_one_number_that_says_it_is_terabytes_is_not_made() {
    let place = Place::new();
    let path = place.path("expanded.pt");
    for (shape, strides) in [
        (&[1i64 << 40, 8][..], &[0i64, 0][..]),
        (&[1 << 31, 1 << 31], &[0, 0]),
        (&[1 << 23], &[0]),
    ] {
        pt(&path, "features", 1, shape, strides);
        for error in [
            Weights::read(&path).unwrap_err(),
            arrays::array(&path, &["features"]).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(
                text.contains("expanded.pt")
                    && text.contains("`features`")
                    && text.contains("repeats the 1 numbers of its storage"),
                "{text}"
            );
        }
    }
    // One that fits into memory is a weight like any other, and no list of features.
    pt(&path, "features", 1, &[1000, 8], &[0, 0]);
    let weights = Weights::read(&path).unwrap();
    assert_eq!(weights.get("features").unwrap().size(), [1000, 8]);
    let text = arrays::array(&path, &["features"]).unwrap_err().to_string();
    assert!(text.contains("repeats a few numbers"), "{text}");
    pt(&path, "features", 6, &[3, 2], &[2, 1]);
    assert!(arrays::array(&path, &["features"]).is_ok());
}

/// Weights are digested before anything in them is looked at: for hours, if anything of any length
/// were.
#[test]
fn the_size_of_weights_is_known_before_they_are_digested() {
    let place = Place::new();
    for (length, expected) in [
        (
            8 << 40,
            "8796093022208 bytes, expected at most 68719476736 of a weight file",
        ),
        (MOST_WEIGHT_BYTES + 1, "68719476737 bytes, expected at most"),
        (MOST_WEIGHT_BYTES, "the others are holes"),
        (1 << 30, "the others are holes"),
    ] {
        let text = size_and_digest(&place.hollow(length))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("hollow.pt") && text.contains(expected),
            "{text}"
        );
    }
    let found = size_and_digest(&place.hollow(4096)).unwrap();
    assert_eq!(found, (4096, Digest::of(&[0; 4096])));
    for (path, expected) in [
        (
            Path::new("/dev/zero"),
            "/dev/zero: a folder, a named pipe, a socket or a device",
        ),
        (place.0.path(), "expected a file"),
        (&place.path("missing"), "No such file"),
    ] {
        let text = size_and_digest(path).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}
