//! Snapshots as EDM writes them: pickles of a dict in which the network is one object of several.

#[path = "../../tests/edm/pickle.rs"]
mod pickle;
#[path = "../../tests/tiny/network.rs"]
mod tiny;

use super::*;
use pickle::{dict, float, integer, object, snapshot, tensor, text};
use tch::{Device, Kind};
use tiny::parameters;

/// A network with these constructor's arguments.
fn network(class: &str, arguments: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (network, own) = parameters(2);
    let tensors = own.tensors(&network.layout);
    let mut state: Vec<(&str, Vec<u8>)> = vec![("_init_kwargs", dict(arguments))];
    for (entry, found) in network.layout.entries.iter().zip(&tensors) {
        state.push((&entry.name, tensor(found)));
    }
    object(class, &state)
}

/// The standard deviation with which the sampler takes a snapshot of these entries.
fn read(entries: &[(&str, Vec<u8>)]) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network-snapshot-000000.pkl");
    std::fs::write(&path, snapshot(entries)).unwrap();
    let (network, _) = read_network(&path, None).map_err(|error| format!("{error:#}"))?;
    Ok(network.architecture.sigma_data)
}

#[test]
fn the_preconditioning_is_that_of_the_network_that_is_taken() {
    let sigma = |value: f64| ("sigma_data", float(value));
    let edm = |value: f64| network("EDMPrecond", &[sigma(value)]);
    let loss = |value: f64| object("EDMLoss", &[sigma(value)]);
    // The loss comes before the network and has a value of its own.
    let found = read(&[("loss_fn", loss(0.9)), ("ema", edm(0.25))]);
    assert_eq!(found, Ok(0.25));
    let found = read(&[("loss_fn", loss(0.9)), ("ema", network("EDMPrecond", &[]))]);
    assert_eq!(found, Ok(0.5));
    let found = read(&[("D", network("VPPrecond", &[])), ("ema", edm(0.25))]);
    assert_eq!(found, Ok(0.25));
    assert_eq!(read(&[("D", edm(0.25))]), Ok(0.25));
    for class in ["VPPrecond", "VEPrecond", "iDDPMPrecond", "SomePrecond"] {
        let loss = object("EDMLoss", &[sigma(0.5)]);
        let error = read(&[("loss_fn", loss), ("ema", network(class, &[]))]).unwrap_err();
        assert!(
            error.contains(&format!("the network is a {class}, which is")),
            "{error}"
        );
    }
    // Without a preconditioning only the user knows which it was.
    let error = read(&[("ema", network("SongUNet", &[]))]).unwrap_err();
    assert!(error.contains("--sigma-data says"), "{error}");
}

#[test]
fn arguments_that_do_not_fit_the_tensors_are_named() {
    let with = |argument: (&str, Vec<u8>)| read(&[("ema", network("EDMPrecond", &[argument]))]);
    assert_eq!(with(("label_dim", integer(2))), Ok(0.5));
    for (argument, expected) in [
        (
            ("label_dim", integer(3)),
            "label_dim of its network is 3, its tensors are those of 2",
        ),
        (("img_channels", integer(3)), "img_channels"),
        (("img_resolution", integer(16)), "img_resolution"),
        (
            ("model_type", text("DhariwalUNet")),
            "a DhariwalUNet, expected SongUNet",
        ),
        (("sigma_max", float(10.0)), "noise levels from 0 to 10"),
    ] {
        let error = with(argument).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn metadata_is_read_whatever_the_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let (mut network, own) = parameters(0);
    network.architecture.sigma_data = 0.25;
    for name in ["ema.safetensors", "ema.bin", "ema"] {
        let path = folder.path().join(name);
        weights::save(&path, &network, &own).unwrap();
        let (read, _) = read_network(&path, None).unwrap();
        assert_eq!(read.architecture.sigma_data, 0.25, "{name}");
    }
}

#[test]
fn weights_of_another_network_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensors: Vec<(String, Tensor)> = cedm_nets::CifarResnet::blueprint(9)
        .into_iter()
        .map(|(name, shape)| (name, Tensor::zeros(&shape[..], (Kind::Float, Device::Cpu))))
        .collect();
    let tensors: Vec<(&str, &Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    cedm_torch::tensor_files::write(&path, &tensors, &[]).unwrap();
    let error = read_network(&path, None).unwrap_err().to_string();
    assert!(error.contains("nearest is `cifar_resnet56`"), "{error}");
}
