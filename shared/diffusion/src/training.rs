//! One training run: the data, the condition, every random draw, and the learner that takes the
//! steps (spec §7).

mod checks;

use crate::{
    DiffusionError,
    architecture::Architecture,
    augment::{AugmentPipe, Draws, Transform},
    condition::Condition,
    error::guard_memory,
    learner::{Batch, Learner, Step, upload},
    loss::{Noise, normalise},
    network::Network,
    order::DataOrder,
    parameters::Parameters,
    stream::{self, Purpose},
};
use cedm_contract::{
    Digest, Precision,
    kinds::train::{AugmentParams, NetworkSpec, OptimiserParams},
};
use checks::{check_augment, check_images, check_optimiser};
use tch::{Device, Kind, Tensor};

/// The settings of a run: with the data and the condition they determine every number of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Size and type of the network.
    pub network: NetworkSpec,
    /// Batch, learning rate, EMA and noise levels.
    pub optimiser: OptimiserParams,
    /// Probabilities of the augmentation pipe.
    pub augment: AugmentParams,
    /// Type of the activations in training.
    pub precision: Precision,
    /// Seed that every random stream is derived from.
    pub seed: u64,
}

/// A training run between two optimiser steps.
#[derive(Debug)]
pub struct Training {
    /// The settings of the run.
    pub recipe: Recipe,
    /// Weights, EMA weights, optimiser state, images seen.
    pub learner: Learner,
    /// Sum of the loss over the steps of the current tick, and the number of those steps: part of
    /// the saved state, so that a resumed tick ends on the same mean.
    pub tick: (f64, u64),
    /// Digest of images and condition: a state may only be resumed with the data it began with.
    pub(crate) data: Digest,
    images: Tensor,
    pub(crate) condition: Condition,
    order: DataOrder,
    pipe: AugmentPipe,
    device: Device,
    /// See [`Training::images_at_once`].
    at_once: u32,
}

impl Training {
    /// A run at its first step, with random initial weights. `images` is u8 \[n, c, r, r\] and
    /// stays on the device.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for settings out of range, [`DiffusionError::Shape`] for images
    /// of another shape than the network's, [`DiffusionError::Labels`] for a condition that does
    /// not fit the images or the network.
    pub fn new(
        recipe: Recipe,
        images: &Tensor,
        condition: Condition,
        device: Device,
    ) -> Result<Self, DiffusionError> {
        check_optimiser(&recipe.optimiser)?;
        let network = Network::new(Architecture::try_from(&recipe.network)?)?;
        let pipe = AugmentPipe::from(&recipe.augment);
        check_augment(&pipe, &network.architecture)?;
        check_images(images, &network.architecture)?;
        condition.check(images.size()[0], network.architecture.label_dim)?;
        let seed = stream::derive(recipe.seed, Purpose::Init, 0, 0);
        let weights = Parameters::initial(
            &network.layout,
            &network.architecture.resample_filter,
            seed,
            device,
        );
        let order = DataOrder::new(
            stream::derive(recipe.seed, Purpose::Order, 0, 0),
            images.size()[0] as u64,
        );
        Ok(Self {
            at_once: recipe.optimiser.micro_batch,
            learner: Learner::new(network, weights, recipe.optimiser.clone(), recipe.precision),
            recipe,
            tick: (0.0, 0),
            data: digest_of(images, &condition),
            images: images.to_device(device),
            condition: condition.to_device(device),
            order,
            pipe,
            device,
        })
    }

    /// Images seen so far, repetitions counted.
    pub fn nimg(&self) -> u64 {
        self.learner.nimg
    }

    /// Optimiser steps taken so far.
    pub fn steps(&self) -> u64 {
        self.learner.nimg / u64::from(self.recipe.optimiser.batch)
    }

    /// Number of trained scalars of the network.
    pub fn parameter_count(&self) -> u64 {
        self.learner.network.layout.parameter_count()
    }

    /// Indices of the images in the batch of a step, counted from 0.
    pub fn indices_of(&mut self, step: u64) -> Vec<i64> {
        let batch = u64::from(self.recipe.optimiser.batch);
        self.order.at(step * batch, batch)
    }

