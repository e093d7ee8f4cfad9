//! Files that are not weight files, prefixes that are stripped, mismatches that are reported.

use super::*;

fn weights(names: &[(&str, &[i64])]) -> Weights {
    names
        .iter()
        .map(|(name, shape)| {
            (
                (*name).to_owned(),
                Tensor::zeros(*shape, (Kind::Float, Device::Cpu)),
            )
        })
        .collect()
}
fn names(weights: &Weights) -> Vec<&str> {
    weights.iter().map(|(name, _)| name).collect()
}

#[test]
fn prefixes_are_stripped() {
    let check = |input: &[&str], encoder, expect: &[&str]| {
        let input: Vec<(&str, &[i64])> = input.iter().map(|name| (*name, &[1][..])).collect();
        assert_eq!(
            names(&weights(&input).backbone(encoder)),
            expect,
            "{input:?}"
        );
    };
    check(
        &["cls_token", "head.weight"],
        Encoder::Teacher,
        &["cls_token", "head.weight"],
    );
    check(
        &["state_dict.module.linear.bias", "epoch"],
        Encoder::Teacher,
        &["linear.bias"],
    );
    let dino = [
        "teacher.backbone.norm.bias",
        "teacher.head.mlp.0.bias",
        "student.module.backbone.norm.weight",
        "student.module.head.x",
    ];
    check(&dino, Encoder::Teacher, &["norm.bias"]);
    check(&dino, Encoder::Student, &["norm.weight"]);
    let moco = [
        "state_dict.module.momentum_encoder.a",
        "state_dict.module.momentum_encoder.head.0",
        "state_dict.module.base_encoder.b",
    ];
    check(&moco, Encoder::Teacher, &["a"]);
    check(&moco, Encoder::Student, &["b"]);
}

#[test]
fn all_mismatches_are_in_one_error() {
    let weights = weights(&[
        ("a", &[2]),
        ("x1", &[1]),
        ("x2", &[1]),
        ("x3", &[1]),
        ("x4", &[1]),
    ]);
    let from = weights.load(Kind::Float, Device::Cpu);
    let _ = (from.take("a", &[3]), from.take("b", &[1]));
    let error = from.finish("the net").unwrap_err().to_string();
    assert_eq!(
        error,
        "the weights do not fit the net: 1 missing (b); 4 unexpected (x1, x2, x3, …); 1 of \
         another shape (a: [2] instead of [3])"
    );
}

#[test]
fn other_and_truncated_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    tensor_files::write(
        &path,
        &[("a", Tensor::ones([100], (Kind::Float, Device::Cpu)))],
        &[],
    )
    .unwrap();
    assert_eq!(names(&Weights::read(&path).unwrap()), ["a"]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert!(
        Weights::read(&path)
            .unwrap_err()
            .to_string()
            .contains("safetensors")
    );
    for (bytes, expect) in [
        (&b"hello"[..], "not a safetensors file"),
        (b"PK\x03\x04rubbish", "zip archive"),
        (b"", "not a safetensors"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = Weights::read(&path).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    assert!(
        Weights::read(&folder.path().join("none"))
            .unwrap_err()
            .to_string()
            .starts_with("read ")
    );
}

/// A module of two levels, saved by PyTorch 2.11 as TorchScript and as a whole Python object: both
/// hold the tensors of its state dict.
#[test]
fn modules_saved_whole_give_the_tensors_of_their_state_dict() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("script", &include_bytes!("script.pt")[..]),
        ("module", &include_bytes!("module.pt")[..]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = Weights::read(&path).unwrap();
        assert_eq!(
            names(&read),
            ["body.0.fc.bias", "body.0.fc.weight", "body.0.scale", "w"],
            "{name}"
        );
        assert_eq!(read.get("w").unwrap().kind(), Kind::Half);
        let bias = read.get("body.0.fc.bias").unwrap();
        assert!(
            (bias.double_value(&[1]) - 0.457_774_937_152_862_55).abs() < 1e-9,
            "{name}"
        );
        assert_eq!(read.get("body.0.fc.weight").unwrap().size(), [2, 3]);
    }
}
