//! Dynamic loss scaling for float16 training, after PyTorch's GradScaler (spec §7.4): gradients
//! below 6e-8 would be 0 in float16, so the loss is multiplied before the backward pass and the
//! gradient divided after it.

use cedm_contract::Precision;
use tch::{Kind, Tensor};

/// Steps without overflow after which the scale doubles: GradScaler's default.
const GROWTH_INTERVAL: u64 = 2000;

/// The current scale and its history; a constant 1 for every precision but float16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// log2 of the factor: the scale only doubles and halves, so this stays an integer.
    pub log2: i64,
    /// Steps without overflow since the last change.
    pub clean_steps: u64,
    dynamic: bool,
}

impl LossScale {
    /// The initial scale: 65536 for float16 (GradScaler's default), 1 otherwise.
    pub fn new(precision: Precision) -> Self {
        let dynamic = precision == Precision::Fp16;
        Self {
            log2: if dynamic { 16 } else { 0 },
            clean_steps: 0,
            dynamic,
        }
    }

    /// The factor by which the loss is multiplied.
    pub fn factor(&self) -> f64 {
        2f64.powi(self.log2 as i32)
    }

    /// Divides the flat gradient by the scale, in place, and returns whether the optimiser step may
    /// be taken: an infinite or NaN gradient halves the scale and the step is skipped.
    pub fn unscale(&mut self, gradient: &mut Tensor) -> bool {
        if !self.dynamic {
            return true;
        }
        // The sum is finite exactly if every element is: float64 cannot overflow on float32 terms.
        let finite = gradient.sum(Kind::Double).isfinite().int64_value(&[]) == 1;
        let _ = gradient.g_mul_scalar_(1.0 / self.factor());
        self.clean_steps = if finite { self.clean_steps + 1 } else { 0 };
        if !finite {
            self.log2 -= 1;
        } else if self.clean_steps == GROWTH_INTERVAL {
            (self.log2, self.clean_steps) = (self.log2 + 1, 0);
        }
        finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_halves_the_scale_and_clean_steps_double_it() {
        let mut scale = LossScale::new(Precision::Fp16);
        let mut overflow = Tensor::from_slice(&[f32::INFINITY, 1.0]);
        assert!(!scale.unscale(&mut overflow));
        assert_eq!(scale.factor(), 32768.0);
        for _ in 0..GROWTH_INTERVAL {
            assert!(scale.unscale(&mut Tensor::from_slice(&[1f32])));
        }
        assert_eq!(scale.factor(), 65536.0);
        let mut plain = LossScale::new(Precision::Bf16);
        assert!(plain.unscale(&mut Tensor::from_slice(&[f32::NAN])));
        assert_eq!(plain.factor(), 1.0);
    }
}
