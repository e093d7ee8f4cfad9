//! `cedm-sampler run` as a process: a weight file in, every kind of image file out.

#[path = "edm/pickle.rs"]
mod pickle;
#[path = "tiny/network.rs"]
mod tiny;

use cedm_diffusion::weights;
use cedm_torch::tensor_files;
use pickle::{dict, float, integer, object, snapshot, tensor, text};
use std::{
    path::Path,
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};
use tiny::parameters;

fn network(path: &Path, label_dim: u32) {
    let (network, own) = parameters(label_dim);
    weights::save(path, &network, &own).unwrap();
}

fn run(weights: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-sampler"));
    command
        .args(["run", "--steps", "3", "--weights"])
        .arg(weights)
        .args(more);
    command
        .env("CEDM_THREADS", "1")
        .env("CEDM_DEVICE", "cpu")
        .output()
        .unwrap()
}

#[test]
fn every_export_holds_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = folder.path().join("ema.safetensors");
    network(&file, 2);
    let assignments = folder.path().join("assignments.safetensors");
    tensor_files::write(
        &assignments,
        &[("counts", &Tensor::from_slice(&[3i64, 1]))],
        &[],
    )
    .unwrap();
    let (npz, zip, pngs, shard, grid) = (
        at("a.npz"),
        at("a.zip"),
        at("pngs"),
        at("a.safetensors"),
        at("grid.png"),
    );
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
            &[
                "--npz", &npz, "--zip", &zip, "--folder", &pngs, "--shard", &shard, "--grid", &grid,
            ],
        ]
        .concat(),
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        said["networks"][0]["shape"],
        serde_json::json!([5, 1, 8, 8])
    );

    let shard = cedm_images::read_shard(Path::new(&shard)).unwrap();
    assert_eq!((shard.count, shard.channels, shard.resolution), (5, 1, 8));
    let mut archive = npyz::npz::NpzArchive::open(&npz).unwrap();
    let array = archive.by_name("arr_0").unwrap().unwrap();
    assert_eq!(array.into_vec::<u8>().unwrap(), shard.images);
    let options = cedm_images::ImportOptions::default();
    for source in [&zip, &pngs] {
        let imported = cedm_images::import(
            Path::new(source),
            &options,
            &folder.path().join("in"),
            &mut |_| (),
        )
        .unwrap();
        let read = cedm_images::read_shard(
            &folder
                .path()
                .join("in")
                .join(&imported.set.shards[0].object.object),
        )
        .unwrap();
        assert_eq!(read.images, shard.images, "{source}");
        std::fs::remove_dir_all(folder.path().join("in")).unwrap();
    }
    assert!(Path::new(&pngs).join("0000000/0000007.png").exists());
    assert!(Path::new(&grid).exists());
}

#[test]
fn errors_are_one_sentence_that_names_the_option_or_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ema.safetensors");
    network(&file, 2);
    let npz = folder.path().join("a.npz").to_str().unwrap().to_owned();
    let says = |more: &[&str]| {
        let output = run(&file, more);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(says(&[]).contains("no output: give --npz"));
    assert!(
        says(&["--npz", &npz, "--labels", "prior"]).contains("labels: the prior, but no condition")
    );
    assert!(
        says(&["--npz", &npz, "--labels", "2"])
            .contains("fixed label: label 2, expected 2 label slots, as the network has")
    );
    assert!(says(&["--npz", &npz, "--block", "0"]).contains("`block` is 0, expected at least 1"));
    assert!(
        says(&["--npz", &npz, "--sigma-max", "0.001"])
            .contains("`sigma_min` is 0.002 with sigma_max 0.001")
    );
    let guide = file.to_str().unwrap();
    assert!(says(&["--npz", &npz, "--guide", guide]).contains("--guide without --guidance"));
    let plain = folder.path().join("plain.safetensors");
    network(&plain, 0);
    let unlabelled = |more: &[&str]| {
        String::from_utf8_lossy(&run(&plain, &[&["--npz", &npz], more].concat()).stderr)
            .into_owned()
    };
    assert!(unlabelled(&["--labels", "1"]).contains("has no labels"));
    assert!(
        unlabelled(&["--guidance", "1"])
            .contains("has no labels; guidance needs labels, or a weaker network by --guide")
    );
    let other = folder.path().join("other.safetensors");
    tensor_files::write(
        &other,
        &[(
            "fc.weight",
            &Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)),
        )],
        &[],
    )
    .unwrap();
    let output = run(&other, &["--npz", &npz]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("by which a SongUNet is known"));
}

