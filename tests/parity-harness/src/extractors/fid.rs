//! The Inception network of the Fréchet distance, with four ways of resizing images.

use super::{
    Comparison, Verdict, exact_match, listing::Listing, max_abs_error, max_error_over_rms,
};
use crate::fixture::Fixture;
use anyhow::Context;
use cedm_nets::{
    Weights,
    inception::{Inception, resize},
};
use std::collections::{BTreeMap, HashMap};
use tch::{Device, Kind, Tensor};

const NETWORK: f64 = 5e-5;
const DOUBLE: f64 = 1e-9;
const PLANE_255: f64 = 2e-3;
const PLANE_1: f64 = 1e-5;

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    let tensors = listing.tensors();
    if tensors.keys().any(|name| name.contains(".torch_fidelity.")) {
        return Ok(Verdict::Checked(outputs(fixture, listing)?));
    }
    if listing.siblings().iter().any(|name| {
        listing
            .tensors_of(name)
            .keys()
            .any(|name| name.contains(".torch_fidelity."))
    }) && !tensors.is_empty()
    {
        return Ok(Verdict::PartOf("the outputs beside it".to_owned()));
    }
    if listing.name.ends_with(".json") {
        let json = listing.json(&listing.name)?;
        if json["names_and_shapes"].is_object() {
            return Ok(Verdict::Checked(names(&json)?));
        }
    }
    Ok(Verdict::NotRecognised)
}

/// Names and shapes of the published file, and the other names for the same tensors.
fn names(json: &serde_json::Value) -> anyhow::Result<Vec<Comparison>> {
    let listed: BTreeMap<String, Vec<i64>> =
        serde_json::from_value(json["names_and_shapes"].clone())?;
    let counters = |name: &String| name.ends_with("num_batches_tracked");
    let wanted: BTreeMap<_, _> = listed
        .iter()
        .filter(|(name, _)| !counters(name))
        .map(|(name, shape)| (name.clone(), shape.clone()))
        .collect();
    let mut comparisons = vec![exact_match(
        format!("{} names and shapes", listed.len()),
        Inception::blueprint()
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            == wanted,
    )];
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let wrappers: BTreeMap<String, String> =
        serde_json::from_value(json["pytorch_fid_wrapper_prefixes"].clone()).unwrap_or_default();
    let theirs = |name: &str| {
        let found = wrappers.iter().find_map(|(theirs, ours)| {
            Some(format!(
                "{theirs}.{}",
                name.strip_prefix(&format!("{ours}."))?
            ))
        });
        found.unwrap_or_else(|| name.to_owned())
    };
    let wrapped: Weights = listed
        .iter()
        .map(|(name, shape)| (theirs(name), ones(shape)))
        .collect();
    comparisons.push(exact_match(
        "pytorch-fid's names",
        Inception::load(&wrapped, Kind::Float, Device::Cpu).is_ok(),
    ));
    let detector: BTreeMap<String, String> =
        serde_json::from_value(json["detector_names_to_state_dict_names"].clone())
            .unwrap_or_default();
    let other: Option<Weights> = detector
        .iter()
        .map(|(theirs, ours)| Some((theirs.clone(), ones(listed.get(ours)?))))
        .collect::<Option<Vec<_>>>()
        .map(Weights::from_iter);
    let loaded =
        other.is_some_and(|weights| Inception::load(&weights, Kind::Float, Device::Cpu).is_ok());
    comparisons.push(exact_match("the detector's names", loaded));
    Ok(comparisons)
}

/// Inputs and weights of a case in both precisions.
struct Case {
    expect: HashMap<String, Tensor>,
    single: Inception,
    double: Inception,
    comparisons: Vec<Comparison>,
}

