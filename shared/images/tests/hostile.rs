//! Small files that ask for much: memory, time or disk. Each ends in an error that names the file.

#[path = "hostile/pictures.rs"]
mod pictures;
#[path = "hostile/repeats.rs"]
mod repeats;

use cedm_images::{ImageError, ImportOptions, Imported, Limits, import, pickle::Pickle};
use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};
use tar::EntryType;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// One grey pixel.
const IMAGE: &[u8] = b"P5\n1 1\n255\n\x07";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn import(&self, source: &Path, limits: Limits) -> Result<Imported, ImageError> {
        let options = ImportOptions {
            resolution: Some((1, 1)),
            limits,
            ..ImportOptions::default()
        };
        let out = tempfile::tempdir().unwrap();
        let result = import(source, &options, &out.path().join("set"), &mut |_| ());
        // A file of a stranger that cannot be read leaves nothing behind.
        let left = fs::read_dir(out.path()).unwrap().count();
        assert!(left == usize::from(result.is_ok()), "{left} left behind");
        result
    }
    /// An import that must fail, with an error that names the file.
    fn refuses(&self, source: &Path, expected: &str) {
        let error = self.import(source, Limits::default()).unwrap_err();
        let text = error.to_string();
        let name = source.file_name().unwrap().to_string_lossy();
        assert!(
            text.contains(expected) && text.contains(&*name),
            "{name}: {text}"
        );
    }
    /// The names of what an import leaves out.
    fn left_out(&self, source: &Path) -> Vec<String> {
        let imported = self.import(source, Limits::default()).unwrap();
        let mut names: Vec<String> = imported.skipped.into_iter().map(|left| left.name).collect();
        names.sort();
        names
    }
}

fn header(size: u64, kind: EntryType, name: &str, link: &str) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_path(name).unwrap();
    if !link.is_empty() {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    header
}

#[test]
fn a_tar_file_whose_headers_fill_the_memory_is_refused() {
    let place = Place::new();
    for (kind, name) in [
        (EntryType::GNULongName, "name.tar"),
        (EntryType::XHeader, "pax.tar"),
    ] {
        let path = place.path(name);
        let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
        let size = 2 << 20;
        let long = header(size, kind, "long", "");
        archive
            .append(&long, std::io::repeat(b'n').take_exactly(size))
            .unwrap();
        archive
            .append(
                &header(IMAGE.len() as u64, EntryType::Regular, "a.pgm", ""),
                IMAGE,
            )
            .unwrap();
        archive.finish().unwrap();
        place.refuses(
            &path,
            "the headers of a member take more than 1048576 bytes",
        );
    }
}

trait Exactly: std::io::Read + Sized {
    fn take_exactly(self, size: u64) -> std::io::Take<Self> {
        self.take(size)
    }
}
impl Exactly for std::io::Repeat {}

