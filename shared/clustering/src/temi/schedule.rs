//! Schedules of learning rate, weight decay, teacher momentum and teacher temperature, as DINO's
//! code builds them, on which TEMI's is based (spec §4.5).

use crate::ClusteringError;
use cedm_contract::kinds::cluster::TemiParams;
use cedm_maths::schedule::cosine;

/// The value of each setting at every step, and the teacher temperature of every epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedules {
    /// Learning rate of each step.
    pub lr: Vec<f64>,
    /// Weight decay of each step.
    pub weight_decay: Vec<f64>,
    /// Weight of the old teacher in its moving average, for each step.
    pub teacher_momentum: Vec<f64>,
    /// Teacher temperature of each epoch.
    pub teacher_temperature: Vec<f64>,
}

impl Schedules {
    /// Schedules over `epochs` × `steps_per_epoch` steps.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if the warm-up is longer than the training.
    pub fn new(params: &TemiParams, steps_per_epoch: usize) -> Result<Self, ClusteringError> {
        if params.warmup_epochs > params.epochs {
            let expected = format!(
                "at most epochs ({}): the learning rate would never be reached",
                params.epochs
            );
            return Err(ClusteringError::setting(
                "warmup_epochs",
                params.warmup_epochs,
                expected,
            ));
        }
        let steps = params.epochs as usize * steps_per_epoch;
        let warmup = params.warmup_epochs as usize * steps_per_epoch;
        // The linear scaling rule: rates are given for a batch of 256 (spec §4.5, §16.20).
        let scale = f64::from(params.batch) / 256.0;
        let (base, end) = (params.base_lr * scale, params.min_lr * scale);
        let along_cosine = |first: f64, last: f64, count: usize| {
            (0..count).map(move |at| cosine(first, last, at as u64, count as u64))
        };
        let mut lr = linspace(0.0, base, warmup);
        lr.extend(along_cosine(base, end, steps - warmup));
        let warm_epochs = params.teacher_temperature_warmup_epochs as usize;
        let mut teacher_temperature = linspace(
            params.teacher_temperature_start,
            params.teacher_temperature,
            warm_epochs,
        );
        teacher_temperature.resize(
            teacher_temperature.len().max(params.epochs as usize),
            params.teacher_temperature,
        );
        Ok(Self {
            lr,
            weight_decay: along_cosine(params.weight_decay, params.weight_decay_end, steps)
                .collect(),
            teacher_momentum: along_cosine(
                params.teacher_momentum,
                params.teacher_momentum_end,
                steps,
            )
            .collect(),
            teacher_temperature,
        })
    }
}

/// `count` evenly spaced values from `first` to `last`, both included, as NumPy's `linspace`; for a
/// count of 1 only `first`. A warm-up from 0 therefore starts with a step of rate 0 (spec §4.5).
pub fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let step = (last - first) / count.saturating_sub(1).max(1) as f64;
    (0..count)
        .map(|i| {
            if i > 0 && i + 1 == count {
                last
            } else {
                i as f64 * step + first
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_starts_at_zero_and_reaches_the_base_rate() {
        let params = TemiParams {
            epochs: 4,
            warmup_epochs: 1,
            batch: 512,
            base_lr: 1.0,
            min_lr: 0.5,
            ..TemiParams::default()
        };
        let schedules = Schedules::new(&params, 5).unwrap();
        assert_eq!(schedules.lr[..6], [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]);
        assert_eq!(schedules.lr.len(), 20);
        assert!(schedules.lr[19] > 1.0 && schedules.lr[19] < 1.02);
        assert_eq!(schedules.teacher_momentum, vec![0.996; 20]);
    }

    #[test]
    fn the_temperature_changes_by_epoch() {
        let params = TemiParams {
            epochs: 4,
            warmup_epochs: 0,
            teacher_temperature_start: 0.04,
            teacher_temperature: 0.07,
            teacher_temperature_warmup_epochs: 2,
            ..TemiParams::default()
        };
        assert_eq!(
            Schedules::new(&params, 1).unwrap().teacher_temperature,
            [0.04, 0.07, 0.07, 0.07]
        );
    }

    #[test]
    fn a_warm_up_longer_than_the_training_is_rejected() {
        let params = TemiParams {
            epochs: 10,
            ..TemiParams::default()
        };
        let error = Schedules::new(&params, 5).unwrap_err().to_string();
        assert!(
            error.starts_with("warmup_epochs is 20, expected at most epochs (10)"),
            "{error}"
        );
    }
}
