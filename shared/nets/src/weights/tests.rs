//! Files that are not weight files, prefixes that are stripped, mismatches that are reported.

use super::*;
use std::fs::File;

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

/// A file of the structure of EDM's `network-snapshot-*.pkl`, whose storages are files of their own
/// and whose classes carry source text that would end the process.
#[test]
fn edms_snapshots_are_read_as_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network-snapshot-000000.pkl");
    let bytes = include_bytes!("edm.pkl");
    std::fs::write(&path, bytes).unwrap();
    let read = Weights::read(&path).unwrap();
    assert_eq!(
        names(&read),
        ["ema.model.map_layer0.bias", "ema.model.map_layer0.weight"]
    );
    let weight = read.get("ema.model.map_layer0.weight").unwrap();
    assert_eq!((weight.kind(), weight.size()), (Kind::Half, vec![2, 3]));
    assert_eq!(weight.double_value(&[1, 2]), 6.0);
    let origin = read.origin("ema").unwrap();
    assert_eq!(
        (origin.class.as_str(), origin.sigma_data),
        ("EDMPrecond", Some(0.25))
    );
    for end in 0..bytes.len() {
        std::fs::write(&path, &bytes[..end]).unwrap();
        assert!(Weights::read(&path).is_err(), "cut at {end}");
    }
}

/// Each object that is pickled whole says something of itself alone.
#[test]
fn what_an_object_says_is_kept_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pkl");
    let snapshot = include_bytes!("edm.pkl");
    std::fs::write(&path, snapshot).unwrap();
    let read = Weights::read(&path).unwrap();
    assert_eq!(read.origin("ema").unwrap().class, "EDMPrecond");
    for other in ["", "loss_fn", "D"] {
        assert_eq!(read.origin(other), None, "{other}");
    }
    assert!(!read.is_safetensors());
}