#[test]
fn the_grid_has_equal_seeds_in_one_column_and_the_condition_is_found_beside_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        folder.path().join("one/ema.safetensors"),
        folder.path().join("two.safetensors"),
    );
    std::fs::create_dir(folder.path().join("one")).unwrap();
    network(&one, 2);
    network(&two, 0);
    // All images have label 1: so it is known where the labels come from.
    let condition = folder.path().join("one/condition.safetensors");
    tensor_files::write(
        &condition,
        &[("counts", &Tensor::from_slice(&[0i64, 7]))],
        &[],
    )
    .unwrap();
    let (shard, grid) = (
        folder.path().join("a.safetensors"),
        folder.path().join("grid.png"),
    );
    let more = [
        "--count",
        "6",
        "--grid-columns",
        "5",
        "--beside",
        two.to_str().unwrap(),
    ];
    let files = [
        "--shard",
        shard.to_str().unwrap(),
        "--grid",
        grid.to_str().unwrap(),
    ];
    let output = run(&one, &[&more[..], &files].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| cedm_images::read_shard(&folder.path().join(name)).unwrap();
    let (first, second) = (read("a.safetensors"), read("a.2.safetensors"));
    assert_eq!(
        (first.labels, second.labels),
        (Some(vec![1; 6]), Some(vec![-1; 6]))
    );
    assert_eq!(first.count, second.count);
    let bytes = std::fs::read(&grid).unwrap();
    let picture = cedm_images::decode("grid.png", &bytes, &cedm_images::Limits::default()).unwrap();
    assert_eq!((picture.width, picture.height), (5 * 32, 2 * 32));
}

/// The network of [`network`] as EDM pickles it, each number `more` larger.
fn pickled(class: &str, label_dim: u32, sigma_data: Option<f64>, more: f64) -> Vec<u8> {
    let (network, own) = parameters(label_dim);
    let mut arguments = vec![
        ("img_resolution", integer(8)),
        ("img_channels", integer(1)),
        ("label_dim", integer(label_dim.into())),
        ("model_type", text("SongUNet")),
    ];
    arguments.extend(sigma_data.map(|value| ("sigma_data", float(value))));
    let mut state = vec![("_init_kwargs", dict(&arguments))];
    let tensors = own.tensors(&network.layout);
    for (entry, found) in network.layout.entries.iter().zip(&tensors) {
        state.push((&entry.name, tensor(&(found + more))));
    }
    object(class, &state)
}

#[test]
fn snapshots_of_edm_need_no_further_options() {
    let folder = tempfile::tempdir().unwrap();
    let images = |weights: &Path, more: &[&str]| {
        let npz = folder.path().join("images.npz");
        let more = [&["--count", "2", "--npz", npz.to_str().unwrap()], more].concat();
        let output = run(weights, &more);
        assert!(output.status.success(), "{output:?}");
        std::fs::read(npz).unwrap()
    };
    let loss = || object("EDMLoss", &[("sigma_data", float(0.9))]);
    for label_dim in [0, 2] {
        let own = folder.path().join("own.safetensors");
        network(&own, label_dim);
        let edm = |sigma, more| pickled("EDMPrecond", label_dim, sigma, more);
        for (at, (entries, more)) in [
            (vec![("loss_fn", loss()), ("ema", edm(None, 0.0))], &[][..]),
            // What the network says of itself holds, not what the loss says.
            (
                vec![("loss_fn", loss()), ("ema", edm(Some(0.25), 0.0))],
                &["--sigma-data", "0.25"],
            ),
            (vec![("D", edm(None, 1.0)), ("ema", edm(None, 0.0))], &[]),
            (vec![("D", edm(None, 0.0)), ("loss_fn", loss())], &[]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(format!("network-snapshot-{at:06}.pkl"));
            std::fs::write(&path, snapshot(&entries)).unwrap();
            assert!(images(&path, &[]) == images(&own, more), "{label_dim} {at}");
        }
    }
}

#[test]
fn networks_of_other_preconditionings_are_told_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let grid = folder.path().join("grid.png");
    let path = folder.path().join("network-snapshot-000000.pkl");
    for (class, name) in [
        ("VPPrecond", "preconditioned as VP"),
        ("VEPrecond", "preconditioned as VE"),
        ("iDDPMPrecond", "preconditioned as iDDPM"),
    ] {
        let entries = [("ema", pickled(class, 0, None, 0.0))];
        std::fs::write(&path, snapshot(&entries)).unwrap();
        // An option for the data makes no other network of it.
        for more in [&[][..], &["--sigma-data", "0.5"]] {
            let output = run(&path, &[&["--grid", grid.to_str().unwrap()], more].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success());
            assert!(
                said.contains(&format!("the network is a {class}")),
                "{said}"
            );
            assert!(said.contains(name), "{said}");
        }
    }
}
