//! EDM preconditioning, training noise levels and loss weights (EDM table 1; spec §7.1, §7.2).

use tch::Tensor;

/// The coefficients of D(x; σ) = c_skip x + c_out F(c_in x; c_noise) at some noise levels, each in
/// the shape and type of sigma.
#[derive(Debug)]
pub struct Coefficients {
    /// Weight of the noisy input: near 1 at low noise, where it is nearly the clean image already.
    pub c_skip: Tensor,
    /// Scale of the network's output, which then has a target of variance 1 at every noise level.
    pub c_out: Tensor,
    /// Scale that brings the network's input to variance 1.
    pub c_in: Tensor,
    /// The noise level as the network's embedding receives it.
    pub c_noise: Tensor,
}

/// Preconditioning for data of one standard deviation (`sigma_data`, 0.5 in every published run).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preconditioning {
    /// Expected standard deviation of images in \[−1, 1\].
    pub sigma_data: f64,
}

impl Preconditioning {
    /// Coefficients at noise levels `sigma` (EDM table 1).
    pub fn at(&self, sigma: &Tensor) -> Coefficients {
        let data = self.sigma_data;
        let variance = sigma.square() + data * data;
        Coefficients {
            c_skip: variance.reciprocal() * (data * data),
            c_out: sigma * data / variance.sqrt(),
            c_in: variance.sqrt().reciprocal(),
            // ln σ / 4 as in EDM table 1: the sampler's range 0.002 to 80 becomes −1.55 to 1.10.
            c_noise: sigma.log() / 4.0,
        }
    }

    /// Weight of the squared error: (σ² + sd²) / (σ · sd)² = 1 / c_out², so that every noise level
    /// weighs the same in the loss of a fresh network (EDM, section 5).
    pub fn loss_weight(&self, sigma: &Tensor) -> Tensor {
        let data = self.sigma_data;
        (sigma.square() + data * data) / (sigma * data).square()
    }
}

/// Log-normal distribution of the training noise levels: P_mean = −1.2 and P_std = 1.2 in the
/// paper, which puts most of them where the loss can still be reduced (EDM, section 5; spec §7.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevels {
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
}

impl NoiseLevels {
    /// Noise levels exp(P_mean + P_std n) of standard normal draws n, in their shape and type.
    pub fn of(&self, rnd_normal: &Tensor) -> Tensor {
        (rnd_normal * self.p_std + self.p_mean).exp()
    }
}