    /// Takes one optimiser step. Where a micro-batch does not fit into memory, it and all later
    /// ones are computed in smaller parts, see [`Training::images_at_once`].
    ///
    /// # Errors
    /// [`DiffusionError::OutOfMemory`] if not even one image fits.
    pub fn step(&mut self) -> Result<Step, DiffusionError> {
        let micro_batch = self.recipe.optimiser.micro_batch;
        let (seed, step) = (self.recipe.seed, self.steps());
        let at = format!("training step {step}");
        let rounds = guard_memory(&*at, SMALLER_NETWORK, || {
            self.draw(step).rounds(i64::from(micro_batch))
        })?;
        let losses = loop {
            let at_once = self.at_once;
            let learner = &mut self.learner;
            let attempt = guard_memory(&*at, SMALLER_NETWORK, || {
                learner.accumulate(&rounds, i64::from(at_once), &mut |round| {
                    stream::seed_generators(seed, Purpose::Dropout, step, round);
                })
            });
            match attempt {
                Ok(losses) => break losses,
                Err(error) => {
                    self.learner.forget_gradient();
                    self.at_once = half(micro_batch, at_once).ok_or(error)?;
                }
            }
        };
        guard_memory(&*at, SMALLER_NETWORK, || self.learner.finish(losses))
    }

    /// Computes at most so many images at once from now on, whatever the recipe's micro-batch: for
    /// a device of which it is known that no more fit. At least one.
    pub fn limit_images_at_once(&mut self, images: u32) {
        let micro_batch = self.recipe.optimiser.micro_batch;
        while self.at_once > images.max(1) {
            let Some(smaller) = half(micro_batch, self.at_once) else {
                return;
            };
            self.at_once = smaller;
        }
    }

    /// Images that go through the network at once: the recipe's micro-batch, or a divisor of it
    /// since that did not fit into memory. Weights and losses differ by the rounding of sums alone.
    pub fn images_at_once(&self) -> u32 {
        self.at_once
    }

    /// Every random number of a step, drawn for the whole batch at once, so that the size of the
    /// micro-batches changes none of them.
    fn draw(&mut self, step: u64) -> Batch {
        let indices = upload(&Tensor::from_slice(&self.indices_of(step)), self.device);
        let seed = self.recipe.seed;
        let architecture = &self.learner.network.architecture;
        // Images are kept as bytes and become float32 batch by batch: a quarter of the memory.
        let pixels = normalise(&self.images.index_select(0, &indices), Kind::Float);
        let size = pixels.size();
        let options = (Kind::Float, self.device);

        // Every purpose has its own stream: switching augmentation off, say, leaves the noise of
        // the run unchanged.
        stream::seed_generators(seed, Purpose::Augment, step, 0);
        let (images, augment) = if self.pipe.label_width() > 0 {
            let on = Transform::ALL
                .into_iter()
                .filter(|&transform| self.pipe.multiplier(transform) > 0.0);
            // Drawn on the CPU: these are a few numbers per image, and the padding that follows
            // from them is known without waiting for the device.
            let augmented = self
                .pipe
                .apply(&pixels, &Draws::fresh(on, size[0], Device::Cpu));
            let labels = self
                .pipe
                .labels_of_width(&augmented.labels, architecture.augment_dim);
            (augmented.images, Some(labels))
        } else {
            (pixels, None)
        };

        let mut class = self.condition.rows(&indices, Kind::Float, self.device);
        let dropout = architecture.label_dropout;
        if let (Some(class), true) = (&mut class, dropout > 0.0) {
            stream::seed_generators(seed, Purpose::LabelDropout, step, 0);
            // A dropped label is a row of zeros, the same as a missing one (spec §7.3).
            *class *= Tensor::rand([size[0], 1], options)
                .ge(dropout)
                .to_kind(Kind::Float);
        }

        stream::seed_generators(seed, Purpose::Noise, step, 0);
        let noise = Noise {
            rnd_normal: Tensor::randn([size[0]], options),
            unit: Tensor::randn(&size, options),
        };
        Batch {
            part: None,
            images,
            class,
            augment,
            noise,
        }
    }

    /// The device that holds the images and the network.
    pub fn device(&self) -> Device {
        self.device
    }
}

/// Advice when memory does not suffice for a single image at a time, or for what a step needs
/// beside the network's activations.
const SMALLER_NETWORK: &str = "a smaller network, or a smaller batch";

/// The largest part of a micro-batch of at most half the size of the last one that divides the
/// micro-batch evenly; `None` where that was one image.
fn half(micro_batch: u32, last: u32) -> Option<u32> {
    (1..=last / 2)
        .rev()
        .find(|size| micro_batch.is_multiple_of(*size))
}

/// Digest of the pixels and of the condition, in the order of the data set.
fn digest_of(images: &Tensor, condition: &Condition) -> Digest {
    let parts =
        [Some(images), condition.values()].map(|tensor| tensor.map_or_else(Vec::new, bytes_of));
    Digest::of(
        &parts
            .map(|part| Digest::of(&part).to_string())
            .concat()
            .into_bytes(),
    )
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_divide_the_micro_batch() {
        assert_eq!(half(64, 64), Some(32));
        assert_eq!(half(96, 96), Some(48));
        assert_eq!(half(96, 3), Some(1));
        assert_eq!(half(7, 7), Some(1));
        assert_eq!(half(4, 1), None);
    }
}
