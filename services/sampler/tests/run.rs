//! `sampler run` as a process: a weight file in, every kind of image file out.

use cedm_contract::sweep::preset;
use cedm_diffusion::{Architecture, Network, Parameters, weights};
use std::{
    path::Path,
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};

fn network(path: &Path, label_dim: u32) {
    let mut spec = preset("tiny8").unwrap().network;
    (spec.label_dim, spec.channels) = (label_dim, 1);
    let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
    let own = Parameters::initial(&network.layout, &network.architecture.resample_filter, 1, Device::Cpu);
    weights::save(path, &network.layout, &own).unwrap();
}

fn run(weights: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-sampler"));
    command.args(["run", "--steps", "3", "--weights"]).arg(weights).args(more);
    command.env("CEDM_THREADS", "1").env("CEDM_DEVICE", "cpu").output().unwrap()
}

#[test]
fn every_export_holds_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = folder.path().join("ema.safetensors");
    network(&file, 2);
    let assignments = folder.path().join("assignments.safetensors");
    weights::write(&assignments, &[("counts", &Tensor::from_slice(&[3i64, 1]))], None).unwrap();
    let (npz, zip, pngs, shard, grid) = (at("a.npz"), at("a.zip"), at("pngs"), at("a.safetensors"), at("grid.png"));
    let more = [
        "--count",
        "5",
        "--first-seed",
        "3",
        "--labels",
        "prior",
        "--assignments",
        assignments.to_str().unwrap(),
    ];
    let output = run(
        &file,
        &[
            &more[..],
            &["--npz", &npz, "--zip", &zip, "--folder", &pngs, "--shard", &shard, "--grid", &grid],
        ]
        .concat(),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["shape"], serde_json::json!([5, 1, 8, 8]));

    let shard = cedm_images::read_shard(Path::new(&shard)).unwrap();
    assert_eq!((shard.count, shard.channels, shard.resolution), (5, 1, 8));
    let mut archive = npyz::npz::NpzArchive::open(&npz).unwrap();
    let array = archive.by_name("arr_0").unwrap().unwrap();
    assert_eq!(array.into_vec::<u8>().unwrap(), shard.images);
    let options = cedm_images::ImportOptions::default();
    for source in [&zip, &pngs] {
        let imported = cedm_images::import(Path::new(source), &options, &folder.path().join("in"), &mut |_| ()).unwrap();
        let read = cedm_images::read_shard(&folder.path().join("in").join(&imported.set.shards[0].object.object)).unwrap();
        assert_eq!(read.images, shard.images, "{source}");
        std::fs::remove_dir_all(folder.path().join("in")).unwrap();
    }
    assert!(Path::new(&pngs).join("0000000/0000007.png").exists());
    assert!(Path::new(&grid).exists());
}

#[test]
fn what_does_not_fit_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ema.safetensors");
    network(&file, 2);
    let npz = folder.path().join("a.npz").to_str().unwrap().to_owned();
    let says = |more: &[&str]| {
        let output = run(&file, more);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(says(&[]).contains("nowhere to write"));
    assert!(says(&["--npz", &npz, "--labels", "prior"]).contains("prior: no condition"));
    assert!(says(&["--npz", &npz, "--labels", "2"]).contains("fixed label: label 2, expected 2 label slots, as the network has"));
    assert!(says(&["--npz", &npz, "--sigma-max", "0.001"]).contains("`sigma_min` is 0.002 with sigma_max 0.001"));
    let other = folder.path().join("other.safetensors");
    weights::write(&other, &[("fc.weight", &Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)))], None).unwrap();
    let output = run(&other, &["--npz", &npz]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("by which a SongUNet is known"));
}
