//! Adam (Kingma and Ba, 2015, algorithm 1) and AdamW (Loshchilov and Hutter, 2019, algorithm 2):
//! one update of one tensor and its moments, in place.

use tch::Tensor;

/// Settings of an update, those of `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate of this update.
    pub lr: f64,
    /// Decay of the first and of the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay (AdamW); 0 for plain Adam.
    pub weight_decay: f64,
    /// In which order the formula is computed.
    pub order: Order,
}

/// The order of operations. All three compute the same formula and differ in the last bits alone;
/// results are addressed by the digest of their inputs and compared bit by bit with those of
/// earlier versions, so that each user keeps the order in which it has always been computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As algorithm 1 is written: both moments are corrected as tensors, then divided.
    Textbook,
    /// As PyTorch computes it: corrections are folded into two factors, m / (√v / √c₂ + ε) is
    /// scaled by lr / c₁.
    FoldedCorrections,
    /// All factors are moved into the divisor, so that one fused division updates the weights: one
    /// pass over memory less than the others.
    FusedDivision,
}

/// Running means of a tensor's gradients and of their squares, of the same shape.
#[derive(Debug)]
pub struct Moments {
    /// First moment m: the running mean of the gradients.
    pub first: Tensor,
    /// Second moment v: the running mean of the squared gradients.
    pub second: Tensor,
}

impl Moments {
    /// Zeros, as before the first update of `weights`.
    pub fn zeros(weights: &Tensor) -> Self {
        Self {
            first: weights.detach().zeros_like(),
            second: weights.detach().zeros_like(),
        }
    }

    /// The same tensors again, not copied.
    pub fn shallow_clone(&self) -> Self {
        Self {
            first: self.first.shallow_clone(),
            second: self.second.shallow_clone(),
        }
    }
}

