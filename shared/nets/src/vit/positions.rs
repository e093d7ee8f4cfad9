//! Position embeddings: resampling to another grid, and MoCo v3's fixed table (spec §2.2, §2.3).

use tch::{Device, Kind, Tensor};

/// How a stored grid of positions is resampled to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// DINO and DINOv2: bicubic (a = −0.75) without antialias, with the scale factor (g + 0.1) / M
    /// given to the kernel, so that a source coordinate is (i + 0.5) · M / (g + 0.1) − 0.5. The 0.1
    /// once kept a rounded output size from being one too small; the weights were evaluated with
    /// it, and without it features shift and the Fréchet distance changes.
    Offset,
    /// DINOv2 with registers, and timm: bicubic with antialias (a = −0.5), by the output size
    /// alone.
    Antialias,
}

/// Positions \[1, 1 + rows · columns, dim\] from \[1, 1 + M², dim\]; the class token's row stays
/// as it is. Interpolated in float32, as upstream does, and returned in the precision given.
pub fn resample(
    positions: &Tensor,
    rows: i64,
    columns: i64,
    interpolation: Interpolation,
) -> Tensor {
    let (_, count, dim) = positions
        .size3()
        .expect("invariant: positions have three axes");
    // The grid is square: published ViTs are trained on square images.
    let side = ((count - 1) as f64).sqrt().round() as i64;
    // Upstream returns them unchanged as well, so that the 0.1 below does not take effect.
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
            // `align_corners` is false; the scale factors take precedence over the ratio of sizes.
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

/// MoCo v3's fixed positions \[1, 1 + rows · columns, dim\]: ω_j = 10000^(−j / (dim / 4)); the
/// token of row r and column c has sin(rω), cos(rω), sin(cω), cos(cω); the class row is zero.
pub fn sin_cos(rows: i64, columns: i64, dim: i64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    // A quarter of the width for each of sine and cosine, of row and column.
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
