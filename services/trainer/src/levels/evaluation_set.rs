//! The images and noise that every network is measured on, and the statistics of the losses.

use super::measured_network::MeasuredNetwork;
use crate::pictures::Pictures;
use anyhow::ensure;
use cedm_diffusion::{
    DataOrder, Labels, Mode, guard_memory,
    loss::{Noise, loss_map, normalise},
    precondition::NoiseLevels,
};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

/// Images and noise, the same for all networks and noise levels. They stay on the CPU; batches of
/// them are copied to the device.
#[derive(Debug)]
pub struct EvaluationSet {
    /// Pixels u8 \[n, c, r, r\].
    images: Tensor,
    /// Standard normal draws \[n\], from which each image's noise level follows.
    rnd_normal: Tensor,
    /// Standard normal noise \[n, c, r, r\].
    unit: Tensor,
    batch: i64,
    device: Device,
}

impl EvaluationSet {
    /// Chooses `count` of the images (all if there are fewer) and returns the set with their
    /// indices in the data set, i64 \[n\]. Noise is drawn on the CPU, so that it is the same on
    /// every device.
    ///
    /// # Errors
    /// If the data set is empty.
    pub fn new(
        pictures: &Pictures,
        count: u64,
        batch: i64,
        seed: u64,
        device: Device,
    ) -> anyhow::Result<(Self, Tensor)> {
        let available = pictures.shape().0 as u64;
        ensure!(available > 0, "the data set holds no images");
        let chosen =
            Tensor::from_slice(&DataOrder::new(seed, available).at(0, count.min(available)));
        let images = pictures.images.index_select(0, &chosen);
        tch::manual_seed(seed as i64);
        let set = Self {
            rnd_normal: Tensor::randn([images.size()[0]], (Kind::Float, Device::Cpu)),
            unit: Tensor::randn(images.size(), (Kind::Float, Device::Cpu)),
            images,
            batch,
            device,
        };
        Ok((set, chosen))
    }

    /// Number of images in the set.
    pub fn count(&self) -> i64 {
        self.images.size()[0]
    }

    /// The loss of each image, the mean over its pixels: f64 \[n\] on the CPU. `place` names the
    /// noise levels in errors.
    ///
    /// # Errors
    /// If memory runs out, or a loss is not finite.
    pub fn losses(
        &self,
        measured: &MeasuredNetwork,
        class: Option<&Tensor>,
        levels: NoiseLevels,
        place: &str,
    ) -> anyhow::Result<Tensor> {
        let part = |from: i64| {
            let cut = |tensor: &Tensor| {
                tensor
                    .narrow(0, from, self.batch.min(self.count() - from))
                    .to_device(self.device)
            };
            guard_memory(format!("measuring at {place}"), "a smaller --batch", || {
                let class = class.map(cut);
                let noise = Noise {
                    rnd_normal: cut(&self.rnd_normal),
                    unit: cut(&self.unit),
                };
                let labels = Labels {
                    class: class.as_ref(),
                    augment: None,
                };
                let clean = normalise(&cut(&self.images), Kind::Float);
                let map = loss_map(
                    &measured.network,
                    &measured.views,
                    &clean,
                    &noise,
                    levels,
                    labels,
                    Mode::EVAL,
                );
                map.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Double)
                    .to_device(Device::Cpu)
            })
        };
        let parts = (0..self.count()).step_by(self.batch as usize).map(part);
        let losses = Tensor::cat(&parts.collect::<Result<Vec<_>, _>>()?, 0);
        ensure!(
            losses.isfinite().all().int64_value(&[]) == 1,
            "the loss of {} at {place} is {}: expected finite numbers",
            measured.origin,
            losses.mean(Kind::Double).double_value(&[])
        );
        Ok(losses)
    }
}

/// Mean of values f64 \[n\] and its standard error, which is 0 for a single value.
pub fn mean(values: &Tensor) -> (f64, f64) {
    let n = values.numel();
    let variance = values.var(n > 1).double_value(&[]);
    (
        values.mean(Kind::Double).double_value(&[]),
        (variance / n as f64).sqrt(),
    )
}

/// By how much one list of losses is above another, image by image.
#[derive(Debug, Serialize)]
pub struct PairedDifference {
    /// Mean of the differences.
    difference: f64,
    /// Standard error of that mean.
    standard_error: f64,
    /// The difference divided by the mean of the subtracted losses.
    relative: f64,
}

impl PairedDifference {
    /// The difference of two lists of losses \[n\] of the same images under the same noise.
    pub fn of(losses: &Tensor, subtracted: &Tensor) -> Self {
        let (difference, standard_error) = mean(&(losses - subtracted));
        Self {
            difference,
            standard_error,
            relative: difference / mean(subtracted).0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_standard_error_follow_their_formulas() {
        let values = Tensor::from_slice(&[1.0, 2.0, 4.0, 9.0]);
        // Mean 4, squared deviations 9 + 4 + 0 + 25, unbiased variance 38/3.
        let (middle, error) = mean(&values);
        assert_eq!(middle, 4.0);
        assert!(
            (error - (38.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12,
            "{error}"
        );
        assert_eq!(mean(&values.narrow(0, 1, 1)), (2.0, 0.0));
        let paired = PairedDifference::of(&(&values * 2.0), &values);
        assert_eq!((paired.difference, paired.relative), (4.0, 1.0));
        assert!((paired.standard_error - error).abs() < 1e-12);
    }
}