fn outputs(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Vec<Comparison>> {
    let weights = listing.filled_weights()?;
    let input = listing.siblings().into_iter().find(|name| {
        listing
            .tensors_of(name)
            .values()
            .any(|shape| shape.len() == 4)
    });
    let inputs = listing.read(input.context("no inputs beside it")?)?;
    let mut case = Case {
        expect: fixture.tensors()?,
        single: Inception::load(&weights, Kind::Float, Device::Cpu)?,
        double: Inception::load(&weights, Kind::Double, Device::Cpu)?,
        comparisons: Vec::new(),
    };
    let mut tags: Vec<&String> = inputs.keys().collect();
    tags.sort();
    for tag in tags {
        case.tensorflow(tag, &inputs[tag]);
        case.pytorch_fid(tag, &inputs[tag]);
        case.clean_fid(tag, &inputs[tag])?;
        case.planes(tag, &inputs[tag])?;
    }
    Ok(case.comparisons)
}

/// Modules whose outputs pytorch-fid and torch-fidelity return, by feature width.
const OUTLETS: [(&str, usize, &str); 3] = [
    ("MaxPool_1", 0, "64"),
    ("MaxPool_2", 1, "192"),
    ("Mixed_6e", 2, "768"),
];

impl Case {
    fn compare(&mut self, name: String, found: &Tensor, tolerance: f64) {
        if let Some(expect) = self.expect.get(&name) {
            self.comparisons.push(Comparison::new(
                name,
                max_error_over_rms(found, expect),
                tolerance,
            ));
        }
    }

    /// EDM's detector and torch-fidelity: one implementation serves both.
    fn tensorflow(&mut self, tag: &str, images: &Tensor) {
        let scaled = resize::scaled_as_tensorflow(&self.single.rgb(images));
        let (features, means) = traced(&self.single, &scaled);
        for (module, mean) in &means {
            self.compare(format!("{tag}.detector.mean.{module}"), mean, NETWORK);
        }
        for (module, _, width) in OUTLETS {
            self.compare(
                format!("{tag}.torch_fidelity.{width}"),
                &means[module],
                NETWORK,
            );
        }
        let (logits, unbiased) = (
            self.single.logits(&features),
            self.single.logits_unbiased(&features),
        );
        self.compare(format!("{tag}.torch_fidelity.logits"), &logits, NETWORK);
        self.compare(
            format!("{tag}.torch_fidelity.logits_unbiased"),
            &unbiased,
            NETWORK,
        );
        let double = self.double.forward(images);
        for way in ["detector", "torch_fidelity"] {
            self.compare(format!("{tag}.{way}.2048"), &features, NETWORK);
            self.compare(format!("{tag}.{way}.2048_f64"), &double, DOUBLE);
        }
    }

    fn pytorch_fid(&mut self, tag: &str, images: &Tensor) {
        let scaled = resize::pytorch_fid_plane(&self.single.rgb(images)) * 2.0 - 1.0;
        let (features, means) = traced(&self.single, &scaled);
        for (module, block, _) in OUTLETS {
            self.compare(
                format!("{tag}.pytorch_fid.block{block}"),
                &means[module],
                NETWORK,
            );
        }
        self.compare(format!("{tag}.pytorch_fid.block3"), &features, NETWORK);
        let scaled = resize::pytorch_fid_plane(&self.double.rgb(images)) * 2.0 - 1.0;
        let (double, _) = traced(&self.double, &scaled);
        self.compare(format!("{tag}.pytorch_fid.block3_f64"), &double, DOUBLE);
    }

    fn clean_fid(&mut self, tag: &str, images: &Tensor) -> anyhow::Result<()> {
        let scaled = (resize::clean_fid_plane(images)? - 128.0) / 128.0;
        let (features, _) = traced(&self.single, &scaled);
        self.compare(format!("{tag}.clean_fid.2048"), &features, NETWORK);
        Ok(())
    }

    /// One channel of one image after resizing; which one is found by comparing with all.
    fn planes(&mut self, tag: &str, images: &Tensor) -> anyhow::Result<()> {
        let rgb = self.single.rgb(images);
        let ways = [
            ("pytorch_fid", resize::pytorch_fid_plane(&rgb), PLANE_1),
            (
                "torch_fidelity",
                resize::tensorflow_bilinear(&rgb, cedm_nets::inception::SIDE),
                PLANE_255,
            ),
            ("clean_fid", resize::clean_fid_plane(images)?, PLANE_255),
        ];
        for (way, found, tolerance) in ways {
            let name = format!("{tag}.resized.{way}");
            let Some(expect) = self.expect.get(&name) else {
                continue;
            };
            let planes = found.flatten(0, 1);
            let worst = (0..planes.size()[0])
                .map(|at| max_abs_error(&planes.get(at), &expect.squeeze()))
                .fold(f64::INFINITY, f64::min);
            self.comparisons
                .push(Comparison::new(name, worst, tolerance));
        }
        Ok(())
    }
}

/// Features, and the spatial mean of what each module gives.
fn traced(net: &Inception, scaled: &Tensor) -> (Tensor, HashMap<String, Tensor>) {
    let mut means = HashMap::new();
    let features = net.features(scaled, &mut |name, value| {
        means.insert(
            name.to_owned(),
            value.mean_dim([2i64, 3].as_slice(), false, None),
        );
    });
    (features, means)
}
