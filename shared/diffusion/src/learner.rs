//! A network that learns from given draws: forward and backward in rounds, clean-up, Adam, running
//! mean (spec §7.2–§7.5).
//!
//! Nothing here draws a random number (dropout aside), so that the step of the reference can be
//! replayed exactly, in float32 or float64: the parity trajectories drive this very code.

use crate::{
    loss::{Noise, loss_map},
    network::{Labels, Mode, Network, Part},
    parameters::Parameters,
    precondition::NoiseLevels,
    scaling::LossScale,
    schedule,
};
use cedm_contract::{Precision, kinds::train::OptimiserParams};
use cedm_torch::adam::{Adam, Moments, Order};
use tch::{Device, Kind, Tensor};

/// Copies to the device without waiting for it: the copy takes its place among the device's work,
/// and the few bytes it reads are taken before the call returns.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> Tensor {
    tensor.to_device_(device, tensor.kind(), true, false)
}

/// Clean images with everything drawn for them.
#[derive(Debug)]
pub struct Batch {
    /// The round that these images are a part of, for dropout; `None` for a whole one.
    pub part: Option<Part>,
    /// \[n, c, r, r\] in \[−1, 1\], augmented already.
    pub images: Tensor,
    /// Class labels \[n, L\].
    pub class: Option<Tensor>,
    /// Augmentation labels \[n, A\].
    pub augment: Option<Tensor>,
    /// Noise levels and noise.
    pub noise: Noise,
}

impl Batch {
    /// Cut into rounds of `size` images; the last one may be smaller.
    pub fn rounds(&self, size: i64) -> Vec<Batch> {
        let n = self.images.size()[0];
        let cut = |from: i64| {
            let part = |t: &Tensor| t.narrow(0, from, size.min(n - from));
            Batch {
                part: None,
                images: part(&self.images),
                class: self.class.as_ref().map(part),
                augment: self.augment.as_ref().map(part),
                noise: Noise {
                    rnd_normal: part(&self.noise.rnd_normal),
                    unit: part(&self.noise.unit),
                },
            }
        };
        (0..n).step_by(size.max(1) as usize).map(cut).collect()
    }

    /// A round cut into parts of `size` images, for which dropout is drawn as for the whole.
    fn parts(&self, size: i64) -> Vec<Batch> {
        let of = self.images.size()[0];
        let mut parts = self.rounds(size);
        if parts.len() > 1 {
            for (index, part) in (0i64..).zip(&mut parts) {
                let first = index * size;
                part.part = Some(Part { first, of });
            }
        }
        parts
    }
}

/// What one step did; tensors are on the device, so that nobody waits for them unless they are
/// read.
#[derive(Debug)]
pub struct Step {
    /// Mean loss over all pixels of the batch, a scalar.
    pub loss: Tensor,
    /// The same for each round, \[rounds\].
    pub round_losses: Tensor,
    /// Norm of the gradient before clean-up, a scalar.
    pub gradient_norm: Tensor,
    /// Learning rate of the step.
    pub lr: f64,
}

/// Weights on their way.
#[derive(Debug)]
pub struct Learner {
    /// Structure of the network, without its weights.
    pub network: Network,
    /// Current weights of the network.
    pub weights: Parameters,
    /// Running mean of the trained numbers, flat.
    pub ema: Tensor,
    /// Adam's moments of the trained numbers, flat.
    pub moments: Moments,
    /// Updates that Adam has made; fewer than steps where fp16 skipped some.
    pub updates: u64,
    /// Images seen since the start of the training.
    pub nimg: u64,
    pub(crate) scale: LossScale,
    params: OptimiserParams,
    mode: Mode,
}

impl Learner {
    /// At image 0: the running mean is the weights themselves.
    pub fn new(
        network: Network,
        weights: Parameters,
        params: OptimiserParams,
        precision: Precision,
    ) -> Self {
        let activations = match precision {
            Precision::Fp32 | Precision::Tf32 => None,
            Precision::Bf16 => Some(Kind::BFloat16),
            Precision::Fp16 => Some(Kind::Half),
        };
        let device = weights.flat.device();
        Self {
            ema: weights.flat.copy(),
            moments: Moments::zeros(&weights.flat),
            updates: 0,
            nimg: 0,
            scale: LossScale::new(precision),
            network,
            weights,
            params,
            mode: Mode {
                train: true,
                activations,
                channels_last: device.is_cuda(),
                part: None,
            },
        }
    }

    /// One optimiser step over all rounds, which together hold one batch. `begin` is called before
    /// each round, for whoever seeds dropout.
    pub fn step(&mut self, rounds: &[Batch], begin: &mut dyn FnMut(u64)) -> Step {
        let losses = self.accumulate(rounds, i64::MAX, begin);
        self.finish(losses)
    }

