//! Folders that are parts of a set or blocks of images, and files of several pictures.

use super::*;

fn inside(folder: &str) -> ImportOptions {
    ImportOptions {
        inside: Some(folder.to_owned()),
        ..ImportOptions::default()
    }
}

#[test]
fn parts_of_a_set_are_no_classes() {
    let place = Place::new();
    for (at, wrapper) in ["", "set/"].iter().enumerate() {
        let names = [
            "train/cat/0.png",
            "train/dog/1.png",
            "val/cat/2.png",
            "val/dog/3.png",
        ];
        let names = names.map(|name| format!("{wrapper}{name}"));
        let files = named(&names.each_ref().map(String::as_str));
        for path in place.all(&format!("set{at}"), &files) {
            let train = format!("--inside {wrapper}train");
            place.refuses(&path, &ImportOptions::default(), &["option inside", &train]);
            let set = place
                .import(&path, &inside(&format!("{wrapper}train")))
                .unwrap();
            assert_eq!(
                (set.classes(), set.labels.clone()),
                (vec!["cat", "dog"], vec![0, 1])
            );
            let only = ImportOptions {
                include: vec![format!("{wrapper}val/*")],
                ..ImportOptions::default()
            };
            assert_eq!(
                place.import(&path, &only).unwrap().classes(),
                ["cat", "dog"]
            );
            let all = ImportOptions {
                ignore_labels: true,
                ..ImportOptions::default()
            };
            let set = place.import(&path, &all).unwrap();
            assert_eq!(set.names.len(), 4);
            assert!(set.notes().contains("several parts"), "{}", set.notes());
        }
    }
    // One part, or a class that is called so.
    for names in [
        ["train/0.png", "car/1.png"],
        ["Test/0.png", "testing/1.png"],
    ] {
        let set = place.read(&place.folder(names[0], &named(&names)));
        assert_eq!(set.labels.len(), 2, "{names:?}");
    }
}

#[test]
fn labels_of_several_parts_are_taken_with_a_note() {
    let place = Place::new();
    let rows = |label: u8| format!("file_name,label\n0.png,{label}\n");
    let files = named(&["train/0.png", "test/0.png"]);
    let files = with(files, "train/metadata.csv", rows(1));
    let files = with(files, "test/metadata.csv", rows(0));
    for path in place.all("hub", &files) {
        let set = place.read(&path);
        assert_eq!(set.labels, [0, 1]);
        assert!(set.notes().contains("several parts"), "{}", set.notes());
        let set = place.import(&path, &inside("train")).unwrap();
        assert_eq!((set.labels.clone(), set.notes()), (vec![1], String::new()));
    }
}

#[test]
fn folders_of_digits_without_their_numbers_are_told() {
    let place = Place::new();
    for names in [
        ["00000/img00000000.png", "00012/img00012345.png"],
        ["000000/000000.png", "001000/001999.png"],
        ["00000/00000.png", "69000/69999.png"],
    ] {
        let set = place.read(&place.folder(names[1], &named(&names)));
        assert_eq!(
            (set.labels.len(), set.notes()),
            (0, String::new()),
            "{names:?}"
        );
    }
    let set = place.read(&place.folder("ids", &named(&["10001/a.png", "10002/7.png"])));
    assert!(set.labels.is_empty());
    assert!(set.notes().contains("2 of 2 images"), "{}", set.notes());
}

#[test]
fn the_first_of_several_pictures_is_told() {
    let place = Place::new();
    let animated = |frames: u32| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 3);
        encoder.set_animated(frames, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        for frame in 0..frames {
            writer.write_image_data(&[frame as u8; 9]).unwrap();
        }
        writer.finish().unwrap();
        bytes
    };
    let files = |second: u32| {
        vec![
            ("a.png".to_owned(), animated(2)),
            ("b.png".to_owned(), animated(second)),
        ]
    };
    for (at, (second, expected)) in [(1, "1 file holds several"), (3, "2 files hold several")]
        .into_iter()
        .enumerate()
    {
        for path in place.all(&format!("set{at}"), &files(second)) {
            // A shard for each image: what was told of the first is added up.
            for shard_size in [1, 8] {
                let options = ImportOptions {
                    shard_size,
                    ..ImportOptions::default()
                };
                let set = place.import(&path, &options).unwrap();
                assert!(set.notes().contains(expected), "{}", set.notes());
            }
        }
    }
}
