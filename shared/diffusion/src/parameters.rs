//! The numbers of a network: all trained ones in one flat buffer, so that Adam, EMA and clean-up
//! are a handful of operations.
//!
//! The flat buffer is the only leaf of the autograd graph. A forward pass splits it into views, and
//! the split's own backward joins all gradients into one flat gradient.

use crate::{
    DiffusionError,
    layout::{Entry, Fill, Layout, Slot},
};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Every tensor starts at a multiple of this many elements: 64 bytes of float32, a vector register
/// or a cache line.
const ALIGNMENT: i64 = 16;

/// The numbers of one network.
#[derive(Debug)]
pub struct Parameters {
    /// All trained tensors in the layout's order, each padded with zeros to a multiple of 16
    /// elements.
    pub flat: Tensor,
    /// The others, in the layout's order.
    pub buffers: Vec<Tensor>,
}

/// The tensors of a network as its layers read them.
#[derive(Debug)]
pub struct Views {
    tensors: Vec<Tensor>,
    cast: Option<(Kind, Vec<Tensor>)>,
}

impl Views {
    /// The tensor at `slot` in the type of the activations it meets.
    pub(crate) fn get(&self, slot: Slot, kind: Kind) -> Tensor {
        let own = &self.tensors[slot.0];
        if own.kind() == kind {
            return own.shallow_clone();
        }
        match &self.cast {
            Some((cast, tensors)) if *cast == kind => tensors[slot.0].shallow_clone(),
            _ => own.to_kind(kind),
        }
    }
}

impl Parameters {
    /// Zeros in the right places.
    pub fn zeros(layout: &Layout, kind: Kind, device: Device) -> Self {
        let flat = Tensor::zeros([padded_sizes(layout).iter().sum::<i64>()], (kind, device));
        let buffers = layout
            .entries
            .iter()
            .filter(|entry| !entry.trained)
            .map(|e| Tensor::zeros(e.shape.as_slice(), (kind, device)));
        Self {
            flat,
            buffers: buffers.collect(),
        }
    }

    /// A fresh network: drawn on the CPU from `seed`, the same on every device (spec §7.3, "Init").
    pub fn initial(layout: &Layout, resample_filter: &[f64], seed: u64, device: Device) -> Self {
        let this = Self::zeros(layout, Kind::Float, Device::Cpu);
        tch::manual_seed(seed as i64);
        let drawn: Vec<Tensor> = layout
            .entries
            .iter()
            .map(|entry| draw(entry, resample_filter))
            .collect();
        tch::no_grad(|| {
            for (mut target, source) in this.tensors(layout).into_iter().zip(drawn) {
                target.copy_(&source);
            }
        });
        this.to(Kind::Float, device)
    }

    /// Tensors by upstream name; names, shapes and completeness are checked against the layout,
    /// prefixes are stripped.
    ///
    /// # Errors
    /// [`DiffusionError::Weights`] naming what is missing, unexpected or of another shape.
    pub fn from_tensors(
        layout: &Layout,
        tensors: &HashMap<String, Tensor>,
        origin: &str,
        kind: Kind,
        device: Device,
    ) -> Result<Self, DiffusionError> {
        let named = crate::weights::upstream_names(tensors, origin)?;
        if let Some(difference) = crate::weights::difference(layout, &named) {
            return Err(DiffusionError::Weights {
                origin: origin.to_owned(),
                difference,
            });
        }
        let this = Self::zeros(layout, kind, device);
        tch::no_grad(|| {
            for (mut target, entry) in this.tensors(layout).into_iter().zip(&layout.entries) {
                target.copy_(named[entry.name.as_str()]);
            }
        });
        Ok(this)
    }

    /// A copy in another type or place.
    pub fn to(&self, kind: Kind, device: Device) -> Self {
        let moved = |tensor: &Tensor| tensor.detach().to_device(device).to_kind(kind);
        Self {
            flat: moved(&self.flat),
            buffers: self.buffers.iter().map(moved).collect(),
        }
    }

    /// Every tensor in the layout's order, as views of the flat buffer.
    pub fn tensors(&self, layout: &Layout) -> Vec<Tensor> {
        self.split(layout, &self.flat)
    }

    /// Any flat tensor of the same padding (a gradient, an Adam moment) by the layout's entries;
    /// buffers as they are.
    pub fn split(&self, layout: &Layout, flat: &Tensor) -> Vec<Tensor> {
        join(layout, flat, &self.buffers)
    }

    /// The views of one forward pass; `activations` adds a copy cast in one piece.
    pub fn views(&self, layout: &Layout, activations: Option<Kind>) -> Views {
        let cast = activations
            .filter(|&kind| kind != self.flat.kind())
            .map(|kind| {
                let buffers: Vec<Tensor> = self.buffers.iter().map(|b| b.to_kind(kind)).collect();
                (kind, join(layout, &self.flat.to_kind(kind), &buffers))
            });
        Views {
            tensors: self.tensors(layout),
            cast,
        }
    }
}

/// Every tensor in the layout's order: views of a flat tensor, and the buffers as they are.
fn join(layout: &Layout, flat: &Tensor, buffers: &[Tensor]) -> Vec<Tensor> {
    let mut pieces = flat.split_with_sizes(padded_sizes(layout), 0).into_iter();
    let mut buffers = buffers.iter();
    let mut next = |entry: &Entry| match entry.trained {
        true => {
            let piece = pieces
                .next()
                .expect("invariant: as many pieces as trained entries");
            let piece = if piece.size()[0] == entry.numel() {
                piece
            } else {
                piece.narrow(0, 0, entry.numel())
            };
            piece.view(entry.shape.as_slice())
        }
        false => buffers
            .next()
            .expect("invariant: as many buffers as untrained entries")
            .shallow_clone(),
    };
    layout.entries.iter().map(&mut next).collect()
}

fn padded_sizes(layout: &Layout) -> Vec<i64> {
    layout
        .entries
        .iter()
        .filter(|e| e.trained)
        .map(|e| (e.numel() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)
        .collect()
}

fn draw(entry: &Entry, resample_filter: &[f64]) -> Tensor {
    let shape = entry.shape.as_slice();
    let options = (Kind::Float, Device::Cpu);
    match entry.fill {
        Fill::Zeros => Tensor::zeros(shape, options),
        Fill::Ones => Tensor::ones(shape, options),
        Fill::Normal { std } => Tensor::randn(shape, options) * std,
        Fill::ResampleFilter => {
            let taps = Tensor::from_slice(resample_filter);
            (taps.outer(&taps) / resample_filter.iter().sum::<f64>().powi(2))
                .to_kind(Kind::Float)
                .reshape(shape)
        }
        Fill::XavierUniform { gain } => {
            let area: i64 = shape[2..].iter().product();
            let (fan_out, fan_in) = (shape[0] * area, shape[1] * area);
            (Tensor::rand(shape, options) * 2.0 - 1.0)
                * ((6.0 / (fan_in + fan_out) as f64).sqrt() * gain)
        }
    }
}
