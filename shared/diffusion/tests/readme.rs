//! The script of the services' README that loads weights from here into EDM's own class: its
//! network is one of ours, and the names that we write are those of the reference implementation.

#![forbid(unsafe_code)]

use cedm_diffusion::{Architecture, Network, Parameters, weights};
use cedm_sweep::preset;
use cedm_torch::tensor_files;
use std::{collections::BTreeMap, path::Path};
use tch::Device;

/// The value of a keyword argument in a Python call.
fn argument<'s>(script: &'s str, name: &str) -> &'s str {
    let at = script.find(&format!("{name}=")).unwrap() + name.len() + 1;
    let rest = &script[at..];
    let end = match rest.strip_prefix('[') {
        Some(list) => 2 + list.find(']').unwrap(),
        None => rest.find([',', ')']).unwrap(),
    };
    &rest[..end]
}

#[test]
fn the_script_back_to_edm_names_what_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("services/README.md")).unwrap();
    let script = readme
        .split("```")
        .find(|block| block.starts_with("python") && block.contains("import EDMPrecond"))
        .unwrap();
    // What the reference implementation has in its network of these arguments.
    let path = root.join("tests/parity/diffusion/inventory_cifar10_cond.json");
    let inventory: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (name, value) in [
        ("img_resolution", "img_resolution"),
        ("img_channels", "img_channels"),
        ("label_dim", "label_dim"),
        ("model_channels", "model_channels"),
        ("channel_mult", "channel_mult"),
    ] {
        let said: serde_json::Value = serde_json::from_str(argument(script, name)).unwrap();
        assert_eq!(said, inventory["config"][value], "{name}");
    }
    assert_eq!(argument(script, "model_type"), "'SongUNet'");
    let mut spec = preset("cifar10").unwrap().network;
    (spec.label_dim, spec.augment_dim) = (10, 0);
    let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
    assert_eq!(
        argument(script, "sigma_data"),
        network.architecture.sigma_data.to_string()
    );
    let filter = &network.architecture.resample_filter;
    let own = Parameters::initial(&network.layout, filter, 1, Device::Cpu);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ema.safetensors");
    weights::save(&file, &network, &own).unwrap();
    let written: BTreeMap<String, Vec<i64>> = tensor_files::read(&file)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.size()))
        .collect();
    let theirs: BTreeMap<String, Vec<i64>> = inventory["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let shape = serde_json::from_value(row[1].clone()).unwrap();
            (row[0].as_str().unwrap().to_owned(), shape)
        })
        // The script's network is one without augmentation labels.
        .filter(|(name, _)| !name.starts_with("model.map_augment."))
        .collect();
    for (name, shape) in &written {
        assert_eq!(theirs.get(name), Some(shape), "unexpected for EDM: {name}");
    }
    let mut missing = theirs.keys().filter(|name| !written.contains_key(*name));
    assert!(
        missing.all(|name| name.ends_with("resample_filter")),
        "missing for EDM"
    );
    assert!(script.contains("all(name.endswith('resample_filter') for name in missing)"));
}
