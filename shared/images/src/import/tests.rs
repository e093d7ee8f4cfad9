//! Imports of every format: the same images must give the same digest in each of them.

use super::*;
use crate::{Channels, Framing, Split, export_edm_archive};
use image::{ExtendedColorType, ImageEncoder};
use std::{fs::File, io::Cursor};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const COUNT: usize = 23;

/// A different 4×4 RGB image for each index.
fn pixels(index: usize) -> Vec<u8> {
    (0..48).map(|at| (index * 31 + at * 7) as u8).collect()
}
fn png(index: usize) -> Vec<u8> {
    encoded(&pixels(index), 4, 4, ExtendedColorType::Rgb8)
}
fn encoded(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new(&mut out)
        .write_image(pixels, width, height, color)
        .unwrap();
    out
}
fn name(index: usize) -> String {
    format!("00000/img{index:08}.png")
}
fn dataset_json() -> Vec<u8> {
    let labels: Vec<_> = (0..COUNT).map(|index| (name(index), index % 3)).collect();
    serde_json::json!({ "labels": labels })
        .to_string()
        .into_bytes()
}
/// Members in a scrambled order.
fn members() -> Vec<(String, Vec<u8>)> {
    let mut members: Vec<_> = (0..COUNT)
        .map(|index| index * 7 % COUNT)
        .map(|index| (name(index), png(index)))
        .collect();
    members.insert(5, ("dataset.json".to_owned(), dataset_json()));
    members
}
fn zip_of(path: &Path, members: &[(String, Vec<u8>)], method: CompressionMethod) {
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in members {
        archive
            .start_file(
                &**name,
                SimpleFileOptions::default().compression_method(method),
            )
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}
fn tar_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, Cursor::new(bytes))
            .unwrap();
    }
    archive.into_inner().unwrap()
}
fn folder_of(path: &Path, members: &[(String, Vec<u8>)]) {
    for (name, bytes) in members {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}
fn quiet(source: &Path, options: &ImportOptions) -> Result<Imported, ImageError> {
    let out = tempfile::tempdir().unwrap();
    import(source, options, &out.path().join("set"), &mut |_| {})
}
fn options() -> ImportOptions {
    ImportOptions {
        shard_size: 10,
        ..ImportOptions::default()
    }
}

#[test]
fn content_does_not_depend_on_container_or_shard_size() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    zip_of(&at("stored.zip"), &members(), CompressionMethod::Stored);
    zip_of(&at("deflated.zip"), &members(), CompressionMethod::Deflated);
    folder_of(&at("folder"), &members());
    let tar = tar_of(&members());
    fs::write(at("plain.tar"), &tar).unwrap();
    fs::write(at("packed.tar.zst"), zstd::encode_all(&tar[..], 3).unwrap()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    fs::write(at("packed.tar.gz"), gzip.finish().unwrap()).unwrap();
    let first = quiet(&at("stored.zip"), &options()).unwrap();
    assert_eq!(
        (
            first.set.count,
            first.set.channels,
            first.set.resolution,
            first.set.classes
        ),
        (COUNT as u64, 3, 4, 3)
    );
    assert_eq!(
        first
            .set
            .shards
            .iter()
            .map(|shard| (shard.first, shard.count))
            .collect::<Vec<_>>(),
        [(0, 10), (10, 10), (20, 3)]
    );
    for name in [
        "deflated.zip",
        "folder",
        "plain.tar",
        "packed.tar.zst",
        "packed.tar.gz",
    ] {
        let other = quiet(&at(name), &options()).unwrap();
        assert_eq!(
            (&other.set, &other.labels),
            (&first.set, &first.labels),
            "{name}"
        );
    }
    for (shard_size, threads) in [(7, 1), (4096, 3)] {
        let other = quiet(
            &at("folder"),
            &ImportOptions {
                shard_size,
                threads,
                ..options()
            },
        )
        .unwrap();
        assert_eq!(
            (&other.set.content, &other.labels),
            (&first.set.content, &first.labels)
        );
    }
}

#[test]
fn shards_hold_planes_labels_and_digests_in_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    folder_of(&folder.path().join("in"), &members());
    let out = folder.path().join("out");
    let mut seen = Vec::new();
    let imported = import(
        &folder.path().join("in"),
        &options(),
        &out,
        &mut |progress| seen.push(progress.done),
    )
    .unwrap();
    assert_eq!(seen, [10, 20, 23]);
    let last = read_shard(&out.join(&imported.set.shards[2].object.object)).unwrap();
    assert_eq!(last.labels, Some(vec![2, 0, 1]));
    let planes = crate::Picture::new(4, 4, 3, pixels(21))
        .unwrap()
        .to_planes();
    assert_eq!(last.image(1), planes);
    assert_eq!(last.digests[32..64], crate::image_digest(3, 4, &planes));
    let names = fs::read_to_string(out.join(NAMES)).unwrap();
    assert_eq!(names.lines().nth(21), Some("\"00000/img00000021.png\""));
    let record: Imported =
        serde_json::from_slice(&fs::read(out.join(IMPORT_RECORD)).unwrap()).unwrap();
    assert_eq!(record, imported);
    assert!(!partial_of(&out).exists() && !out.join("journal.jsonl").exists());
}