    /// Adds the gradients of all rounds, each in parts of at most `at_once` images; returns the
    /// mean loss of each round. `begin` is called before each part with the index of its round.
    pub(crate) fn accumulate(
        &mut self,
        rounds: &[Batch],
        at_once: i64,
        begin: &mut dyn FnMut(u64),
    ) -> Vec<Tensor> {
        self.weights.flat = self.weights.flat.set_requires_grad(true);
        let mut losses = Vec::with_capacity(rounds.len());
        for (index, round) in (0..).zip(rounds) {
            let sums: Vec<(Tensor, usize)> = round
                .parts(at_once)
                .iter()
                .map(|part| {
                    begin(index);
                    self.backward(part)
                })
                .collect();
            let count: usize = sums.iter().map(|(_, count)| count).sum();
            let sum = sums.into_iter().map(|(sum, _)| sum).reduce(|a, b| a + b);
            losses.push(sum.expect("invariant: a round has images") / count as f64);
        }
        losses
    }

    /// Forgets what [`Learner::accumulate`] has added.
    pub(crate) fn forget_gradient(&mut self) {
        self.weights.flat = self.weights.flat.set_requires_grad(false);
        let mut gradient = self.weights.flat.grad();
        if gradient.defined() {
            let _ = tch::no_grad(|| gradient.zero_());
        }
    }

    /// Adds the gradient of some images of the batch; returns the sum of their losses, and of how
    /// many numbers it is.
    fn backward(&self, round: &Batch) -> (Tensor, usize) {
        let OptimiserParams {
            batch,
            p_mean,
            p_std,
            loss_scaling,
            ..
        } = self.params;
        let scale = loss_scaling * self.scale.factor() / f64::from(batch);
        let mode = Mode {
            part: round.part,
            ..self.mode
        };
        let views = self.weights.views(&self.network.layout, mode.activations);
        let labels = Labels {
            class: round.class.as_ref(),
            augment: round.augment.as_ref(),
        };
        let levels = NoiseLevels { p_mean, p_std };
        let map = loss_map(
            &self.network,
            &views,
            &round.images,
            &round.noise,
            levels,
            labels,
            mode,
        );
        let sum = map.sum(map.kind());
        (&sum * scale).backward();
        (sum.detach(), map.numel())
    }

    /// Takes the step with the gradients that were added.
    pub(crate) fn finish(&mut self, losses: Vec<Tensor>) -> Step {
        let lr = schedule::learning_rate(&self.params, self.nimg);
        let gradient = self.weights.flat.grad();
        self.weights.flat = self.weights.flat.set_requires_grad(false);
        let gradient_norm = self.apply(gradient);
        let round_losses = Tensor::stack(&losses, 0);
        Step {
            loss: round_losses.mean(Kind::Double),
            round_losses,
            gradient_norm,
            lr,
        }
    }

    /// Clean-up, Adam, running mean and count; clears the gradient. Returns the gradient's norm
    /// before clean-up.
    fn apply(&mut self, mut gradient: Tensor) -> Tensor {
        let params = &self.params;
        let usable = tch::no_grad(|| self.scale.unscale(&mut gradient));
        let gradient_norm = norm(&gradient);
        if usable {
            // Spec §7.4: fp32 cleans the gradient instead of skipping the step.
            let _ = tch::no_grad(|| gradient.nan_to_num_(0.0, 1e5, -1e5));
            let adam = Adam {
                lr: schedule::learning_rate(params, self.nimg),
                betas: params.betas,
                eps: params.eps,
                weight_decay: 0.0,
                order: Order::FoldedCorrections,
            };
            self.updates += 1;
            let spent = gradient.shallow_clone();
            tch::no_grad(|| adam.update(&self.weights.flat, &self.moments, spent, self.updates));
        }
        tch::no_grad(|| {
            let beta = schedule::ema_beta(params, self.nimg);
            self.ema = self.weights.flat.lerp(&self.ema, beta);
            let _ = gradient.zero_();
        });
        self.nimg += u64::from(params.batch);
        gradient_norm
    }

    /// The running mean as parameters of their own.
    pub fn ema_parameters(&self) -> Parameters {
        Parameters {
            flat: self.ema.shallow_clone(),
            buffers: self
                .weights
                .buffers
                .iter()
                .map(Tensor::shallow_clone)
                .collect(),
        }
    }
}

/// Euclidean norm of a flat gradient, in float64 without synchronising the device.
fn norm(gradient: &Tensor) -> Tensor {
    gradient.detach().square().sum(Kind::Double).sqrt()
}
