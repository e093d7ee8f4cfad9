//! Adam on one flat buffer, as PyTorch computes it: no weight decay, bias correction by step count.

use tch::{Kind, Tensor};

/// State of Adam for one flat weight buffer: two moments and the step count.
#[derive(Debug)]
pub struct Adam {
    /// First moment, in the shape and type of the weights (PyTorch's name in a state dict).
    pub exp_avg: Tensor,
    /// Second moment, likewise.
    pub exp_avg_sq: Tensor,
    /// Updates made so far, for the bias correction.
    pub steps: u64,
}

impl Adam {
    /// Zero moments in the shape, type and device of `weights`.
    pub fn new(weights: &Tensor) -> Self {
        Self {
            exp_avg: weights.detach().zeros_like(),
            exp_avg_sq: weights.detach().zeros_like(),
            steps: 0,
        }
    }

    /// One update of `weights`, in place, with learning rate `lr` (Kingma and Ba 2015, algorithm
    /// 1).
    pub fn step(
        &mut self,
        weights: &mut Tensor,
        gradient: &Tensor,
        lr: f64,
        (beta1, beta2): (f64, f64),
        eps: f64,
    ) {
        self.steps += 1;
        let steps = self.steps.min(i32::MAX as u64) as i32;
        let (correction1, correction2) = (1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps));
        tch::no_grad(|| {
            let _ = self.exp_avg.lerp_(gradient, 1.0 - beta1);
            let _ = self.exp_avg_sq.g_mul_scalar_(beta2);
            let _ = self
                .exp_avg_sq
                .g_add_(&(gradient.square().g_mul_scalar_(1.0 - beta2)));
            // √v̂ + ε with the correction inside the root, in PyTorch's order of operations, so that
            // results agree with a reference run to the last digits.
            let mut denominator = self.exp_avg_sq.sqrt();
            let _ = denominator.g_mul_scalar_(1.0 / correction2.sqrt());
            let _ = denominator.g_add_scalar_(eps);
            let mut update = &self.exp_avg / denominator;
            let _ = update.g_mul_scalar_(-lr / correction1);
            let _ = weights.g_add_(&update);
        });
    }
}

/// Euclidean norm of a flat gradient: a float64 scalar on the gradient's device, so that asking
/// for it does not wait for the device.
pub fn norm(gradient: &Tensor) -> Tensor {
    gradient.detach().square().sum(Kind::Double).sqrt()
}
