//! Weights filled by a rule of 64-bit arithmetic, so that large networks need no file.

use crate::extractors::{Comparison, Verdict, exact_match, listing::Listing};
use anyhow::Context;
use cedm_nets::Weights;
use serde_json::Value;
use tch::Tensor;

/// One tensor: place `k` in the order of names, `offset + scale · u` with u between −1 and 1.
pub fn tensor(seed: u64, k: u64, shape: &[i64], offset: f64, scale: f64) -> Tensor {
    let count = shape.iter().product::<i64>() as u64;
    let base = seed
        .wrapping_mul(0xD1B5_4A32_D192_ED03)
        .wrapping_add(k.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7));
    let value = |i: u64| {
        let mut z = base.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let u = 2.0 * ((z >> 11) as f64 * 2f64.powi(-53)) - 1.0;
        (offset + scale * u) as f32
    };
    Tensor::from_slice(&(0..count).map(value).collect::<Vec<f32>>()).reshape(shape)
}

/// The tensor of a rule: its shape, its place `k` in the stream of the seed, offset and scale.
pub fn by_rule(seed: u64, rule: &Value) -> anyhow::Result<Tensor> {
    let shape: Vec<i64> = rule["shape"]
        .as_array()
        .context("a shape")?
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    let number = |key: &str| {
        rule[key]
            .as_f64()
            .with_context(|| format!("no number `{key}`"))
    };
    let place = rule["k"].as_u64().context("no place `k`")?;
    Ok(tensor(
        seed,
        place,
        &shape,
        number("offset")?,
        number("scale")?,
    ))
}

/// All tensors of a table.
pub fn weights(table: &Value) -> anyhow::Result<Weights> {
    entries(table)?
        .map(|(entry, tensor)| Ok((name(entry)?, tensor?)))
        .collect::<anyhow::Result<Vec<_>>>()
        .map(Weights::from_iter)
}

fn name(entry: &Value) -> anyhow::Result<String> {
    Ok(entry["name"]
        .as_str()
        .context("an entry has a name")?
        .to_owned())
}

fn entries(
    table: &Value,
) -> anyhow::Result<impl Iterator<Item = (&Value, anyhow::Result<Tensor>)>> {
    let seed = table["seed"].as_u64().context("the table has no seed")?;
    let one = move |entry: &Value| by_rule(seed, entry);
    Ok(table["entries"]
        .as_array()
        .context("the table has no entries")?
        .iter()
        .map(move |entry| (entry, one(entry))))
}

/// Compares the first three values, the last and the sum of every tensor of a table.
pub fn check_table(listing: &Listing) -> anyhow::Result<Verdict> {
    let table = listing.json(&listing.name)?;
    let (mut same, mut worst, mut count) = (true, 0f64, 0);
    for (entry, tensor) in entries(&table)? {
        let flat = Vec::<f32>::try_from(tensor?.view([-1]))?;
        let first: Vec<f64> = entry["first3"]
            .as_array()
            .context("first3")?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        same &= flat.iter().zip(&first).all(|(a, b)| f64::from(*a) == *b);
        same &= flat.last().map(|last| f64::from(*last)) == entry["last"].as_f64();
        let sum: f64 = flat.iter().map(|value| f64::from(*value)).sum();
        worst = worst.max((sum - entry["sum_f64"].as_f64().context("sum_f64")?).abs());
        count += 1;
    }
    Ok(Verdict::Checked(vec![
        exact_match(
            format!("values of {count} filled tensors"),
            same && count > 0,
        ),
        Comparison::new("their sums", worst, 1e-7),
    ]))
}
