//! Three ways in which published Fréchet distances resize images to 299×299; their scores differ
//! (spec §10.1).

use super::SIDE;
use crate::{NetError, preprocess::pictures_of};
use cedm_images::pillow::{Filter, resize_float};
use tch::{Kind, Tensor};

/// A rule for resizing and scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// That of the TensorFlow graph: EDM, C-EDM, torch-fidelity, clean-fid's `legacy_tensorflow`.
    Tensorflow,
    /// That of pytorch-fid, clean-fid's `legacy_pytorch`.
    PytorchFid,
    /// That of clean-fid's mode `clean`.
    CleanFid,
}

impl Rule {
    /// The network's input \[n, 3, 299, 299\]: uint8 images \[n, 1 or 3, h, w\], which are also
    /// given as `rgb` \[n, 3, h, w\] in the network's precision, resized and scaled.
    ///
    /// # Errors
    /// When the images are not a uint8 tensor \[n, 1 or 3, h, w\].
    pub fn scaled(self, images: &Tensor, rgb: &Tensor) -> Result<Tensor, NetError> {
        Ok(match self {
            Rule::Tensorflow => scaled_as_tensorflow(rgb),
            Rule::PytorchFid => pytorch_fid_plane(rgb) * 2.0 - 1.0,
            Rule::CleanFid => {
                // Pillow works on the bytes; grey is resized once and repeated afterwards.
                let plane = (clean_fid_plane(images)? - 128.0) / 128.0;
                let plane = plane.to_device(rgb.device()).to_kind(rgb.kind());
                plane.expand([-1, 3, -1, -1], false)
            }
        })
    }
}

/// TensorFlow 1's bilinear resize of images \[n, c, h, w\] to \[n, c, side, side\].
///
/// The source coordinate is i · (in / out): without the half pixel that PyTorch and Pillow add, and
/// without antialias; the upper neighbour is clamped at the edge. PyTorch's `interpolate` cannot do
/// this, and half a pixel more changes the distance visibly.
pub fn tensorflow_bilinear(x: &Tensor, side: i64) -> Tensor {
    let (_, _, height, width) = x.size4().expect("invariant: images have four axes");
    along(&along(x, 2, height, side), 3, width, side)
}

/// [`tensorflow_bilinear`] along one axis of length `size`.
pub(super) fn along(x: &Tensor, axis: i64, size: i64, side: i64) -> Tensor {
    let scale = size as f64 / side as f64;
    // In float64: in float32 a coordinate just below a whole number would round to it.
    let source: Vec<f64> = (0..side).map(|at| at as f64 * scale).collect();
    let low: Vec<i64> = source.iter().map(|at| at.floor() as i64).collect();
    let high: Vec<i64> = low.iter().map(|at| (at + 1).min(size - 1)).collect();
    let weight: Vec<f64> = source
        .iter()
        .zip(&low)
        .map(|(at, low)| at - *low as f64)
        .collect();
    let mut shape = [1i64; 4];
    shape[axis as usize] = side;
    let weight = Tensor::from_slice(&weight)
        .reshape(shape)
        .to_kind(x.kind())
        .to_device(x.device());
    let pick = |at: &[i64]| x.index_select(axis, &Tensor::from_slice(at).to_device(x.device()));
    let (low, high) = (pick(&low), pick(&high));
    &low + (high - &low) * weight
}

/// Values 0 to 255 as the TensorFlow graph reads them: resized, then (x − 128) / 128, so that 255
/// becomes 0.992 and not 1.
pub fn scaled_as_tensorflow(x: &Tensor) -> Tensor {
    (tensorflow_bilinear(x, SIDE) - 128.0) / 128.0
}

/// pytorch-fid's resize: x / 255, then bilinear with half pixels and without antialias. Values
/// 0 to 1; the caller scales them by 2x − 1.
pub fn pytorch_fid_plane(x: &Tensor) -> Tensor {
    // `align_corners` is false, as in `F.interpolate`.
    (x / 255.0).upsample_bilinear2d([SIDE, SIDE], false, None, None)
}

/// clean-fid's resize: Pillow's bicubic with antialias in float for each channel, not rounded,
/// clipped to 0 to 255, as \[n, 1 or 3, 299, 299\] on the CPU.
///
/// # Errors
/// When the images are not a uint8 tensor \[n, 1 or 3, h, w\].
pub fn clean_fid_plane(images: &Tensor) -> Result<Tensor, NetError> {
    let size = images.size();
    // Called for its check alone: the values go through as float.
    pictures_of(images)?;
    let (height, width) = (size[2] as usize, size[3] as usize);
    let values = Vec::<f32>::try_from(images.to_kind(Kind::Float).contiguous().view([-1]))?;
    let side = SIDE as usize;
    // Plane by plane: clean-fid resizes each channel as an image of its own, in mode `F`.
    let planes: Vec<f32> = values
        .chunks_exact(height * width)
        .flat_map(|plane| resize_float(plane, width, height, side, side, Filter::Bicubic))
        .collect();
    Ok(Tensor::f_from_slice(&planes)?
        .reshape([size[0], size[1], SIDE, SIDE])
        .clamp(0.0, 255.0))
}
