//! Which arrays of an npz file are the images and their labels.

use super::*;

fn npz(place: &Place, names: &[&str]) -> PathBuf {
    let grey = |shade: u8| npy("|u1", "(2, 4, 4)", &[shade; 32]);
    let file = |(at, name): (usize, &&str)| {
        let bytes = if name.starts_with('l') {
            npy("|u1", "(2,)", &[at as u8, 7])
        } else {
            grey(at as u8)
        };
        (format!("{name}.npy"), bytes)
    };
    let files = names.iter().enumerate().map(file).collect();
    place.file("set.npz", zip(&files))
}

fn fields(image: Option<&str>, label: Option<&str>) -> ImportOptions {
    ImportOptions {
        image_field: image.map(str::to_owned),
        label_field: label.map(str::to_owned),
        ..ImportOptions::default()
    }
}

#[test]
fn of_two_arrays_of_images_one_is_named() {
    let place = Place::new();
    let path = npz(&place, &["x", "images", "latents", "labels"]);
    place.refuses(
        &path,
        &fields(None, None),
        &["--image-field", "`images`", "`x`"],
    );
    for (name, shade) in [("x", 0), ("images", 1), ("images.npy", 1)] {
        let set = place.import(&path, &fields(Some(name), None)).unwrap();
        let other = npy("|u1", "(2, 4, 4)", &[shade; 32]);
        let same = place.read(&place.file("one.npy", other));
        assert_eq!(
            set.imported.set.content, same.imported.set.content,
            "{name}"
        );
        assert_eq!(set.labels, [3, 7]);
    }
    place.refuses(&path, &fields(Some("y"), None), &["`y`", "`images`"]);
    // What has a name of images and is none does not stand in the way.
    let (images, labels) = array_and_labels();
    let files = vec![
        ("images.npy".to_owned(), images),
        ("x.npy".to_owned(), labels),
    ];
    let set = place.read(&place.file("coordinates.npz", zip(&files)));
    assert_eq!(set.imported.set.count, 3);
}

#[test]
fn labels_of_another_name_are_taken_when_named() {
    let place = Place::new();
    let path = npz(&place, &["images", "l_fine", "l_coarse"]);
    assert!(place.read(&path).labels.is_empty());
    for (name, first) in [("l_fine", 1), ("l_coarse", 2)] {
        let set = place.import(&path, &fields(None, Some(name))).unwrap();
        assert_eq!(set.labels, [first, 7]);
    }
    place.refuses(
        &path,
        &fields(None, Some("foo")),
        &["option label-field", "`foo`"],
    );
}
