//! Nothing asks libtorch about CUDA before its CUDA half is loaded: one crate does both.

use crate::sources::{Source, sources};

/// What asks about CUDA, or names a GPU that nobody has found. Written apart, so that this file
/// keeps its own rule.
const ASKS: &[&str] = &[
    concat!("tch::", "Cuda"),
    concat!("Cuda::is_", "available"),
    concat!("Cuda::device_", "count"),
    concat!("cuda_if_", "available"),
    concat!("Device::", "Cuda("),
];

fn asking(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.path.starts_with("shared/torch/src/") {
        return Vec::new();
    }
    let lines = ASKS.iter().flat_map(|ask| source.lines_with(ask));
    lines
        .map(|line| {
            format!(
                "{}:{line}: take the device from cedm_torch::start",
                source.path
            )
        })
        .collect()
}

#[test]
fn only_one_crate_asks_about_cuda() {
    let broken: Vec<String> = sources().iter().flat_map(asking).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn a_question_about_cuda_is_detected() {
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: format!("fn a() {{\n    if {}::is_some() {{}}\n}}\n", ASKS[0]),
    };
    assert_eq!(asking(&source("services/x/src/a.rs")).len(), 1);
    assert!(asking(&source("shared/torch/src/device.rs")).is_empty());
}
