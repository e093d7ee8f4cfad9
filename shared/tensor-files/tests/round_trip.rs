//! Writing and reading back, in memory and on disk.

use cedm_fault::{Fault, HasFault};
use cedm_tensor_files::{Data, Dtype, TensorFile, TensorFileError, encode, write};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use std::{collections::HashMap, path::Path};

fn sample() -> Vec<(&'static str, Data<'static>)> {
    vec![
        ("labels", Data::of(&[2], &[7i64, -1])),
        ("images", Data::of_bytes(&[2, 3], &[1, 2, 3, 4, 5, 6])),
        ("confidence", Data::of(&[2], &[0.5f32, f32::NEG_INFINITY])),
        ("counts", Data::of(&[1], &[3i32])),
        ("loss", Data::of(&[], &[0.25f64])),
        ("none", Data::of::<f32>(&[0, 4], &[])),
    ]
}

#[test]
fn what_is_written_is_read_from_disk_and_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write(&path, &sample(), &[("run", "one"), ("a", "b")]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(
        bytes,
        encode("a", &sample(), &[("a", "b"), ("run", "one")]).unwrap()
    );
    for file in [
        TensorFile::open(&path).unwrap(),
        TensorFile::from_bytes("a", &bytes).unwrap(),
    ] {
        assert_eq!(
            file.names(),
            ["confidence", "counts", "images", "labels", "loss", "none"]
        );
        assert_eq!(file.values::<i64>("labels").unwrap(), [7, -1]);
        assert_eq!(file.values::<u8>("images").unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            file.values::<f32>("confidence").unwrap(),
            [0.5, f32::NEG_INFINITY]
        );
        assert_eq!(file.values::<i32>("counts").unwrap(), [3]);
        assert_eq!(file.values::<f64>("loss").unwrap(), [0.25]);
        assert_eq!(file.optional::<f32>("none").unwrap(), Some(vec![]));
        assert_eq!(file.optional::<f32>("others").unwrap(), None);
        assert_eq!(file.entry("images").unwrap().shape, [2, 3]);
        assert_eq!(file.entry("loss").unwrap().dtype, Dtype::F64);
        let notes: Vec<_> = file.notes().into_iter().collect();
        assert_eq!(notes, [("a", "b"), ("run", "one")]);
        let mut row = [0; 3];
        file.read_at("images", 3, &mut row).unwrap();
        assert_eq!(row, [4, 5, 6]);
        let error = file.read_at("images", 4, &mut row).unwrap_err().to_string();
        assert!(error.ends_with("tensor `images` is U8 [2, 3], expected bytes 4 to 4 + 3"));
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half-written stays");
}

#[test]
fn errors_name_file_tensor_found_and_expected() {
    let bytes = encode("a", &sample(), &[]).unwrap();
    let file = TensorFile::from_bytes("shard-3", &bytes).unwrap();
    let error = file.values::<i64>("images").unwrap_err().to_string();
    assert_eq!(error, "shard-3: tensor `images` is U8 [2, 3], expected I64");
    let error = file.values::<i64>("seeds").unwrap_err().to_string();
    assert!(error.starts_with("shard-3: tensor `seeds` is missing, found [\"confidence\","));
    let error = TensorFile::open(Path::new("/nowhere/a")).unwrap_err();
    assert!(error.fault() == Fault::Unavailable && error.to_string() == "cannot read /nowhere/a");
    let error = write(Path::new("/nowhere/a"), &sample(), &[]).unwrap_err();
    assert!(error.fault() == Fault::Unavailable && error.to_string() == "cannot write /nowhere/a");
}

#[test]
fn doubled_names_and_shapes_that_do_not_fit_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let check = |tensors: &[(&str, Data<'_>)], expect: &str| {
        let error = write(&path, tensors, &[]).unwrap_err();
        assert!(matches!(error, TensorFileError::Layout { .. }));
        assert_eq!(error.fault(), Fault::Bug);
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!path.exists());
    };
    let tensor = || Data::of(&[1], &[1u8]);
    check(
        &[("a", tensor()), ("a", tensor())],
        "two tensors have one name",
    );
    check(&[("a", Data::of(&[3], &[1u8]))], "invalid shape");
}

proptest! {
    /// Digests of results rest on the bytes: they must stay those of the safetensors crate.
    #[test]
    fn bytes_are_those_of_the_safetensors_crate(
        tensors in prop::collection::btree_map("[a-z.0-9\"é]{0,9}", (0..4usize, 0..5usize, 0..3usize), 0..9),
        note in prop::option::of(("[a-z]{1,5}", "\\PC{0,12}")),
    ) {
        let dtypes = [Dtype::U8, Dtype::I64, Dtype::F32, Dtype::F64];
        let sizes = [1, 8, 4, 8];
        let contents: Vec<_> = tensors.iter().map(|(name, &(kind, rows, width))| {
            (name.as_str(), kind, [rows, width], vec![kind as u8; rows * width * sizes[kind]])
        }).collect();
        let theirs = contents.iter().map(|(name, kind, shape, bytes)| {
            (*name, TensorView::new(dtypes[*kind], shape.to_vec(), bytes).unwrap())
        });
        let theirs: Vec<_> = theirs.collect();
        let metadata = note.clone().map(|note| HashMap::from([note]));
        let expected = safetensors::serialize(theirs.clone(), metadata).unwrap();
        let notes: Vec<_> = note.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        prop_assert_eq!(&encode("a", &theirs, &notes).unwrap(), &expected);
        let file = TensorFile::from_bytes("a", &expected).unwrap();
        for (name, _, shape, bytes) in &contents {
            prop_assert_eq!(file.entry(name).unwrap().shape, shape);
            prop_assert_eq!(&*file.bytes(name).unwrap(), bytes.as_slice());
        }
    }
}
