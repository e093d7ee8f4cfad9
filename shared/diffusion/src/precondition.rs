//! EDM preconditioning, training noise levels and loss weights (EDM table 1; spec §7.1, §7.2).

use tch::Tensor;

/// The coefficients at some noise levels, each in the shape of sigma.
#[derive(Debug)]
pub struct Coefficients {
    /// Weight of the input.
    pub c_skip: Tensor,
    /// Weight of the network's output.
    pub c_out: Tensor,
    /// Scale of the network's input.
    pub c_in: Tensor,
    /// What the network is told of the noise level.
    pub c_noise: Tensor,
}

/// Preconditioning for data of this standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preconditioning {
    /// Expected standard deviation of the data.
    pub sigma_data: f64,
}

impl Preconditioning {
    /// Coefficients at sigma, in the type of sigma.
    pub fn at(&self, sigma: &Tensor) -> Coefficients {
        let data = self.sigma_data;
        let variance = sigma.square() + data * data;
        Coefficients {
            c_skip: variance.reciprocal() * (data * data),
            c_out: sigma * data / variance.sqrt(),
            c_in: variance.sqrt().reciprocal(),
            c_noise: sigma.log() / 4.0,
        }
    }

    /// Weight of the squared error: (sigma² + sd²) / (sigma · sd)².
    pub fn loss_weight(&self, sigma: &Tensor) -> Tensor {
        let data = self.sigma_data;
        (sigma.square() + data * data) / (sigma * data).square()
    }
}

/// Log-normal distribution of the training noise levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevels {
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
}

impl NoiseLevels {
    /// Sigma of standard normal draws.
    pub fn of(&self, rnd_normal: &Tensor) -> Tensor {
        (rnd_normal * self.p_std + self.p_mean).exp()
    }
}
