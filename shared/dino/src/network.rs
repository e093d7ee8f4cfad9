//! A backbone with its projection head: student and teacher are one each.

use crate::{head::DinoHead, initial::LAST_LAYER_NORM};
use cedm_nets::{
    NetError, Weights,
    vit::{Vit, VitConfig},
};
use tch::{Device, Kind, Tensor};

/// Backbone and head, and the tensors that both compute with, in place, under `backbone.` and
/// `head.`.
pub(crate) struct Network {
    pub(crate) weights: Weights,
    backbone: Vit,
    head: DinoHead,
}

impl Network {
    /// A network over `weights`, float32 on `device` already: loading then shares their storage,
    /// and an optimiser that changes them changes the network.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub(crate) fn over(
        weights: Weights,
        config: VitConfig,
        device: Device,
    ) -> Result<Self, NetError> {
        let backbone = Vit::load(&weights.below("backbone."), config, Kind::Float, device)?;
        let head = DinoHead::load(&weights.below("head."), Kind::Float, device)?;
        Ok(Self {
            weights,
            backbone,
            head,
        })
    }

    /// Scores \[n, K\] of images \[n, 3, side, side\].
    pub(crate) fn forward(&self, images: &Tensor) -> Tensor {
        self.head.forward(&self.backbone.forward(images), true)
    }

    /// Names and tensors that an optimiser changes.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.weights.iter().filter(|(name, _)| is_trainable(name))
    }
}

/// All tensors learn but the norms of the last layer's rows, which stay 1 (upstream's
/// `norm_last_layer`).
pub(crate) fn is_trainable(name: &str) -> bool {
    name != LAST_LAYER_NORM
}
