//! Inventories of full-size networks: names, shapes, kinds and initial scales of every tensor.

use super::{architecture, comparison};
use crate::fixture::{Fixture, Verdict};
use cedm_diffusion::{Network, Parameters, layout::Fill};
use serde_json::Value;
use std::collections::BTreeMap;
use tch::{Device, Kind};

/// An inventory, if the file is one.
pub fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    let Ok(file) = serde_json::from_slice::<Value>(&std::fs::read(&fixture.path)?) else {
        return Ok(Verdict::NotRecognised);
    };
    let is_inventory = file["config"]["img_resolution"].is_i64()
        && file["columns"].is_array()
        && file["tensors"].is_array();
    if !is_inventory {
        return Ok(Verdict::NotRecognised);
    }
    let columns: Vec<&str> = file["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let network = Network::new(architecture(&file["config"])?)?;
    let drawn = Parameters::initial(
        &network.layout,
        &network.architecture.resample_filter,
        1,
        Device::Cpu,
    );
    let tensors = drawn.tensors(&network.layout);
    let own: BTreeMap<&str, _> = network
        .layout
        .entries
        .iter()
        .zip(&tensors)
        .map(|(entry, tensor)| (entry.name.as_str(), (entry, tensor)))
        .collect();

    let empty = Vec::new();
    let rows = file["tensors"].as_array().unwrap_or(&empty);
    let (mut wrong, mut scale_error, mut order) = (0usize, 0.0f64, 0usize);
    for (index, row) in rows.iter().enumerate() {
        let cell = |name: &str| column(name).map_or(&Value::Null, |at| &row[at]);
        let name = cell("name").as_str().unwrap_or_default();
        let shape: Vec<i64> = cell("shape")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let Some((entry, tensor)) = own.get(name) else {
            wrong += 1;
            continue;
        };
        wrong += usize::from(entry.shape != shape || entry.trained != (cell("kind") == "param"));
        order += usize::from(
            network
                .layout
                .entries
                .get(index)
                .is_none_or(|entry| entry.name != name),
        );
        if let (Some(rms), Some(largest)) = (
            cell("init_rms_one_draw").as_f64(),
            cell("init_absmax_one_draw").as_f64(),
        ) {
            let tensor = tensor.to_kind(Kind::Double);
            let found = (
                tensor.square().mean(Kind::Double).sqrt().double_value(&[]),
                tensor.abs().max().double_value(&[]),
            );
            let exact = matches!(entry.fill, Fill::Zeros | Fill::Ones | Fill::ResampleFilter);
            // Two independent draws are compared: the RMS of n uniform numbers has a relative
            // standard deviation of about 0.45 / √n, and the stored one has 3 digits.
            let spread = if exact {
                1.0
            } else {
                4.0 * 0.75 / (entry.numel() as f64).sqrt() + 0.01
            };
            let relative = |found: f64, expected: f64| {
                if expected == 0.0 {
                    found.abs()
                } else {
                    (found / expected - 1.0).abs()
                }
            };
            let tail = if matches!(entry.fill, Fill::Normal { .. }) {
                4.0
            } else {
                1.0
            };
            scale_error = scale_error
                .max(relative(found.0, rms) / spread)
                .max(relative(found.1, largest) / (spread * tail).max(0.05));
        }
    }
    let missing = own.len().abs_diff(rows.len());
    let counted = file["total_params"]
        .as_u64()
        .unwrap_or(0)
        .abs_diff(network.layout.parameter_count());
    Ok(Verdict::Checked(vec![
        comparison(
            format!("{} tensors: names, shapes, kinds", rows.len()),
            (wrong + missing) as f64,
            0.0,
        ),
        comparison(
            "order of the state dict: places that differ",
            order as f64,
            0.0,
        ),
        comparison(
            format!("{} parameters", network.layout.parameter_count()),
            counted as f64,
            0.0,
        ),
        comparison(
            "initial scales, in units of what one draw allows",
            scale_error,
            1.0,
        ),
    ]))
}
