//! AdamW (Loshchilov and Hutter 2019) with clipped gradients, and the teacher's moving average.

use crate::{network::Network, schedule::StepSettings};
use cedm_nets::Weights;
use cedm_torch::adam::{Adam, Moments, Order};

/// PyTorch's defaults, which upstream keeps.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;
/// Keeps the clipping factor finite, as `torch.nn.utils.clip_grad_norm_` does.
const CLIP_EPS: f64 = 1e-6;

/// Running means of the gradients and of their squares, by tensor name.
pub(crate) struct AdamMoments {
    pub(crate) first: Weights,
    pub(crate) second: Weights,
}

impl AdamMoments {
    /// All means at zero, for the tensors of `weights`.
    pub(crate) fn new(weights: &Weights) -> Self {
        let zeros = || {
            weights
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.zeros_like()))
                .collect()
        };
        Self {
            first: zeros(),
            second: zeros(),
        }
    }

    /// One step on the gradients of `student`, which are used up. `step` counts from 0; each
    /// gradient is scaled down to a norm of at most `clip_grad`.
    pub(crate) fn step(
        &self,
        student: &Network,
        settings: &StepSettings,
        step: u64,
        clip_grad: f64,
    ) {
        for (name, tensor) in student.trainable() {
            let mut tensor = tensor.shallow_clone();
            let adam = Adam {
                lr: settings.learning_rate,
                betas: BETAS,
                eps: EPS,
                // Biases and norms, which have one axis, do not decay.
                weight_decay: if tensor.dim() > 1 {
                    settings.weight_decay
                } else {
                    0.0
                },
                order: Order::Textbook,
            };
            // Upstream drops the last layer's gradients while it is frozen, so that its Adam, and
            // the bias correction, begin afterwards.
            let frozen = if name.starts_with("head.last_layer") {
                settings.frozen_steps
            } else {
                0
            };
            let moments = self.first.get(name).zip(self.second.get(name));
            if let Some((first, second)) = moments
                && tensor.grad().defined()
                && step >= frozen
            {
                // Each tensor is clipped alone, not all of them together, as upstream does.
                let gradient = tensor.grad();
                let factor = (clip_grad / (gradient.norm() + CLIP_EPS)).clamp_max(1.0);
                let moments = Moments {
                    first: first.shallow_clone(),
                    second: second.shallow_clone(),
                };
                adam.update(&tensor, &moments, &gradient * factor, step + 1 - frozen);
            }
            // Also where nothing was updated, or a frozen layer would add up gradients.
            tensor.zero_grad();
        }
    }
}

/// Moves the teacher towards the student: momentum · teacher + (1 − momentum) · student.
pub(crate) fn update_teacher(teacher: &Network, student: &Network, momentum: f64) {
    for (name, tensor) in teacher.weights.iter() {
        if let Some(student) = student.weights.get(name) {
            let _ = tensor
                .shallow_clone()
                .g_mul_scalar_(momentum)
                .g_add_(&(student.detach() * (1.0 - momentum)));
        }
    }
}
