//! Sources that could be read in two ways, tar files in tar files, and links.

use super::*;
use cedm_images::ReadAs;
use std::os::unix::fs::symlink;

fn read_as(way: ReadAs) -> ImportOptions {
    ImportOptions {
        read_as: Some(way),
        ..ImportOptions::default()
    }
}

#[test]
fn two_ways_to_read_a_source_are_named_with_the_option_that_chooses() {
    let place = Place::new();
    let plain = ImportOptions::default();
    let (mnist, _) = mnist();
    let (array, _) = array_and_labels();
    let shard = tar(&with(named(&["0.png"]), "0.cls", "7"));
    let table = b"PAR1".to_vec();
    let batch = b"x".to_vec();
    let picture = ("sample.png", png(1));
    for (at, (first, second, ways)) in [
        (
            picture.clone(),
            ("train-00000.parquet", table.clone()),
            ["images", "tables"],
        ),
        (
            picture.clone(),
            ("data/train-00000.parquet", table.clone()),
            ["images", "tables"],
        ),
        (
            ("s0.tar", shard.clone()),
            ("x.parquet", table),
            ["shards", "tables"],
        ),
        (
            picture.clone(),
            ("data.mdb", batch.clone()),
            ["images", "database"],
        ),
        (
            picture.clone(),
            ("data_batch_1", batch.clone()),
            ["images", "cifar"],
        ),
        (
            picture.clone(),
            ("train-images-idx3-ubyte", mnist),
            ["images", "idx"],
        ),
        (picture.clone(), ("images.npy", array), ["images", "arrays"]),
        (
            picture.clone(),
            ("train/s0.tar", shard.clone()),
            ["images", "shards"],
        ),
        (
            picture.clone(),
            ("s0.TAR", shard.clone()),
            ["images", "shards"],
        ),
        (
            ("vis/deep/x.png", png(2)),
            ("s0.tar", shard.clone()),
            ["images", "shards"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let file = |(name, bytes): (&str, Vec<u8>)| (name.to_owned(), bytes);
        let names = [first.0, second.0];
        let files = vec![file(first), file(second)];
        let path = place.folder(&format!("two{at}"), &files);
        let options = ways.map(|way| format!("--read-as {way}"));
        place.refuses(
            &path,
            &plain,
            &[&options[0], &options[1], names[0], names[1]],
        );
        if ways[0] == "images" {
            let set = place.import(&path, &read_as(ReadAs::Images)).unwrap();
            assert_eq!(set.names, [names[0]]);
        }
        if ways[1] == "shards" {
            let set = place.import(&path, &read_as(ReadAs::Shards)).unwrap();
            assert_eq!(
                (set.names, set.labels),
                (vec!["s0/0.png".to_owned()], vec![7])
            );
        }
    }
    let path = place.folder("absent", &named(&["a.png"]));
    place.refuses(
        &path,
        &read_as(ReadAs::Tables),
        &["no parquet files", "--read-as images"],
    );
}

#[test]
fn two_sets_of_one_kind_are_named_with_their_folders() {
    let place = Place::new();
    let plain = ImportOptions::default();
    let (images, labels) = mnist();
    let files = ["MNIST/raw", "FashionMNIST/raw"].iter().flat_map(|folder| {
        [
            (format!("{folder}/train-images-idx3-ubyte"), images.clone()),
            (format!("{folder}/train-labels-idx1-ubyte"), labels.clone()),
        ]
    });
    let path = place.folder("mnist", &files.collect());
    place.refuses(&path, &plain, &["FashionMNIST", "`MNIST/", "--inside"]);
    let inside = |folder: &str| ImportOptions {
        inside: Some(folder.to_owned()),
        ..ImportOptions::default()
    };
    assert_eq!(
        place.import(&path, &inside("MNIST")).unwrap().labels,
        [5, 0, 4]
    );
    // The same files packed and expanded are one set.
    let files = vec![
        ("raw/train-images-idx3-ubyte".to_owned(), images.clone()),
        ("raw/train-images-idx3-ubyte.gz".to_owned(), images),
        ("raw/train-labels-idx1-ubyte".to_owned(), labels),
    ];
    assert_eq!(place.read(&place.folder("raw", &files)).labels, [5, 0, 4]);

    let record = |head: usize| vec![1; head + 3072];
    let cifar = vec![
        ("ten/data_batch_1.bin".to_owned(), record(1)),
        ("hundred/train.bin".to_owned(), record(2)),
        ("hundred/fine_label_names.txt".to_owned(), b"a".to_vec()),
    ];
    let path = place.folder("cifar", &cifar);
    place.refuses(&path, &plain, &["`hundred`", "`ten`", "--inside"]);
    assert_eq!(place.import(&path, &inside("hundred")).unwrap().labels, [1]);

    let shard = tar(&with(named(&["0.png"]), "0.cls", "7"));
    let parts = ["train/s0.tar", "val/s0.tar"].map(|name| (name.to_owned(), shard.clone()));
    let path = place.folder("parts", &parts.to_vec());
    place.refuses(&path, &plain, &["--inside", "`train`", "`val`"]);
    assert_eq!(place.import(&path, &inside("val")).unwrap().labels, [7]);
}

#[test]
fn sets_beside_images_are_listed() {
    let place = Place::new();
    let files = named(&["a.png", "set.zip", "x.npz", "more/latents.npy"]);
    let set = place.read(&place.folder("set", &files));
    assert_eq!(set.names, ["a.png"]);
    assert_eq!(set.left_out(), ["more/latents.npy", "set.zip", "x.npz"]);
}

#[test]
fn tar_files_in_a_tar_file_are_classes_whatever_lies_beside_them() {
    let place = Place::new();
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let inner = |at: u8| tar(&vec![(format!("{at}.png"), png(at))]);
    let set = |ending: &str, pack: &dyn Fn(&[u8]) -> Vec<u8>| -> Files {
        let file = |at: u8| (format!("n{at}{ending}"), pack(&inner(at)));
        vec![file(1), file(2)]
    };
    let plain = |bytes: &[u8]| bytes.to_vec();
    for (at, files) in [
        with(set(".tar", &plain), "README.txt", "x"),
        with(with(set(".tar", &plain), ".DS_Store", "x"), "._n1.tar", "x"),
        set(".TAR", &plain),
        set(".tar.gz", &gzip),
    ]
    .iter()
    .enumerate()
    {
        for path in [
            place.file(&format!("{at}.tar"), tar(files)),
            place.file(&format!("{at}.zip"), zip(files)),
            place.folder(&format!("{at}"), files),
        ] {
            let read = place.read(&path);
            // A folder of tar files that differ in their numbers is one of shards.
            if path.is_file() {
                assert_eq!(read.classes(), ["n1", "n2"], "{}", path.display());
            }
            assert_eq!(read.names, ["n1/1.png", "n2/2.png"]);
        }
    }
    let beside = place.file(
        "beside.tar",
        tar(&with(set(".tar", &plain), "grid.png", png(9))),
    );
    place.refuses(
        &beside,
        &ImportOptions::default(),
        &["grid.png", "--read-as shards"],
    );
    let read = place.import(&beside, &read_as(ReadAs::Shards)).unwrap();
    assert_eq!(
        (read.classes(), read.left_out()),
        (vec!["n1", "n2"], vec!["grid.png"])
    );
}

#[test]
fn a_folder_of_tar_files_has_the_classes_of_its_tar_files() {
    let place = Place::new();
    let one = |at: u8| tar(&vec![("0.png".to_owned(), png(at))]);
    let files = vec![
        ("cat.tar".to_owned(), one(1)),
        ("dog.tar".to_owned(), one(2)),
    ];
    let set = place.read(&place.folder("two", &files));
    assert_eq!(
        (set.classes(), set.labels.clone()),
        (vec!["cat", "dog"], vec![0, 1])
    );
    let inner = tar(&named(&["cat/0.png", "dog/1.png"]));
    let set = place.read(&place.folder("one", &vec![("all.tar".to_owned(), inner)]));
    assert_eq!(set.classes(), ["cat", "dog"]);
    // Shards and parts are no classes.
    for names in [["s-000.tar", "s-001.tar"], ["train.tar", "val.tar"]] {
        let files = names.map(|name| (name.to_owned(), one(3)));
        let set = place.read(&place.folder(names[0], &files.to_vec()));
        assert!(set.labels.is_empty(), "{names:?}");
    }
}

#[test]
fn links_to_one_folder_are_as_many_folders_and_cycles_end() {
    let place = Place::new();
    let root = place.folder("set", &named(&["cat/0.png", "dog/1.png"]));
    symlink("cat", root.join("l1")).unwrap();
    symlink("cat", root.join("l2")).unwrap();
    let set = place.read(&root);
    assert_eq!(set.classes(), ["cat", "dog", "l1", "l2"]);
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", &root).unwrap();
    let packed = place.read(&place.file("set.tar", archive.into_inner().unwrap()));
    assert_eq!(packed.imported.set, set.imported.set);
    // Two folders whose links lead to each other.
    symlink("../dog", root.join("cat/other")).unwrap();
    symlink("../cat", root.join("dog/other")).unwrap();
    symlink("..", root.join("dog/up")).unwrap();
    let set = place.read(&root);
    assert!(
        set.names.contains(&"cat/other/1.png".to_owned()),
        "{:?}",
        set.names
    );
    assert!(
        set.imported
            .skipped
            .iter()
            .all(|left| left.reason.contains("lies in"))
    );
}

#[test]
fn old_and_updated_tar_files_are_read() {
    let place = Place::new();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in named(&["cat/0.png", "dog/1.png"]) {
        let mut header = tar::Header::new_old();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    let set = place.read(&place.file("v7.tar", archive.into_inner().unwrap()));
    assert_eq!(set.classes(), ["cat", "dog"]);
    let files = named(&["cat/0.png", "cat/0.png", "dog/1.png"]);
    let updated = place.read(&place.file("updated.tar", tar(&files)));
    assert_eq!(updated.left_out(), ["cat/0.png"]);
    let last = place.read(&place.file("last.tar", tar(&files[1..].to_vec())));
    assert_eq!(updated.imported.set, last.imported.set);
}
