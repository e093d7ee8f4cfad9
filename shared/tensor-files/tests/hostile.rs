//! Files that lie about themselves.

use cedm_tensor_files::{Data, TensorFile, TensorFileError, encode, open_file};
use proptest::prelude::*;
use std::{fs::File, io::Read, os::unix::fs::FileExt, path::Path};

/// A file of this header and as many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// An error from memory and from disk, and no panic.
fn check(bytes: &[u8], expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, bytes).unwrap();
    let on_disk = TensorFile::open(&path).unwrap_err();
    let in_memory = TensorFile::from_bytes(&path, bytes).unwrap_err();
    for error in [on_disk, in_memory] {
        assert!(matches!(error, TensorFileError::Format { .. }));
        assert!(error.to_string().contains(expect), "{error}");
    }
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let whole = encode("f", &[("a", Data::of(&[3], &[1i64, 2, 3]))], &[]).unwrap();
    for length in 0..whole.len() {
        check(&whole[..length], "not a valid safetensors file");
    }
    check(&whole[..whole.len() - 1], "truncated");
    check(&[whole, vec![0]].concat(), "1 bytes after the last tensor");
}

#[test]
fn giant_headers_are_not_allocated() {
    for length in [u64::MAX, 1 << 62, 100_000_001, 99_999_999, 17] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{\"a\":{}}");
        check(&bytes, "the header length is");
    }
    check(b"hello, world, how are you?", "the header length is");
}

#[test]
fn headers_that_are_none_are_refused() {
    check(&file("", 0), "its header");
    check(&file("[]", 0), "its header");
    check(
        &file(
            "{\"a\":{\"dtype\":\"F7\",\"shape\":[],\"data_offsets\":[0,0]}}",
            0,
        ),
        "its header",
    );
    check(
        &file(
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
            4,
        ),
        "its header",
    );
    check(&file(&"[".repeat(100_000), 0), "its header");
    check(
        &[&8u64.to_le_bytes()[..], &[0xff; 8]].concat(),
        "its header",
    );
}

#[test]
fn tensors_that_overlap_leave_gaps_or_do_not_fit_are_refused() {
    let pair = |a: &str, b: &str| {
        format!(
            "{{\"a\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":{a}}},\
             \"b\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":{b}}}}}"
        )
    };
    assert!(TensorFile::from_bytes("f", &file(&pair("[0,4]", "[4,8]"), 8)).is_ok());
    for (a, b) in [
        ("[0,4]", "[2,6]"),
        ("[0,4]", "[0,4]"),
        ("[0,4]", "[5,9]"),
        ("[4,0]", "[4,8]"),
        ("[0,8]", "[8,12]"),
        ("[0,4]", "[18446744073709551612,18446744073709551615]"),
    ] {
        check(&file(&pair(a, b), 8), "invalid");
    }
    check(
        &file(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1152921504606846975],\"data_offsets\":[0,1152921504606846975]}}",
            8,
        ),
        "truncated",
    );
}

#[test]
fn what_stands_twice_or_fills_the_memory_is_refused() {
    let tensor = "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
    check(
        &file(&format!("{{\"a\":{tensor},\"a\":{tensor}}}"), 1),
        "`a` stands there twice",
    );
    let notes = format!("{{\"__metadata__\":{{}},\"__metadata__\":{{}},\"a\":{tensor}}}");
    check(&file(&notes, 1), "`__metadata__` stands there twice");
    let sides = tensor.replace("[1]", &format!("[{}1]", "1,".repeat(100)));
    check(
        &file(&format!("{{\"a\":{sides}}}"), 1),
        "101 sides, expected",
    );
    let name = "n".repeat(5000);
    check(
        &file(&format!("{{\"{name}\":{tensor}}}"), 1),
        "5000 bytes and 1 sides",
    );
    check(
        &file(&" ".repeat((16 << 20) + 1), 0),
        "at most 16777216 are read",
    );
}

#[test]
fn shapes_beyond_all_memory_are_refused() {
    let shaped = |shape: &str| {
        file(
            &format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,0]}}}}"),
            0,
        )
    };
    assert!(TensorFile::from_bytes("f", &shaped("[0,3]")).is_ok());
    check(&shaped("[4294967296,4294967296,4294967296]"), "overflow");
    check(
        &shaped("[0,18446744073709551615]"),
        "has shape [0, 18446744073709551615]",
    );
    check(
        &shaped("[0,4294967296,4294967296]"),
        "has shape [0, 4294967296, 4294967296]",
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(at in 0..120usize, value: u8, cut in 0..140usize) {
        let tensors = [("a", Data::of(&[2, 2], &[1f32, 2.0, 3.0, 4.0])), ("b", Data::of(&[1], &[5f32]))];
        let mut bytes = encode("f", &tensors, &[("k", "v")]).unwrap();
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(cut.max(length / 2));
        if let Ok(file) = TensorFile::from_bytes("f", &bytes) {
            for name in file.names() {
                let _ = (file.values::<f32>(&name), file.bytes(&name));
            }
        }
    }
}

/// A header that fits its file, of holes alone.
#[test]
fn a_tensor_of_terabytes_of_holes_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holes.safetensors");
    let size = 8u64 << 40;
    let header =
        format!("{{\"a\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[0,{size}]}}}}");
    let start = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    std::fs::write(&path, &start).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(start.len() as u64 + size).unwrap();
    let error = TensorFile::open(&path).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("the others are holes"), "{source}");
}

#[test]
fn what_is_no_file_or_made_of_holes_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = File::create(&path).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    const HOLES: u64 = 128 << 20;
    for length in [HOLES + (1 << 20), 8 << 40] {
        file.set_len(length).unwrap();
        let said = open_file(&path).unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("{length} bytes, of which ")) && said.contains("holes"),
            "{said}"
        );
    }
    // A short one with a gap, and one of which enough is there, are as good as any.
    for (length, stored) in [(HOLES, 4096), (HOLES + (9 << 20), 9 << 20)] {
        file.set_len(length).unwrap();
        file.write_all_at(&vec![1; stored], length / 2).unwrap();
        let mut start = [0; 5];
        open_file(&path).unwrap().read_exact(&mut start).unwrap();
        assert_eq!(&start, b"start");
    }
    for other in [folder.path(), Path::new("/dev/zero")] {
        let error = open_file(other).unwrap_err().to_string();
        assert!(error.contains("expected a file"), "{error}");
    }
}

/// Whoever cuts a file while it is read gets an error that says so, and no zeros.
#[test]
fn a_file_that_is_cut_while_it_is_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    cedm_tensor_files::write(&path, &[("a", Data::of(&[100], &[7i64; 100]))], &[]).unwrap();
    let file = TensorFile::open(&path).unwrap();
    let length = path.metadata().unwrap().len();
    let cut = File::options().write(true).open(&path).unwrap();
    cut.set_len(length - 8).unwrap();
    let error = file.values::<i64>("a").unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("cut.safetensors"), "{error}");
    assert!(
        source.contains("tensor `a` ends early: the file was cut while it was read"),
        "{source}"
    );
}
