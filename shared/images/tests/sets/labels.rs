//! Where labels come from.

use super::*;

#[test]
fn what_lies_beside_a_folder_around_all_images_changes_no_class() {
    let place = Place::new();
    let set = named(&["set/cat/0.png", "set/dog/1.png"]);
    for (at, other) in ["README.md", "LICENSE", "set.md5", "other/a.txt"]
        .iter()
        .enumerate()
    {
        for path in place.all(&format!("set{at}"), &with(set.clone(), other, "x")) {
            assert_eq!(place.read(&path).classes(), ["cat", "dog"], "{other}");
        }
    }
    let json = r#"{"labels": [["cat/0.png", 1], ["dog/1.png", 0]]}"#;
    let files = with(with(set, "README.md", "x"), "set/dataset.json", json);
    for path in place.all("json", &files) {
        assert_eq!(place.read(&path).labels, [1, 0]);
    }
    // The images all lie in one folder below that of the list.
    let block = named(&["set/00000/0.png", "set/00000/1.png", "README.md"]);
    let json = r#"{"labels": [["00000/0.png", 1], ["00000/1.png", 0]]}"#;
    for path in place.all("block", &with(block, "set/dataset.json", json)) {
        assert_eq!(place.read(&path).labels, [1, 0]);
    }
    let seeds = named(&["set/0000000/0.png", "set/0000000/1.png", "README.md"]);
    for path in place.all(
        "seeds",
        &with(seeds, "set/labels.json", r#"{"0": 4, "1": 2}"#),
    ) {
        assert_eq!(place.read(&path).labels, [4, 2]);
    }
}

#[test]
fn fields_beside_images_are_labels_in_every_container() {
    let place = Place::new();
    let images = named(&["0.png", "1.png"]);
    let cls = with(with(images.clone(), "0.cls", "3"), "1.cls", "1");
    let read: Vec<Set> = place
        .all("cls", &cls)
        .iter()
        .map(|path| place.read(path))
        .collect();
    for set in &read {
        assert_eq!(set.labels, [3, 1]);
        assert_eq!(set.imported.set, read[0].imported.set);
    }
    let json = with(images.clone(), "0.json", r#"{"label": 3}"#);
    let json = with(json, "1.json", r#"{"label": 1}"#);
    for path in place.all("json", &json) {
        let set = place.import(&path, &label_field("label")).unwrap();
        assert_eq!(set.labels, [3, 1]);
        place.refuses(&path, &label_field("nokey"), &["`nokey`", "`label`"]);
    }
    let txt = with(with(images, "0.txt", "3"), "1.txt", "1");
    for path in place.all("txt", &txt) {
        assert_eq!(
            place.import(&path, &label_field("txt")).unwrap().labels,
            [3, 1]
        );
    }
    let shards = place.folder("shards", &vec![]);
    place.file("shards/a-000.tar", tar(&json));
    place.refuses(&shards, &label_field("nokey"), &["`nokey`", "`label`"]);
}

#[test]
fn samples_without_an_image_are_listed() {
    let place = Place::new();
    let files = named(&["0.png", "2.jxx", "3.npy"]);
    let files = ["0", "1", "2", "3"]
        .iter()
        .fold(files, |files, key| with(files, &format!("{key}.cls"), "1"));
    for path in place.all("lost", &files) {
        let set = place.read(&path);
        assert_eq!(set.names, ["0.png"]);
        assert_eq!(set.left_out(), ["1", "2", "3"]);
        assert!(set.imported.skipped[1].reason.contains("jxx"));
    }
    let sides = named(&["0.left.png", "0.right.png", "1.right.png"]);
    let sides = with(with(sides, "0.cls", "1"), "1.cls", "2");
    let left = ImportOptions {
        image_field: Some("left.png".to_owned()),
        ..ImportOptions::default()
    };
    for path in place.all("sides", &sides) {
        let set = place.import(&path, &left).unwrap();
        assert_eq!((set.names.len(), set.left_out()), (1, vec!["1"]));
        assert!(set.imported.skipped[0].reason.contains("left.png"));
    }
}

#[test]
fn rows_of_metadata_are_matched_and_counted() {
    let place = Place::new();
    let set = |name: &str, rows: &str| {
        let images = named(&["a.png", "b.png"]);
        place.folder(
            name,
            &with(images, "metadata.csv", format!("file_name,label\n{rows}")),
        )
    };
    let dots = place.read(&set("dots", "./a.png,1\n./b.png,0\n"));
    assert_eq!(dots.labels, [1, 0]);
    let floats = place.read(&set("floats", "a.png,10.0\nb.png,2.0\n"));
    assert_eq!(
        (floats.labels, floats.imported.set.class_names.len()),
        (vec![10, 2], 0)
    );
    let more = place.read(&set("more", "a.png,1\nb.png,0\nc.png,0\n"));
    assert!(more.notes().contains("1 rows"), "{}", more.notes());
    let none = set("none", "x/a.png,1\nx/b.png,0\n");
    place.refuses(
        &none,
        &ImportOptions::default(),
        &["none of its 2 names", "metadata.csv"],
    );
}

#[test]
fn files_that_may_hold_labels_are_told() {
    let place = Place::new();
    for name in ["labels.npy", "labels.pkl", "annotations.txt", "train.txt"] {
        let path = place.folder(name, &named(&["a.png", "b.png", name]));
        let set = place.read(&path);
        assert!(set.notes().contains(name), "{name}: {}", set.notes());
    }
    let (images, labels) = array_and_labels();
    for name in ["fine_labels", "label_ids", "class", "Labels", "Y"] {
        let files = vec![
            ("images.npy".to_owned(), images.clone()),
            (format!("{name}.npy"), labels.clone()),
        ];
        let set = place.read(&place.file("set.npz", zip(&files)));
        assert!(set.labels.is_empty());
        assert!(set.notes().contains(name), "{name}: {}", set.notes());
    }
    place.file("pair/y.npy", labels);
    let set = place.read(&place.file("pair/x.npy", images));
    assert!(set.notes().contains("`y.npy`"), "{}", set.notes());
}

#[test]
fn mnist_under_its_other_names_has_its_labels() {
    let place = Place::new();
    let (images, labels) = mnist();
    let rows: Vec<u8> = [5u32, 0, 4]
        .iter()
        .flat_map(|n| [n.to_be_bytes(), [0; 4]].concat())
        .collect();
    let qmnist = idx([0, 0, 12, 2], &[3, 2], &rows);
    for (at, (first, second, labels)) in [
        (
            "train-images.idx3-ubyte",
            "train-labels.idx1-ubyte",
            &labels,
        ),
        (
            "Train-Images-IDX3-ubyte",
            "Train-Labels-IDX1-ubyte",
            &labels,
        ),
        (
            "qmnist-train-images-idx3-ubyte",
            "qmnist-train-labels-idx2-int",
            &qmnist,
        ),
        (
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
            &labels,
        ),
        (
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels.idx1-ubyte",
            &labels,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let files = vec![
            (first.to_owned(), images.clone()),
            (second.to_owned(), labels.clone()),
        ];
        let folder = place.folder(&format!("m{at}"), &files);
        for path in [folder.clone(), folder.join(first)] {
            let set = place.read(&path);
            assert_eq!(set.labels, [5, 0, 4], "{}", path.display());
            assert_eq!(set.notes(), "");
        }
    }
}

#[test]
fn samples_beside_a_picture_without_a_seed_are_refused_by_its_name() {
    let place = Place::new();
    let files = named(&["0000000/0.png", "0000000/1.png", "grid.png"]);
    let path = place.folder(
        "samples",
        &with(files, "labels.json", r#"{"0": 1, "1": 0}"#),
    );
    place.refuses(
        &path,
        &ImportOptions::default(),
        &["`grid.png`", "--exclude"],
    );
    let options = ImportOptions {
        exclude: vec!["grid.png".to_owned()],
        ..ImportOptions::default()
    };
    assert_eq!(place.import(&path, &options).unwrap().labels, [1, 0]);
}

#[test]
fn dataset_json_is_read_in_every_encoding_of_python() {
    let place = Place::new();
    let text = r#"{"labels": [["a.png", 1], ["b.png", 0]]}"#;
    let wide = |join: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(join).collect::<Vec<u8>>();
    let wider = |join: fn(u32) -> [u8; 4]| {
        text.chars()
            .map(u32::from)
            .flat_map(join)
            .collect::<Vec<u8>>()
    };
    let marked = [b"\xff\xfe\0\0", &wider(u32::to_le_bytes)[..]].concat();
    for (at, bytes) in [
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
        wider(u32::to_le_bytes),
        wider(u32::to_be_bytes),
        marked,
    ]
    .iter()
    .enumerate()
    {
        let files = with(named(&["a.png", "b.png"]), "dataset.json", bytes);
        let set = place.read(&place.folder(&format!("set{at}"), &files));
        assert_eq!(set.labels, [1, 0], "{at}");
    }
}

#[test]
fn keys_inside_objects_are_named_with_dots() {
    let place = Place::new();
    let images = named(&["0.png", "1.png"]);
    let samples = with(
        images.clone(),
        "0.json",
        r#"{"meta": {"label": 3}, "a.b": 1}"#,
    );
    let samples = with(samples, "1.json", r#"{"meta": {"label": 1}, "a.b": 0}"#);
    for path in place.all("samples", &samples) {
        let labels = |field| place.import(&path, &label_field(field)).unwrap().labels;
        assert_eq!(labels("meta.label"), [3, 1]);
        assert_eq!(labels("a.b"), [1, 0]);
        place.refuses(&path, &label_field("meta.x"), &["`meta.x`", "`meta.label`"]);
        place.refuses(&path, &label_field("meta"), &["label {"]);
    }
    let rows = "{\"file_name\": \"0.png\", \"meta\": {\"label\": 3}}\n\
                {\"file_name\": \"1.png\", \"meta\": {\"label\": 1}}\n";
    for path in place.all("rows", &with(images, "metadata.jsonl", rows)) {
        let set = place.import(&path, &label_field("meta.label")).unwrap();
        assert_eq!(set.labels, [3, 1]);
        place.refuses(&path, &label_field("meta.x"), &["`meta.x`"]);
    }
}

#[test]
fn a_field_of_that_name_comes_before_those_that_end_in_it() {
    let place = Place::new();
    let files = named(&["0.png", "0.mask.png", "1.png", "1.mask.png"]);
    let files = with(with(files, "0.cls", "1"), "1.cls", "0");
    let field = |name: &str| ImportOptions {
        image_field: Some(name.to_owned()),
        ..ImportOptions::default()
    };
    for path in place.all("masks", &files) {
        let names = |name| place.import(&path, &field(name)).unwrap().names;
        assert_eq!(names("png"), ["0.png", "1.png"]);
        assert_eq!(names("mask.png"), ["0.mask.png", "1.mask.png"]);
    }
    // Where none is whole, the ending tells.
    let files = with(named(&["0.v2.png", "1.v2.png"]), "0.txt", "x");
    for path in place.all("ends", &files) {
        assert_eq!(place.import(&path, &field("png")).unwrap().names.len(), 2);
    }
}