impl Adam {
    /// Updates `weights` and `moments` in place; `steps` counts this tensor's updates, this one
    /// included. The gradient is used up: its numbers are overwritten. Call it under
    /// [`tch::no_grad`].
    pub fn update(&self, weights: &Tensor, moments: &Moments, mut gradient: Tensor, steps: u64) {
        let (beta1, beta2) = self.betas;
        let mut weights = weights.shallow_clone();
        let Moments {
            mut first,
            mut second,
        } = moments.shallow_clone();
        match self.order {
            Order::Textbook => {
                let _ = first
                    .g_mul_scalar_(beta1)
                    .g_add_(&(&gradient * (1.0 - beta1)));
            }
            Order::FoldedCorrections | Order::FusedDivision => {
                let _ = first.lerp_(&gradient, 1.0 - beta1);
            }
        }
        let mut square = gradient.square_();
        match self.order {
            Order::Textbook | Order::FoldedCorrections => {
                let _ = second
                    .g_mul_scalar_(beta2)
                    .g_add_(&square.g_mul_scalar_(1.0 - beta2));
            }
            Order::FusedDivision => {
                let _ = second.lerp_(&square, 1.0 - beta2);
            }
        }
        if self.lr == 0.0 {
            return; // the first step of a warm-up: only the moments move
        }
        if self.weight_decay != 0.0 {
            let _ = weights.g_mul_scalar_(1.0 - self.lr * self.weight_decay);
        }
        let power = i32::try_from(steps).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        match self.order {
            Order::Textbook => {
                let corrected = &first / correction1;
                let divisor = (&second / correction2).sqrt() + self.eps;
                let _ = weights.g_sub_(&(corrected / divisor * self.lr));
            }
            Order::FoldedCorrections => {
                let divisor = second
                    .sqrt()
                    .g_mul_scalar_(1.0 / correction2.sqrt())
                    .g_add_scalar_(self.eps);
                let mut change = &first / divisor;
                let _ = weights.g_add_(&change.g_mul_scalar_(-self.lr / correction1));
            }
            Order::FusedDivision => {
                // w −= (lr / c₁) m / (√v / √c₂ + ε), with the factor moved into the divisor
                let factor = -correction1 / self.lr;
                let divisor = second
                    .sqrt()
                    .g_mul_scalar_(factor / correction2.sqrt())
                    .g_add_scalar_(factor * self.eps);
                let _ = weights.addcdiv_(&first, &divisor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [Order; 3] = [
        Order::Textbook,
        Order::FoldedCorrections,
        Order::FusedDivision,
    ];

    /// Algorithm 2 for one number.
    fn reference(mut w: f64, gradients: &[f64], adam: &Adam) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (step, g) in gradients.iter().enumerate() {
            let power = step as i32 + 1;
            m = adam.betas.0 * m + (1.0 - adam.betas.0) * g;
            v = adam.betas.1 * v + (1.0 - adam.betas.1) * g * g;
            w -= adam.lr * adam.weight_decay * w;
            let (m, v) = (
                m / (1.0 - adam.betas.0.powi(power)),
                v / (1.0 - adam.betas.1.powi(power)),
            );
            w -= adam.lr * m / (v.sqrt() + adam.eps);
        }
        w
    }

    #[test]
    fn every_order_computes_the_formula() {
        for order in ORDERS {
            for (betas, eps, weight_decay) in [((0.9, 0.999), 1e-8, 0.0), ((0.5, 0.25), 3.0, 0.5)] {
                let adam = Adam {
                    lr: 0.1,
                    betas,
                    eps,
                    weight_decay,
                    order,
                };
                let weights = Tensor::from_slice(&[1.0f64, -2.0]);
                let moments = Moments::zeros(&weights);
                let gradients = [[3.0, -0.5], [-1.0, 0.25], [0.0, 4.0]];
                for (step, gradient) in gradients.iter().enumerate() {
                    adam.update(
                        &weights,
                        &moments,
                        Tensor::from_slice(gradient),
                        step as u64 + 1,
                    );
                }
                for (at, start) in [1.0, -2.0].into_iter().enumerate() {
                    let expected = reference(start, &gradients.map(|g| g[at]), &adam);
                    let found = weights.double_value(&[at as i64]);
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{order:?}: {found}, expected {expected}"
                    );
                }
            }
        }
    }

    /// The orders as each of their users wrote them before they shared this function.
    fn as_before(order: Order, w: &Tensor, m: &Tensor, v: &Tensor, g: &Tensor, t: i32) {
        let (mut w, mut m, mut v) = (w.shallow_clone(), m.shallow_clone(), v.shallow_clone());
        let (lr, b1, b2, eps, decay) = (0.01, 0.9, 0.999, 1e-8, 0.04);
        let (c1, c2) = (1.0 - f64::powi(b1, t), 1.0 - f64::powi(b2, t));
        match order {
            Order::Textbook => {
                m.copy_(&(&m * b1 + g * (1.0 - b1)));
                v.copy_(&(&v * b2 + g.square() * (1.0 - b2)));
                w.copy_(&(&w * (1.0 - lr * decay)));
                w.copy_(&(&w - &m / c1 / ((&v / c2).sqrt() + eps) * lr));
            }
            Order::FoldedCorrections => {
                m.copy_(&m.lerp(g, 1.0 - b1));
                v.copy_(&(&v * b2 + g.square() * (1.0 - b2)));
                w.copy_(&(&w * (1.0 - lr * decay)));
                let divisor = v.sqrt() * (1.0 / c2.sqrt()) + eps;
                w.copy_(&(&w + &m / divisor * (-lr / c1)));
            }
            Order::FusedDivision => {
                m.copy_(&m.lerp(g, 1.0 - b1));
                v.copy_(&v.lerp(&g.square(), 1.0 - b2));
                w.copy_(&(&w * (1.0 - lr * decay)));
                let factor = -c1 / lr;
                let divisor = v.sqrt() * (factor / c2.sqrt()) + factor * eps;
                w.copy_(&w.addcdiv(&m, &divisor));
            }
        }
    }

    #[test]
    fn every_order_keeps_its_bits() {
        for order in ORDERS {
            let adam = Adam {
                lr: 0.01,
                betas: (0.9, 0.999),
                eps: 1e-8,
                weight_decay: 0.04,
                order,
            };
            let draw = |factor: f64| {
                (Tensor::arange(1000, (tch::Kind::Float, tch::Device::Cpu)) * factor).sin()
            };
            let (weights, expected) = (draw(1.7), draw(1.7));
            let (moments, old) = (Moments::zeros(&weights), Moments::zeros(&weights));
            for step in 1..=5 {
                let gradient = draw(0.3 * f64::from(step));
                as_before(order, &expected, &old.first, &old.second, &gradient, step);
                adam.update(&weights, &moments, gradient, step as u64);
                assert!(weights.equal(&expected), "{order:?}, step {step}");
                assert!(moments.second.equal(&old.second), "{order:?}, step {step}");
            }
        }
    }

    #[test]
    fn a_rate_of_zero_moves_the_moments_alone() {
        for order in ORDERS {
            let adam = Adam {
                lr: 0.0,
                betas: (0.9, 0.999),
                eps: 1e-8,
                weight_decay: 0.1,
                order,
            };
            let weights = Tensor::from_slice(&[1.0f64]);
            let moments = Moments::zeros(&weights);
            adam.update(&weights, &moments, Tensor::from_slice(&[2.0f64]), 1);
            assert_eq!(weights.double_value(&[0]), 1.0);
            assert!((moments.first.double_value(&[0]) - 0.2).abs() < 1e-12);
        }
    }
}
