//! The formulas against golden numbers, against slow and plain versions of themselves, and on
//! broken files.

mod golden;
mod neighbours;
mod properties;
mod statistics;

use cedm_maths::Features;
use tch::Tensor;

/// A set from row-major values.
fn set(name: &str, values: &[f64], width: usize) -> Features {
    Features::new(name, &Tensor::from_slice(values).view([-1, width as i64]))
        .expect("finite features")
}

/// float32(a) · float32(sin(f·i + phase)) + float32(b) for i = 0.., in float32 arithmetic: how the
/// golden inputs were made.
fn waves(count: usize, frequency: f64, phase: f64, a: f32, b: f32) -> Vec<f64> {
    (0..count)
        .map(|i| f64::from(a * (frequency * i as f64 + phase).sin() as f32 + b))
        .collect()
}
