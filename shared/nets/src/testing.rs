//! Networks filled with weights by a rule, whose outputs are known by a few golden numbers (spec
//! appendix C).

use crate::Weights;
use tch::{Device, Kind, Tensor};

/// Weights by the rule `0.2 · sin(1 + j + 0.37 i)`, j the place of the name in byte order; factors
/// of norms and scales add 1.
pub fn filled(mut shapes: Vec<(String, Vec<i64>)>) -> Weights {
    shapes.sort();
    let one = |(j, (name, shape)): (usize, (String, Vec<i64>))| {
        let i = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
        let value = ((i * 0.37) + (1 + j) as f64).sin() * 0.2;
        let factor = shape.len() == 1 && (name.ends_with(".gamma") || is_norm_weight(&name));
        let value = if factor { value + 1.0 } else { value };
        (name, value.to_kind(Kind::Float).reshape(shape))
    };
    shapes.into_iter().enumerate().map(one).collect()
}

fn is_norm_weight(name: &str) -> bool {
    name.strip_suffix(".weight")
        .and_then(|stem| stem.rsplit('.').next())
        .is_some_and(|last| last.starts_with("norm") || last.starts_with("ln_"))
}

/// Inputs of this shape, float32: element i is sin(0.05 i).
pub fn waves(shape: &[i64]) -> Tensor {
    (Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 0.05)
        .sin()
        .to_kind(Kind::Float)
        .reshape(shape)
}

/// First six and last three values, mean and mean magnitude.
pub struct Summary {
    pub first: [f64; 6],
    pub last: [f64; 3],
    pub mean: f64,
    pub abs_mean: f64,
}

/// Compares a tensor with its summary.
pub fn agrees(found: &Tensor, expect: &Summary, tolerance: f64) {
    let flat = Vec::<f64>::try_from(found.to_kind(Kind::Double).contiguous().view([-1])).unwrap();
    let close = |a: f64, b: f64| assert!((a - b).abs() <= tolerance, "{a} is not {b}");
    flat.iter()
        .zip(expect.first)
        .for_each(|(a, b)| close(*a, b));
    flat[flat.len() - 3..]
        .iter()
        .zip(expect.last)
        .for_each(|(a, b)| close(*a, b));
    close(flat.iter().sum::<f64>() / flat.len() as f64, expect.mean);
    close(
        flat.iter().map(|v| v.abs()).sum::<f64>() / flat.len() as f64,
        expect.abs_mean,
    );
}
