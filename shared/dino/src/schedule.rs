//! What changes from step to step: learning rate, weight decay, teacher momentum, teacher
//! temperature.

use cedm_contract::kinds::adapt::DinoParams;
use cedm_maths::schedule::cosine;

/// The batch size that the learning rate is given for; other batches scale it in proportion, as
/// upstream does (Goyal et al. 2017, §2.1).
const REFERENCE_BATCH: f64 = 256.0;

/// Settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// Learning rate, scaled with the batch.
    pub learning_rate: f64,
    /// Weight decay of matrices; biases and norms do not decay.
    pub weight_decay: f64,
    /// Share of its own weights that the teacher keeps; the rest comes from the student.
    pub teacher_momentum: f64,
    /// Temperature of the teacher's softmax.
    pub teacher_temperature: f64,
    /// Steps at the start of training during which the head's last layer is frozen. Its Adam
    /// counts its own steps from there.
    pub frozen_steps: u64,
}

impl StepSettings {
    /// The settings of step `step` (from 0) where an epoch has `steps_per_epoch` steps.
    pub fn at(params: &DinoParams, step: u64, steps_per_epoch: u64) -> Self {
        let total = steps_per_epoch * u64::from(params.epochs);
        let warmup = steps_per_epoch * u64::from(params.warmup_epochs.min(params.epochs));
        // A batch twice as large makes half as many steps of twice the length.
        let peak = params.learning_rate * f64::from(params.batch) / REFERENCE_BATCH;
        let learning_rate = if step < warmup {
            // Both ends included, as numpy's linspace: the first step has rate 0, the last of the
            // warm-up the peak.
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
        Self {
            learning_rate,
            weight_decay: cosine(params.weight_decay.0, params.weight_decay.1, step, total),
            teacher_momentum: cosine(params.teacher_momentum, 1.0, step, total),
            // Alone among the four, the temperature changes by epoch and not by step.
            teacher_temperature: teacher_temperature(
                (step / steps_per_epoch) as usize,
                cold,
                warm,
                params.teacher_warmup_epochs as usize,
            ),
            frozen_steps: steps_per_epoch * u64::from(params.freeze_last_layer),
        }
    }
}

/// Teacher temperature of an epoch: a line from `warmup` to `last` over `warmup_epochs` (both ends
/// included), then `last`. A sharp teacher at the start makes training diverge.
pub fn teacher_temperature(epoch: usize, warmup: f64, last: f64, warmup_epochs: usize) -> f64 {
    if epoch >= warmup_epochs {
        return last;
    }
    if warmup_epochs == 1 {
        return warmup;
    }
    warmup + (last - warmup) * epoch as f64 / (warmup_epochs - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_dinos_schedules() {
        let params = DinoParams {
            epochs: 10,
            warmup_epochs: 2,
            batch: 128,
            ..DinoParams::default()
        };
        let at = |step| StepSettings::at(&params, step, 10);
        assert_eq!((at(0).learning_rate, at(19).learning_rate), (0.0, 2.5e-4));
        assert_eq!(at(20).learning_rate, 2.5e-4);
        assert!(at(99).learning_rate < 3e-6 && at(99).learning_rate >= 1e-6);
        assert!((at(0).weight_decay - 0.04).abs() < 1e-12);
        assert!((at(0).teacher_momentum - 0.996).abs() < 1e-12);
        assert!(at(99).weight_decay > 0.399 && at(99).teacher_momentum > 0.9999);
        assert_eq!(
            (at(0).teacher_temperature, at(90).teacher_temperature),
            (0.04, 0.07)
        );
        assert_eq!(at(0).frozen_steps, 10);
    }

    #[test]
    fn the_teachers_temperature_rises_and_then_stays() {
        let all: Vec<f64> = (0..7)
            .map(|epoch| teacher_temperature(epoch, 0.04, 0.07, 4))
            .collect();
        let expect = [0.04, 0.05, 0.06, 0.07, 0.07, 0.07, 0.07];
        assert!(
            all.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-15),
            "{all:?}"
        );
        assert_eq!(teacher_temperature(0, 0.04, 0.07, 1), 0.04);
    }
}
