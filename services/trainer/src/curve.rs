//! The training curve: a few numbers per tick, kept in checkpoints so that it survives
//! interruptions, and written as JSON beside the weights.

use cedm_contract::kinds::train::curve::{
    DEVICE_BYTES, GRADIENT_NORM, IMAGES_PER_SECOND, KIMG, LOSS, LR, RESIDENT_BYTES,
};
use serde::Serialize;
use std::{io, path::Path};
use tch::{Kind, Tensor};

/// The numbers of one tick, a group of optimiser steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tick {
    /// Images seen at its end, in thousands.
    pub kimg: f64,
    /// Mean loss per pixel over the tick.
    pub loss: f64,
    /// Euclidean norm of the gradient of its last step.
    pub gradient_norm: f64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Images trained on per second, over the tick.
    pub images_per_second: f64,
    /// Resident memory of the process at its end, in bytes.
    pub resident_bytes: f64,
    /// Memory in use on the GPU at its end, in bytes; 0 on a CPU.
    pub device_bytes: f64,
}

/// Writes JSON for people: indented.
pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> io::Result<()> {
    cedm_atomic_file::write(path, &serde_json::to_vec_pretty(value)?)
}

/// Number of fields of a [`Tick`].
const WIDTH: usize = 7;

/// Their names in `curve.json`, in the order of [`Tick::numbers`].
const COLUMNS: [&str; WIDTH] = [
    KIMG,
    LOSS,
    GRADIENT_NORM,
    LR,
    IMAGES_PER_SECOND,
    RESIDENT_BYTES,
    DEVICE_BYTES,
];

impl Tick {
    fn numbers(&self) -> [f64; WIDTH] {
        [
            self.kimg,
            self.loss,
            self.gradient_norm,
            self.lr,
            self.images_per_second,
            self.resident_bytes,
            self.device_bytes,
        ]
    }
}

/// All ticks of a segment so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// The ticks, in order.
    pub ticks: Vec<Tick>,
}

impl Curve {
    /// The curve as one tensor f64 \[ticks, 7\], for checkpoints.
    pub fn to_tensor(&self) -> Tensor {
        let rows: Vec<f64> = self.ticks.iter().flat_map(Tick::numbers).collect();
        Tensor::from_slice(&rows).view([self.ticks.len() as i64, WIDTH as i64])
    }

    /// The curve from a checkpoint's tensor; an empty one if the tensor has another width.
    pub fn from_tensor(tensor: &Tensor) -> Self {
        if tensor.size().get(1) != Some(&(WIDTH as i64)) {
            return Self::default();
        }
        let rows =
            Vec::<f64>::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap_or_default();
        let tick = |row: &[f64]| Tick {
            kimg: row[0],
            loss: row[1],
            gradient_norm: row[2],
            lr: row[3],
            images_per_second: row[4],
            resident_bytes: row[5],
            device_bytes: row[6],
        };
        Self {
            ticks: rows.chunks_exact(WIDTH).map(tick).collect(),
        }
    }

    /// Writes [`Curve::to_json`] to a file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_json(path, &self.to_json())
    }

    /// The curve as a JSON object of columns, the form that plotting libraries take.
    pub fn to_json(&self) -> serde_json::Value {
        let ticks: Vec<[f64; WIDTH]> = self.ticks.iter().map(Tick::numbers).collect();
        let column = |at: usize| ticks.iter().map(|tick| tick[at]).collect::<Vec<f64>>();
        let columns = COLUMNS.iter().enumerate();
        columns
            .map(|(at, name)| ((*name).to_owned(), column(at)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_survives_a_checkpoint() {
        let tick = |kimg| Tick {
            kimg,
            loss: 0.1 / kimg,
            gradient_norm: 2.0,
            lr: 1e-3,
            images_per_second: 300.5,
            resident_bytes: 1e9,
            device_bytes: 0.0,
        };
        let curve = Curve {
            ticks: vec![tick(1.0), tick(3.0)],
        };
        assert_eq!(Curve::from_tensor(&curve.to_tensor()), curve);
        assert_eq!(
            Curve::from_tensor(&Curve::default().to_tensor()),
            Curve::default()
        );
        assert_eq!(curve.to_json()["kimg"], serde_json::json!([1.0, 3.0]));
    }
}
