//! Options that could change nothing are refused.

use super::*;
use cedm_images::{Split, Values};

#[test]
fn an_option_that_cannot_apply_is_refused_with_what_it_is_for() {
    let place = Place::new();
    let (images, labels) = array_and_labels();
    let npz = place.file(
        "set.npz",
        zip(&vec![
            ("images.npy".to_owned(), images),
            ("labels.npy".to_owned(), labels),
        ]),
    );
    let (images, labels) = mnist();
    let idx = place.folder(
        "mnist",
        &vec![
            ("train-images-idx3-ubyte".to_owned(), images),
            ("train-labels-idx1-ubyte".to_owned(), labels),
        ],
    );
    let cifar = place.folder(
        "cifar",
        &vec![("data_batch_1.bin".to_owned(), vec![1; 3073])],
    );
    let classes = place.folder("classes", &named(&["cat/0.png", "dog/1.png"]));
    let plain = ImportOptions::default();
    let globs = ["*".to_owned()].to_vec();
    let include = ImportOptions {
        include: globs.clone(),
        ..plain.clone()
    };
    let exclude = ImportOptions {
        exclude: globs,
        ..plain.clone()
    };
    let image_field = ImportOptions {
        image_field: Some("png".to_owned()),
        ..plain.clone()
    };
    let test = ImportOptions {
        split: Split::Test,
        ..plain.clone()
    };
    let values = ImportOptions {
        values: Some(Values::Unit),
        ..plain
    };
    for path in [&npz, &idx, &cifar] {
        place.refuses(path, &include, &["option include", "image files"]);
        place.refuses(path, &exclude, &["option exclude"]);
        place.refuses(path, &label_field("foo"), &["option label-field"]);
    }
    place.refuses(
        &npz,
        &image_field,
        &["option image-field", "`png`", "`images`"],
    );
    for path in [&idx, &cifar] {
        place.refuses(path, &image_field, &["option image-field", "WebDataset"]);
    }
    place.refuses(
        &classes,
        &label_field("foo"),
        &["option label-field", "`foo`"],
    );
    place.refuses(&classes, &test, &["option split", "--inside"]);
    place.refuses(&classes, &values, &["option values", "floats"]);
    place.refuses(&idx, &values, &["option values"]);
    let file = idx.join("train-images-idx3-ubyte");
    place.refuses(&file, &test, &["option split"]);
}
