//! Loss scaling for float16: keeps small gradients above the smallest float16 (spec §7.4).

use cedm_contract::Precision;
use tch::{Kind, Tensor};

/// Clean steps after which the scale doubles.
const GROWTH_INTERVAL: u64 = 2000;

/// The scale and its history; 1 and inert for every other arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// log2 of the factor: doublings and halvings keep it whole.
    pub log2: i64,
    /// Steps since it last changed.
    pub clean_steps: u64,
    dynamic: bool,
}

impl LossScale {
    /// 65536 for float16.
    pub fn new(precision: Precision) -> Self {
        let dynamic = precision == Precision::Fp16;
        Self {
            log2: if dynamic { 16 } else { 0 },
            clean_steps: 0,
            dynamic,
        }
    }

    /// What the loss is multiplied by.
    pub fn factor(&self) -> f64 {
        2f64.powi(self.log2 as i32)
    }

    /// Undoes the scale in place; says whether the step may be taken. Overflow halves the scale and
    /// skips the step.
    pub fn unscale(&mut self, gradient: &mut Tensor) -> bool {
        if !self.dynamic {
            return true;
        }
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
    fn overflow_halves_and_patience_doubles() {
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
