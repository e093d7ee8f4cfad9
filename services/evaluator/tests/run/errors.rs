//! Sets that cannot be read or compared.

use super::{Run, TestFolder, save_statistics};
use tch::{Device, Kind, Tensor};

#[test]
fn sets_of_different_resolution_are_rejected() {
    let folder = TestFolder::new();
    let (a, b) = (
        folder.images("a.safetensors", 10, 4, 0.0),
        folder.images("b.safetensors", 10, 8, 0.3),
    );
    let message = Run::of(&a).against(&b).by("pixels").error();
    assert!(
        message.contains("4x4 pixels")
            && message.contains("8x8 pixels")
            && message.contains("--mixed-resolution"),
        "{message}"
    );
}

#[test]
fn statistics_of_another_extractor_are_rejected_by_name_and_by_digest() {
    let folder = TestFolder::new();
    let (a, b) = folder.pair(40, 40);
    let (pixels, pca) = (folder.path("pixels.npz"), folder.path("pca.npz"));
    save_statistics(&a, "pixels", &pixels);
    save_statistics(&a, "pca", &pca);
    let message = Run::of(&b).against(&pixels).by("pca").error();
    assert!(
        message.contains("measured by pixels") && message.contains("by pca with weights"),
        "{message}"
    );
    let message = Run::of(&b).against(&pca).by("pca").error();
    assert_eq!(message.matches("pca with weights").count(), 2, "{message}");
}

#[test]
fn corrupt_files_and_nan_features_are_rejected() {
    let folder = TestFolder::new();
    let a = folder.images("a.safetensors", 10, 4, 0.0);
    let corrupt = folder.path("corrupt.npz");
    std::fs::write(&corrupt, "PK\x03\x04 and then nothing").unwrap();
    let message = Run::of(&a).against(&corrupt).by("pixels").error();
    assert!(
        message.contains("corrupt.npz: is not an npz archive"),
        "{message}"
    );
    let rows = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([10, 2]);
    let _ = rows.get(7).fill_(f64::NAN);
    let broken = folder.features("nan.safetensors", &rows);
    let message = Run::of(&broken).against(&a).by("pixels").error();
    assert!(
        message.contains("generated holds 2 values that are NaN or infinite, the first in row 7"),
        "{message}"
    );
    let message = Run::of(&folder.path("absent")).against(&a).error();
    assert!(message.contains("absent: does not exist"), "{message}");
    let message = Run::of(&a).metrics("fid").error();
    assert!(
        message.contains("there is no metric `fid`; known are fd, ufd"),
        "{message}"
    );
}