#[test]
fn exports_import_as_the_same_set() {
    let folder = tempfile::tempdir().unwrap();
    folder_of(&folder.path().join("in"), &members());
    let out = folder.path().join("out");
    let imported = import(&folder.path().join("in"), &options(), &out, &mut |_| {}).unwrap();
    let archive = folder.path().join("edm.zip");
    export_edm_archive(&imported.set, &out, &archive).unwrap();
    assert_eq!(quiet(&archive, &options()).unwrap().set, imported.set);
}

#[test]
fn numpy_arrays_cifar_files_and_class_folders_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    folder_of(&at("folder"), &members());
    let expect = quiet(&at("folder"), &options()).unwrap();
    let npy = |shape: &str, dtype: &str, data: &[u8]| {
        let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        let text = format!("{text:<117}\n");
        [
            b"\x93NUMPY\x01\x00",
            (text.len() as u16).to_le_bytes().as_slice(),
            text.as_bytes(),
            data,
        ]
        .concat()
    };
    let data: Vec<u8> = (0..COUNT).flat_map(pixels).collect();
    let labels: Vec<u8> = (0..COUNT)
        .flat_map(|index| (index as i64 % 3).to_le_bytes())
        .collect();
    let last = npy("(23, 4, 4, 3)", "|u1", &data);
    let planes: Vec<u8> = (0..COUNT)
        .flat_map(|index| {
            crate::Picture::new(4, 4, 3, pixels(index))
                .unwrap()
                .to_planes()
        })
        .collect();
    let first = npy("(23, 3, 4, 4)", "|u1", &planes);
    fs::write(at("a.npy"), &last).unwrap();
    assert_eq!(
        quiet(&at("a.npy"), &options()).unwrap().set.content,
        expect.set.content
    );
    for (images, method) in [
        (&last, CompressionMethod::Stored),
        (&first, CompressionMethod::Deflated),
    ] {
        let arrays = [
            ("images.npy".to_owned(), images.clone()),
            ("labels.npy".to_owned(), npy("(23,)", "<i8", &labels)),
        ];
        zip_of(&at("a.npz"), &arrays, method);
        assert_eq!(quiet(&at("a.npz"), &options()).unwrap().set, expect.set);
    }
    fs::write(at("short.npy"), &last[..last.len() - 1]).unwrap();
    assert!(
        quiet(&at("short.npy"), &options())
            .unwrap_err()
            .to_string()
            .contains("truncated")
    );

    let record = |label: u8, index: usize| {
        [
            vec![label + 10, label],
            (0..3072).map(|at| (at * 3 + index) as u8).collect(),
        ]
        .concat()
    };
    let train: Vec<u8> = (0..6)
        .flat_map(|index| record(index as u8 % 4, index))
        .collect();
    let files = [
        ("cifar-100-binary/train.bin".to_owned(), train),
        (
            "cifar-100-binary/fine_label_names.txt".to_owned(),
            b"a\nb\nc\nd\n".to_vec(),
        ),
    ];
    fs::write(at("cifar.tar"), tar_of(&files)).unwrap();
    let cifar = quiet(&at("cifar.tar"), &options()).unwrap().set;
    assert_eq!(
        (
            cifar.count,
            cifar.classes,
            cifar.coarse_classes,
            cifar.resolution
        ),
        (6, 4, 14, 32)
    );
    assert_eq!(cifar.class_names, ["a", "b", "c", "d"]);
    let error = quiet(
        &at("cifar.tar"),
        &ImportOptions {
            split: Split::Test,
            ..options()
        },
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("`test.bin` is missing"),
        "{error}"
    );

    folder_of(
        &at("classes"),
        &[
            ("dog/1.png".to_owned(), png(1)),
            ("cat/9.png".to_owned(), png(2)),
            ("dog/0.png".to_owned(), png(3)),
        ],
    );
    let classes = quiet(&at("classes"), &options()).unwrap().set;
    assert_eq!(
        (classes.classes, classes.class_names),
        (2, vec!["cat".to_owned(), "dog".to_owned()])
    );

    let records: Vec<(String, Vec<u8>)> = (0..4)
        .flat_map(|index| {
            [
                (format!("{index:04}.png"), png(index)),
                (format!("{index:04}.cls"), index.to_string().into_bytes()),
            ]
        })
        .collect();
    fs::create_dir(at("shards")).unwrap();
    fs::write(at("shards/a-0.tar"), tar_of(&records[..4])).unwrap();
    fs::write(at("shards/a-1.tar"), tar_of(&records[4..])).unwrap();
    assert_eq!(quiet(&at("shards"), &options()).unwrap().set.classes, 4);
}