/// A PyTorch zip file around this pickle, with one storage of four floats.
fn torch_zip(path: &Path, prefix: &str, pickle: &[u8]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let numbers: Vec<u8> = [1f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    for (name, bytes) in [("data.pkl", pickle), ("data/0", &numbers)] {
        archive
            .start_file(format!("{prefix}/{name}"), options)
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// `{"w": tensor}` in protocol 2, with this shape, these strides and this text of opcodes for the
/// arguments behind them.
fn tensor_pickle(key: &str, shape: &[u8], stride: &[u8], rest: &[u8]) -> Vec<u8> {
    let text = |text: &str| {
        let length = (text.len() as u32).to_le_bytes();
        [b"X", &length[..], text.as_bytes()].concat()
    };
    [
        b"\x80\x02}",
        &text(key)[..],
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x04tQK\x00",
        shape,
        stride,
        rest,
        b"tRs.",
    ]
    .concat()
}

#[test]
fn views_are_read_with_their_sign_and_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let hooks = b"\x89ccollections\nOrderedDict\n)R";
    let negated = [&hooks[..], b"}X\x03\x00\x00\x00neg\x88s"].concat();
    // The name of 21 characters makes the first entry of the directory as long as zip64's records.
    torch_zip(
        &path,
        "training-state-000000",
        &tensor_pickle("w", b"K\x04\x85", b"K\x01\x85", &negated),
    );
    let read = Weights::read(&path).unwrap();
    let values = Vec::<f64>::try_from(read.get("w").unwrap().to_kind(Kind::Double)).unwrap();
    assert_eq!(values, [-1.0, -2.0, -3.0, -4.0]);
    // A thousand million rows of one number, in a file of some hundred bytes.
    let giant = tensor_pickle("w", b"J\x00\xca\x9a\x3bK\x10\x86", b"K\x00K\x00\x86", hooks);
    torch_zip(&path, "w", &giant);
    let repeats = "`w`: its shape [1000000000, 16] repeats the 4 numbers of its storage";
    refused(&path, repeats);
    // With the other sign it would be copied at once.
    let giant = tensor_pickle(
        "w",
        b"J\x00\xca\x9a\x3bK\x10\x86",
        b"K\x00K\x00\x86",
        &negated,
    );
    torch_zip(&path, "w", &giant);
    refused(&path, repeats);
    // Some views repeat their numbers in sound files.
    let small = tensor_pickle("w", b"K\x03K\x04\x86", b"K\x00K\x01\x86", hooks);
    torch_zip(&path, "w", &small);
    let read = Weights::read(&path).unwrap();
    assert_eq!(read.get("w").unwrap().size(), [3, 4]);
    // Names are joined from keys, which a small file may share.
    let long = tensor_pickle(&"k".repeat(2_000), b"K\x04\x85", b"K\x01\x85", hooks);
    torch_zip(&path, "w", &long);
    refused(&path, "longer than 1024 bytes");
}

/// An error that names the file.
fn refused(path: &Path, expected: &str) {
    let error = Weights::read(path).unwrap_err().to_string();
    let named = error.starts_with(&path.display().to_string());
    assert!(named && error.contains(expected), "{error}");
}

/// What a pickle gives once, it may refer to any number of times.
#[test]
fn objects_that_are_shared_cost_no_memory_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let hooks = b"\x89ccollections\nOrderedDict\n)R";
    let axes = [b"(", &b"K\x01".repeat(100)[..], b"t"].concat();
    torch_zip(&path, "w", &tensor_pickle("w", &axes, &axes, hooks));
    refused(&path, "`w`: it has 100 axes, expected at most 64");
    let entries = [&hooks[..], b"}(", &b"NN".repeat(100), b"u"].concat();
    torch_zip(
        &path,
        "w",
        &tensor_pickle("w", b"K\x04\x85", b"K\x01\x85", &entries),
    );
    refused(&path, "`w`: its metadata has more than 64 entries");
    // A dict without names, looked through by a thousand lists.
    let dict = [b"\x80\x02}q\x01(", &b"NN".repeat(10_000)[..], b"u0("].concat();
    let shared = [&dict[..], &b"h\x01".repeat(1_000), b"l."].concat();
    torch_zip(&path, "w", &shared);
    refused(&path, "refer to each other more than 4194304 times");
    let long = tensor_pickle("w", b"K\x04\x85", b"K\x01\x85", hooks);
    let key = [b"X", &2000u32.to_le_bytes()[..], &[b'0'; 2000]].concat();
    let at = long
        .windows(6)
        .position(|at| at == b"X\x01\0\0\x000")
        .unwrap();
    torch_zip(&path, "w", &[&long[..at], &key, &long[at + 6..]].concat());
    refused(&path, "no key of at most 1024 bytes");
}

/// Storages are stored as they are, so that together they are no larger than their file.
#[test]
fn storages_that_expand_are_refused() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let hooks = b"\x89ccollections\nOrderedDict\n)R";
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    let pickle = tensor_pickle("w", b"K\x04\x85", b"K\x01\x85", hooks);
    for (name, bytes) in [("w/data.pkl", &pickle[..]), ("w/data/0", &[0; 1 << 20])] {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    refused(
        &path,
        "`data/0` are larger than the file that contains them",
    );
}

#[test]
fn a_named_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let error = Weights::read(&path).unwrap_err().to_string();
    assert!(error.contains("w.pt: a folder, a named pipe"), "{error}");
}

#[test]
fn tensors_of_other_kinds_are_named_only_where_they_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let hooks = b"\x89ccollections\nOrderedDict\n)R";
    let pickle = tensor_pickle("w", b"K\x04\x85", b"K\x01\x85", hooks);
    // The same dict with a quantised tensor beside the other.
    let quantised = b"X\x01\x00\x00\x00qctorch._utils\n_rebuild_qtensor\n)Rs.";
    let both = [&pickle[..pickle.len() - 1], quantised].concat();
    torch_zip(&path, "w", &both);
    let read = Weights::read(&path).unwrap();
    assert_eq!(names(&read), ["w"]);
    let from = read.load(Kind::Float, Device::Cpu);
    let _ = (from.take("w", &[4]), from.take("q", &[4]));
    let error = from.finish("a net").unwrap_err().to_string();
    assert!(
        error.contains("q: it is made by `_rebuild_qtensor`"),
        "{error}"
    );
}

/// The stream before PyTorch's zip format, in every protocol that `torch.save` takes: a view of
/// every second number from the second on.
#[test]
fn legacy_streams_of_every_protocol_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    for bytes in [
        &include_bytes!("legacy/legacy-2.pt")[..],
        include_bytes!("legacy/legacy-3.pt"),
        include_bytes!("legacy/legacy-4.pt"),
        include_bytes!("legacy/legacy-5.pt"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let read = Weights::read(&path).unwrap();
        let values = Vec::<f64>::try_from(read.get("w").unwrap().to_kind(Kind::Double)).unwrap();
        assert_eq!(values, [2.0, 4.0]);
    }
}
