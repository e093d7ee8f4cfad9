//! The EDM loss: the weighted squared error of the denoised image, pixel by pixel (EDM, eq. 2 and
//! table 1; spec §7.2).

use crate::{
    network::{Labels, Mode, Network},
    parameters::Views,
    precondition::{NoiseLevels, Preconditioning},
};
use tch::Tensor;

/// The random numbers of one loss evaluation, drawn by the caller so that two networks can be
/// compared on the same ones.
#[derive(Debug)]
pub struct Noise {
    /// Standard normal \[n\], from which the noise level of each image follows.
    pub rnd_normal: Tensor,
    /// Standard normal \[n, c, r, r\], scaled by the noise level and added to the image.
    pub unit: Tensor,
}

/// The loss of every pixel \[n, c, r, r\] for clean images \[n, c, r, r\] in \[−1, 1\].
///
/// The backward pass starts from the sum over pixels and the mean over images (spec §16.10: with a
/// mean over pixels, Adam's eps and float16 would act differently); the mean over everything is
/// what is logged.
pub fn loss_map(
    network: &Network,
    views: &Views,
    images: &Tensor,
    noise: &Noise,
    levels: NoiseLevels,
    labels: Labels<'_>,
    mode: Mode,
) -> Tensor {
    let sigma = levels.of(&noise.rnd_normal.reshape([-1]));
    let per_image = |t: &Tensor| t.reshape([-1, 1, 1, 1]);
    let weight = Preconditioning {
        sigma_data: network.architecture.sigma_data,
    }
    .loss_weight(&sigma);
    let noisy = images + &noise.unit * per_image(&sigma);
    let denoised = network.denoise(views, &noisy, &sigma, labels, mode);
    per_image(&weight) * (denoised - images).square()
}

/// Pixels u8 as the network's input in \[−1, 1\]: u8 / 127.5 − 1, in the given type.
pub fn normalise(pixels: &Tensor, kind: tch::Kind) -> Tensor {
    pixels.to_kind(kind) / 127.5 - 1.0
}
