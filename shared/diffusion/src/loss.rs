//! The EDM loss: weighted squared error of the denoised image, per pixel (spec §7.2).

use crate::{
    network::{Labels, Mode, Network},
    parameters::Views,
    precondition::{NoiseLevels, Preconditioning},
};
use tch::Tensor;

/// The random numbers of one loss evaluation.
#[derive(Debug)]
pub struct Noise {
    /// Standard normal \[n\]: becomes the noise level.
    pub rnd_normal: Tensor,
    /// Standard normal \[n, c, r, r\]: becomes the noise.
    pub unit: Tensor,
}

/// The loss of every pixel \[n, c, r, r\] for clean images \[n, c, r, r\] in \[−1, 1\]. Sum over
/// pixels, mean over images is what goes backward; the mean over everything is what is logged.
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

/// u8 pixels → \[−1, 1\] as u8 / 127.5 − 1 in the given type.
pub fn normalise(pixels: &Tensor, kind: tch::Kind) -> Tensor {
    pixels.to_kind(kind) / 127.5 - 1.0
}
