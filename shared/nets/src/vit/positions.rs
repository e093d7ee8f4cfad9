//! Position embeddings: resampling to another grid, and MoCo v3's fixed table.

use tch::{Device, Kind, Tensor};

/// How a stored grid of positions is brought to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// DINO, DINOv2: bicubic (a = −0.75), no antialias, and scale factors (g + 0.1) / M handed to
    /// the kernel, so that a source coordinate is (i + 0.5) · M / (g + 0.1) − 0.5.
    Offset,
    /// DINOv2 with registers, timm: bicubic with antialias (a = −0.5) to the plain size.
    Antialias,
}

/// Positions \[1, 1 + rows · columns, dim\] from \[1, 1 + M², dim\]; the class row stays. Computed
/// in float32 as upstream does.
pub fn resample(
    positions: &Tensor,
    rows: i64,
    columns: i64,
    interpolation: Interpolation,
) -> Tensor {
    let (_, count, dim) = positions
        .size3()
        .expect("invariant: positions have three axes");
    let side = ((count - 1) as f64).sqrt().round() as i64;
    if rows == side && columns == side {
        return positions.shallow_clone();
    }
    let grid = positions
        .narrow(1, 1, count - 1)
        .to_kind(Kind::Float)
        .reshape([1, side, side, dim])
        .permute([0, 3, 1, 2]);
    let grid = match interpolation {
        Interpolation::Offset => {
            let scale = |size: i64| (size as f64 + 0.1) / side as f64;
            grid.upsample_bicubic2d([rows, columns], false, scale(rows), scale(columns))
        }
        Interpolation::Antialias => {
            grid.internal_upsample_bicubic2d_aa([rows, columns], false, None, None)
        }
    };
    let patches = grid
        .permute([0, 2, 3, 1])
        .reshape([1, rows * columns, dim])
        .to_kind(positions.kind());
    Tensor::cat(&[positions.narrow(1, 0, 1), patches], 1)
}

/// MoCo v3's positions \[1, 1 + rows · columns, dim\]: ω_j = 10000^(−j / (dim / 4)); the token of
/// row r and column c has sin(rω), cos(rω), sin(cω), cos(cω); the class row is zero.
pub fn sin_cos(rows: i64, columns: i64, dim: i64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let quarter = dim / 4;
    let omega = (Tensor::arange(quarter, options) / quarter as f64 * -(10000f64.ln())).exp();
    let angles = |count: i64| Tensor::arange(count, options).outer(&omega);
    let row = angles(rows)
        .unsqueeze(1)
        .expand([rows, columns, quarter], false)
        .reshape([-1, quarter]);
    let column = angles(columns)
        .unsqueeze(0)
        .expand([rows, columns, quarter], false)
        .reshape([-1, quarter]);
    let table = Tensor::cat(&[row.sin(), row.cos(), column.sin(), column.cos()], 1);
    Tensor::cat(&[Tensor::zeros([1, dim], options), table], 0).unsqueeze(0)
}
