//! Extractors that need no published file.

use super::*;
use crate::PcaFit;

fn spec(name: &str) -> ExtractorSpec {
    ExtractorSpec {
        name: name.to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    }
}
fn images(n: i64, channels: i64, side: i64) -> Tensor {
    let ramp = Tensor::arange(n * channels * side * side, (Kind::Int64, Device::Cpu));
    ((&ramp * &ramp * 3 + &ramp * 17).remainder(256))
        .to_kind(Kind::Uint8)
        .reshape([n, channels, side, side])
}

#[test]
fn pixels_are_scaled() {
    let extractor = Extractor::load(&spec("pixels"), None, None, Device::Cpu).unwrap();
    let out = extractor
        .extract(&Tensor::from_slice(&[0u8, 255, 51, 0]).reshape([2, 1, 1, 2]))
        .unwrap();
    assert_eq!(
        Vec::<f32>::try_from(out.features.view([-1])).unwrap(),
        [-1.0, 1.0, 51.0f32 / 127.5 - 1.0, -1.0]
    );
    assert!(out.logits.is_none());
}

#[test]
fn pca_needs_its_fit_and_its_rows_do_not_depend_on_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("extractor.safetensors");
    let images = images(75, 1, 8);
    let mut fit = PcaFit::default();
    fit.add(&images).unwrap();
    fit.finish(Some(10)).unwrap().write(&path).unwrap();
    assert!(
        Extractor::load(&spec("pca"), None, None, Device::Cpu)
            .err()
            .unwrap()
            .to_string()
            .contains("must be fitted")
    );
    let extractor = Extractor::load(&spec("pca"), None, Some(&path), Device::Cpu).unwrap();
    let whole = extractor.extract(&images).unwrap().features;
    assert_eq!(whole.size(), [75, 10]);
    let parts = [(0, 7), (7, 40), (47, 28)].map(|(from, count)| {
        extractor
            .extract(&images.narrow(0, from, count))
            .unwrap()
            .features
    });
    assert!(whole.equal(&Tensor::cat(&parts, 0)));
}

#[test]
fn unknown_names_and_missing_files_are_errors() {
    let error = Extractor::load(&spec("resnet"), None, None, Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("known are pixels, pca"), "{error}");
    let error = Extractor::load(&spec("cifar_resnet56"), None, None, Device::Cpu)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("needs a weight file"), "{error}");
    let extractor = Extractor::load(&spec("pixels"), None, None, Device::Cpu).unwrap();
    assert!(extractor.extract(&images(1, 3, 2).narrow(0, 0, 0)).is_err());
}
