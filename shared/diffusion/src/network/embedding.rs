//! The mapping network: noise level, class label and augmentation label become one embedding that
//! every block reads.

use super::layers::Linear;
use crate::{
    architecture::Architecture,
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

/// The mapping network (spec §7.3, "Mapping").
#[derive(Clone, Debug)]
pub struct Mapping {
    width: i64,
    label_dim: i64,
    fourier: Option<Slot>,
    map_label: Option<Linear>,
    map_augment: Option<Linear>,
    map_layer0: Linear,
    map_layer1: Linear,
}

impl Mapping {
    /// Registers the mapping's tensors.
    pub fn new(layout: &mut Layout, architecture: &Architecture) -> Self {
        let (noise, embedding) = (
            architecture.noise_channels(),
            architecture.embedding_channels(),
        );
        let Architecture {
            label_dim,
            augment_dim,
            ..
        } = *architecture;
        Self {
            width: noise,
            label_dim,
            // Random frequencies of standard deviation 16 (Song et al. 2021, NCSN++), a buffer.
            fourier: architecture.fourier.then(|| {
                layout.buffer(
                    "model.map_noise.freqs".into(),
                    &[noise / 2],
                    Fill::Normal { std: 16.0 },
                )
            }),
            map_label: (label_dim > 0)
                .then(|| Linear::new(layout, "model.map_label", label_dim, noise, true)),
            map_augment: (augment_dim > 0)
                .then(|| Linear::new(layout, "model.map_augment", augment_dim, noise, false)),
            map_layer0: Linear::new(layout, "model.map_layer0", noise, embedding, true),
            map_layer1: Linear::new(layout, "model.map_layer1", embedding, embedding, true),
        }
    }

    /// The embedding \[n, e\] of c_noise \[n\], class labels \[n, L\] (`None`: zeros) and
    /// augmentation labels \[n, A\] (`None`: that branch is skipped), in the type of `c_noise`.
    pub fn forward(
        &self,
        views: &Views,
        c_noise: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let kind = c_noise.kind();
        let waves = match self.fourier {
            Some(slot) => fourier_features(c_noise, &views.get(slot, kind)),
            None => positional_features(c_noise, self.width),
        };
        tap("model.map_noise", &waves);
        // [cos, sin] becomes [sin, cos], the order that published weights were trained with (spec
        // §16.5).
        let mut embedding = waves
            .reshape([-1, 2, self.width / 2])
            .flip(1)
            .reshape([-1, self.width]);
        if let Some(map_label) = &self.map_label {
            // A conditional network without a label gets zeros, as with label dropout in training.
            let zeros = || {
                Tensor::zeros(
                    [c_noise.size()[0], self.label_dim],
                    (kind, c_noise.device()),
                )
            };
            let labels = class_labels.map_or_else(zeros, |labels| labels.to_kind(kind));
            // √L brings one-hot rows to unit mean square, whatever L is (spec §16.6).
            embedding += map_label.forward(views, &(labels * (self.label_dim as f64).sqrt()));
        }
        // This layer has no bias: leaving it out equals labels of zero, an image that was not
        // augmented (spec §16.7).
        if let (Some(map_augment), Some(labels)) = (&self.map_augment, augment_labels) {
            embedding += map_augment.forward(views, &labels.to_kind(kind));
        }
        let hidden = self.map_layer0.forward(views, &embedding);
        tap("model.map_layer0", &hidden);
        let out = self.map_layer1.forward(views, &hidden.silu());
        tap("model.map_layer1", &out);
        out.silu()
    }
}

/// Positional embedding \[n, width\] of c_noise \[n\]: \[cos, sin\] of c_noise times the
/// frequencies 10000^(−j / (width/2 − 1)), j < width/2. Dividing by width/2 − 1 (upstream's
/// `endpoint=True`) makes the last frequency exactly 1e-4 (spec §16.5).
pub fn positional_features(c_noise: &Tensor, width: i64) -> Tensor {
    let options = (c_noise.kind(), c_noise.device());
    let steps = Tensor::arange(width / 2, options) / (width / 2 - 1) as f64;
    waves(c_noise, &Tensor::pow_scalar(1.0 / 10000.0, &steps))
}

/// Fourier features \[n, 2f\] of c_noise \[n\]: \[cos, sin\] of c_noise times 2π times the stored
/// frequencies \[f\].
fn fourier_features(c_noise: &Tensor, frequencies: &Tensor) -> Tensor {
    waves(c_noise, &(frequencies * (2.0 * PI)))
}

/// \[cos, sin\] of every product of a noise level \[n\] and a frequency \[f\]: \[n, 2f\].
fn waves(c_noise: &Tensor, frequencies: &Tensor) -> Tensor {
    let phases = c_noise.outer(frequencies);
    Tensor::cat(&[phases.cos(), phases.sin()], 1)
}

/// One-hot rows \[n, dim\] of integer ids \[n\]. An id outside 0..dim gives a row of zeros, the
/// missing label of a conditional network.
pub fn one_hot(ids: &Tensor, dim: i64, kind: Kind, device: Device) -> Tensor {
    let ids = ids.to_device(device).to_kind(Kind::Int64);
    let columns = Tensor::arange(dim, (Kind::Int64, device));
    ids.unsqueeze(1)
        .eq_tensor(&columns.unsqueeze(0))
        .to_kind(kind)
}