#[test]
fn what_is_no_plain_file_of_a_tar_file_is_named() {
    let place = Place::new();
    let path = place.path("a.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    archive
        .append(
            &header(IMAGE.len() as u64, EntryType::Regular, "a.pgm", ""),
            IMAGE,
        )
        .unwrap();
    archive
        .append(&header(0, EntryType::Fifo, "fifo.pgm", ""), &[][..])
        .unwrap();
    archive
        .append(&header(0, EntryType::Char, "char.pgm", ""), &[][..])
        .unwrap();
    archive
        .append_pax_extensions([("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")])
        .unwrap();
    archive
        .append(
            &header(IMAGE.len() as u64, EntryType::Regular, "holes.pgm", ""),
            IMAGE,
        )
        .unwrap();
    archive.finish().unwrap();
    assert_eq!(place.left_out(&path), ["char.pgm", "fifo.pgm", "holes.pgm"]);
}

#[test]
fn links_that_multiply_an_archive_are_refused() {
    let place = Place::new();
    let path = place.path("links.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    for index in 0..400 {
        let name = format!("d/{index}.pgm");
        archive
            .append(
                &header(IMAGE.len() as u64, EntryType::Regular, &name, ""),
                IMAGE,
            )
            .unwrap();
    }
    for index in 0..400 {
        archive
            .append(
                &header(0, EntryType::Symlink, &format!("l{index}"), "d"),
                &[][..],
            )
            .unwrap();
    }
    archive.finish().unwrap();
    place.refuses(
        &path,
        "its links stand for more than 100000 members, of 400 in the archive",
    );
}

#[test]
fn a_folder_of_pipes_sockets_and_loops_is_read_without_waiting() {
    let place = Place::new();
    let folder = place.path("set");
    fs::create_dir_all(folder.join("a")).unwrap();
    fs::write(folder.join("a/1.pgm"), IMAGE).unwrap();
    symlink("..", folder.join("a/up")).unwrap();
    symlink(".", folder.join("a/self")).unwrap();
    let _socket = UnixListener::bind(folder.join("socket.pgm")).unwrap();
    let pipe = folder.join("pipe.pgm");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    // A file of labels that is none is no file of labels.
    let labels = folder.join("dataset.json");
    std::process::Command::new("mkfifo")
        .arg(&labels)
        .status()
        .unwrap();
    assert_eq!(
        place.left_out(&folder),
        ["a/self", "a/up", "dataset.json", "pipe.pgm", "socket.pgm"]
    );
    place.refuses(&pipe, "pipe.pgm: a named pipe, a socket or a device");
    place.refuses(
        Path::new("/dev/zero"),
        "/dev/zero: a named pipe, a socket or a device",
    );
}

#[test]
fn of_two_different_labels_of_an_image_none_is_taken() {
    let place = Place::new();
    let path = place.path("set.zip");
    for (name, text, expected) in [
        (
            "dataset.json",
            r#"{"labels": [["a.pgm", 0], ["a.pgm", 1]]}"#,
            "`a.pgm` stands there twice",
        ),
        (
            "metadata.csv",
            "file_name,label\na.pgm,0\na.pgm,1\n",
            "`a.pgm` stands there twice",
        ),
        (
            "metadata.csv",
            "file_name,label,label\na.pgm,0,1\n",
            "two columns `label`",
        ),
    ] {
        archive(&path, &[("a.pgm", IMAGE), (name, text.as_bytes())]);
        place.refuses(&path, expected);
    }
}

/// An archive of these members, deflated.
fn archive(path: &Path, members: &[(&str, &[u8])]) {
    let mut archive = ZipWriter::new(fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in members {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn labels_whose_values_fill_the_memory_are_refused_before_they_are_parsed() {
    let place = Place::new();
    let path = place.path("set.zip");
    let lists = format!("{{\"labels\": [{}[]]}}", "[],".repeat(4 << 20));
    let rows = "{\"file_name\":\"\"}\n".repeat(1 << 20);
    for (name, text, expected) in [
        ("dataset.json", lists.as_str(), "its values take some"),
        ("labels.json", &lists, "its values take some"),
        ("metadata.jsonl", &rows, "its values take some"),
        (
            "dataset.json",
            &" ".repeat(65 << 20),
            "68157440 bytes for 1 images",
        ),
        ("dataset.json", &"[".repeat(1 << 20), "recursion limit"),
    ] {
        archive(&path, &[("a.pgm", IMAGE), (name, text.as_bytes())]);
        place.refuses(&path, expected);
    }
}

#[test]
fn a_zip_archive_whose_members_expand_together_is_refused() {
    let place = Place::new();
    let path = place.path("bomb.zip");
    let large = vec![0; 1 << 20];
    archive(
        &path,
        &[("a.pgm", &large), ("b.pgm", &large), ("c.pgm", &large)],
    );
    let tight = Limits {
        expanded_bytes: 2 << 20,
        ..Limits::default()
    };
    let error = place.import(&path, tight).unwrap_err().to_string();
    assert!(
        error.contains("bomb.zip exceeds the limit of 2097152 bytes"),
        "{error}"
    );
}

/// An archive of eight images of 2000 × 2000 pixels of one colour; returns the bytes of each file.
fn flat_images(path: &Path) -> u64 {
    let mut png = Vec::new();
    let pixels = image::GrayImage::new(2000, 2000);
    pixels
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    let names: Vec<String> = (0..8).map(|index| format!("{index}.png")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &png[..])).collect();
    archive(path, &members);
    png.len() as u64
}

/// Images of one colour in a large frame, each within the limits.
#[test]
fn images_that_decode_to_far_more_than_they_take_are_refused_together() {
    let place = Place::new();
    let path = place.path("flat.zip");
    flat_images(&path);
    let tight = Limits {
        all_decoded_bytes: 16 << 20,
        decoded_expansion: 100,
        ..Limits::default()
    };
    let error = place.import(&path, tight).unwrap_err().to_string();
    assert!(
        error.contains("flat.zip") && error.contains("16777216 bytes"),
        "{error}"
    );
    assert_eq!(place.import(&path, Limits::default()).unwrap().set.count, 8);
}

/// Whoever cuts an archive while it is read does not get a smaller set, nor one of damaged images.
#[test]
fn an_archive_that_changes_while_it_is_read_is_refused() {
    let place = Place::new();
    let path = place.path("set.tar");
    for grows in [false, true] {
        let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
        for index in 0..1000 {
            let name = format!("{index}.pgm");
            tar.append(
                &header(IMAGE.len() as u64, EntryType::Regular, &name, ""),
                IMAGE,
            )
            .unwrap();
        }
        tar.finish().unwrap();
        drop(tar);
        let length = fs::metadata(&path).unwrap().len();
        let out = place.path("out");
        let error = import(&path, &ImportOptions::default(), &out, &mut |_| {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(if grows { length + 512 } else { length / 2 })
                .unwrap();
        });
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("set.tar")
                && text.contains(&format!("changed while it was read: it had {length} bytes")),
            "{text}"
        );
        assert!(!out.exists() && !place.path("out.partial").exists());
    }
}

/// Each image is within the limits, and so is what the archive unpacks to: both together are not.
#[test]
fn images_that_are_compressed_twice_are_held_against_their_archive() {
    let place = Place::new();
    let path = place.path("twice.zip");
    let png_bytes = flat_images(&path);
    let packed = fs::metadata(&path).unwrap().len();
    let expansion = 4_000_000 / png_bytes + 1;
    assert!(
        packed * expansion < 16_000_000,
        "it is not compressed twice"
    );
    let tight = Limits {
        all_decoded_bytes: 1 << 20,
        decoded_expansion: expansion,
        ..Limits::default()
    };
    let error = place.import(&path, tight).unwrap_err().to_string();
    assert!(
        error.contains("twice.zip") && error.contains(&format!("of {packed} bytes")),
        "{error}"
    );
}

#[test]
fn pickles_that_repeat_what_is_given_once_are_refused() {
    let text = |length: usize| [b"V", &vec![b'm'; length][..], b"\n"].concat();
    let globals = [b"\x80\x02", &text(2000)[..], b"q\x01h\x01\x93."].concat();
    let lists = [
        b"\x80\x02Nq\x01",
        &b"(h\x01h\x01h\x01h\x01t0".repeat(5_000_000)[..],
        b".",
    ]
    .concat();
    let memo: Vec<u8> = (0..2_000_002u32)
        .flat_map(|key| [&b"r"[..], &key.to_le_bytes()].concat())
        .collect();
    for (bytes, expected) in [
        (globals, "the name of a class or function has 2000 bytes"),
        (
            [b"\x80\x02c", &vec![b'm'; 2000][..], b"\nx\n."].concat(),
            "has 2000 bytes",
        ),
        (lists, "more than "),
        (
            [b"\x80\x02N", &memo[..], b"."].concat(),
            "entries of the memo",
        ),
        (
            b"\x80\x02}(X\x01\0\0\0au.".to_vec(),
            "a key of a dict has no value",
        ),
        (b"\x80\x02X\xff\xff\xff\xff.".to_vec(), "ends early"),
        (b"\x80\x02\x8b\xff\xff\xff\xff.".to_vec(), "ends early"),
        (b"\x80\x02\x82\x01.".to_vec(), "unknown opcode 0x82"),
    ] {
        let error = Pickle::read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
