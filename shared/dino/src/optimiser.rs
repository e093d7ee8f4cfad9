//! AdamW (Loshchilov and Hutter 2019) with clipped gradients, and the teacher's moving average.

use crate::{network::Network, schedule::StepSettings};
use cedm_nets::Weights;
use tch::Tensor;

/// PyTorch's defaults, which upstream keeps.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;
/// Keeps the clipping factor finite, as `torch.nn.utils.clip_grad_norm_` does.
const CLIP_EPS: f64 = 1e-6;

/// Running means of the gradients and of their squares, by tensor name.
pub(crate) struct AdamW {
    pub(crate) first: Weights,
    pub(crate) second: Weights,
}

impl AdamW {
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
                let steps = (step + 1 - frozen) as i32;
                update(
                    &mut tensor,
                    &(&gradient * factor),
                    (first, second),
                    settings,
                    steps,
                );
            }
            // Also where nothing was updated, or a frozen layer would add up gradients.
            tensor.zero_grad();
        }
    }
}

/// AdamW on one tensor; `steps` counts its own steps, this one included.
fn update(
    tensor: &mut Tensor,
    gradient: &Tensor,
    (first, second): (&Tensor, &Tensor),
    settings: &StepSettings,
    steps: i32,
) {
    let (one, two) = (1.0 - BETAS.0.powi(steps), 1.0 - BETAS.1.powi(steps));
    // Handles on the same storage: the means are updated in place.
    let (mut first, mut second) = (first.shallow_clone(), second.shallow_clone());
    let _ = first
        .g_mul_scalar_(BETAS.0)
        .g_add_(&(gradient * (1.0 - BETAS.0)));
    let _ = second
        .g_mul_scalar_(BETAS.1)
        .g_add_(&(gradient.square() * (1.0 - BETAS.1)));
    // Biases and norms, which have one axis, do not decay.
    if tensor.dim() > 1 {
        // Decoupled: the weight shrinks by itself, not through the gradient's means.
        let _ = tensor.g_mul_scalar_(1.0 - settings.learning_rate * settings.weight_decay);
    }
    let _ =
        tensor.g_sub_(&(&first / one / ((&second / two).sqrt() + EPS) * settings.learning_rate));
}

/// Moves the teacher towards the student: momentum · teacher + (1 − momentum) · student.
pub(crate) fn follow(teacher: &Network, student: &Network, momentum: f64) {
    for (name, tensor) in teacher.weights.iter() {
        if let Some(student) = student.weights.get(name) {
            let _ = tensor
                .shallow_clone()
                .g_mul_scalar_(momentum)
                .g_add_(&(student.detach() * (1.0 - momentum)));
        }
    }
}
