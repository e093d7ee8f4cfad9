//! What changes from step to step: learning rate, weight decay, teacher momentum, teacher
//! temperature.

use cedm_contract::kinds::adapt::DinoParams;
use cedm_nets::dino::teacher_temperature;

/// Values of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Momentum with which the teacher follows.
    pub momentum: f64,
    /// Temperature of the teacher.
    pub teacher_temperature: f64,
    /// Steps during which the last layer stays as it is, counted from the start: its Adam begins to
    /// count after them.
    pub last_layer_from: u64,
}

/// Values at `step` of a run with `steps_per_epoch`.
pub fn moment(params: &DinoParams, step: u64, steps_per_epoch: u64) -> Moment {
    let total = steps_per_epoch * u64::from(params.epochs);
    let warmup = steps_per_epoch * u64::from(params.warmup_epochs.min(params.epochs));
    let epoch = step / steps_per_epoch;
    let peak = params.learning_rate * f64::from(params.batch) / 256.0;
    let learning_rate = if step < warmup {
        // From 0 to the peak, both included.
        peak * step as f64 / (warmup.max(2) - 1) as f64
    } else {
        cosine(
            peak,
            params.last_learning_rate,
            step - warmup,
            total - warmup,
        )
    };
    let (cold, warm) = params.teacher_temperature;
    Moment {
        learning_rate,
        weight_decay: cosine(params.weight_decay.0, params.weight_decay.1, step, total),
        momentum: cosine(params.teacher_momentum, 1.0, step, total),
        teacher_temperature: teacher_temperature(
            epoch as usize,
            cold,
            warm,
            params.teacher_warmup_epochs as usize,
        ),
        last_layer_from: steps_per_epoch * u64::from(params.freeze_last_layer),
    }
}

/// Half a cosine from `first` at 0 towards `last` at `total`.
fn cosine(first: f64, last: f64, at: u64, total: u64) -> f64 {
    last + 0.5
        * (first - last)
        * (1.0 + (std::f64::consts::PI * at as f64 / total.max(1) as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_rise_and_fall_as_dino_says() {
        let params = DinoParams {
            epochs: 10,
            warmup_epochs: 2,
            batch: 128,
            ..DinoParams::default()
        };
        let at = |step| moment(&params, step, 10);
        assert_eq!((at(0).learning_rate, at(19).learning_rate), (0.0, 2.5e-4));
        assert_eq!(at(20).learning_rate, 2.5e-4);
        assert!(at(99).learning_rate < 3e-6 && at(99).learning_rate >= 1e-6);
        assert!(
            (at(0).weight_decay - 0.04).abs() < 1e-12 && (at(0).momentum - 0.996).abs() < 1e-12
        );
        assert!(at(99).weight_decay > 0.399 && at(99).momentum > 0.9999);
        assert_eq!(
            (at(0).teacher_temperature, at(90).teacher_temperature),
            (0.04, 0.07)
        );
        assert_eq!(at(0).last_layer_from, 10);
    }
}