#[test]
fn an_interrupted_import_continues_after_its_last_shard() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in");
    let mut some = members();
    some[2].1.truncate(30);
    folder_of(&source, &some);
    let whole = folder.path().join("whole");
    let expect = import(&source, &options(), &whole, &mut |_| {}).unwrap();
    let out = folder.path().join("out");
    let stopped = std::panic::catch_unwind(|| {
        import(&source, &options(), &out, &mut |progress| {
            assert!(progress.done < 20, "power cut")
        })
    });
    assert!(stopped.is_err() && !out.exists());
    let mut seen = Vec::new();
    let resumed = import(&source, &options(), &out, &mut |progress| {
        seen.push(progress.done)
    })
    .unwrap();
    assert!(seen[0] > 10, "the first shard was not made again: {seen:?}");
    assert_eq!(
        (&resumed.set, &resumed.labels, &resumed.skipped),
        (&expect.set, &expect.labels, &expect.skipped)
    );
    assert_eq!(
        fs::read(out.join(NAMES)).unwrap(),
        fs::read(whole.join(NAMES)).unwrap()
    );

    // Other options are another import: nothing of the old one is used.
    let again = folder.path().join("again");
    let stopped = std::panic::catch_unwind(|| {
        import(&source, &options(), &again, &mut |progress| {
            assert!(progress.done < 20, "power cut")
        })
    });
    assert!(stopped.is_err());
    let grey = ImportOptions {
        channels: Channels::Grey,
        ..options()
    };
    assert_eq!(
        import(&source, &grey, &again, &mut |_| {})
            .unwrap()
            .set
            .channels,
        1
    );
}

/// Labels that are vectors are kept in the order of the images that were imported.
#[test]
fn label_vectors_are_kept_in_the_order_of_the_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut some: Vec<_> = (0..5).map(|index| (name(index), png(index))).collect();
    some[1].1.truncate(40);
    let labels: Vec<_> = (0..5)
        .map(|index| (name(index), [index as f64 / 2.0, 1.0]))
        .collect();
    let json = serde_json::json!({ "labels": labels })
        .to_string()
        .into_bytes();
    some.push(("dataset.json".to_owned(), json));
    let source = folder.path().join("set.zip");
    zip_of(&source, &some, CompressionMethod::Stored);
    let out = folder.path().join("out");
    let imported = import(&source, &options(), &out, &mut |_| {}).unwrap();
    assert_eq!((imported.set.count, imported.set.classes), (4, 0));
    let path = out.join("vectors.safetensors");
    let file = cedm_tensor_files::TensorFile::open(&path).unwrap();
    let values = file.values::<f32>("vectors").unwrap();
    assert_eq!(values, [0.0, 1.0, 1.0, 1.0, 1.5, 1.0, 2.0, 1.0]);
}

mod errors;
mod pixels;
