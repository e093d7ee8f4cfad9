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
    condition: Condition,
    order: DataOrder,
    pipe: AugmentPipe,
    device: Device,
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

    /// Takes one optimiser step.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfMemory`] with a micro-batch to try.
    pub fn step(&mut self) -> Result<Step, DiffusionError> {
        let OptimiserParams {
            batch, micro_batch, ..
        } = self.recipe.optimiser;
        let advice = smaller_micro_batch(batch, micro_batch);
        let (seed, step) = (self.recipe.seed, self.steps());
        guard_memory(format!("training step {step}"), advice, || {
            let drawn = self.draw(step);
            self.learner
                .step(&drawn.rounds(i64::from(micro_batch)), &mut |round| {
                    stream::seed_generators(seed, Purpose::Dropout, step, round);
                })
        })
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

/// Advice for a micro-batch that does not fit into memory: the largest divisor of the batch that is
/// at most half as large.
fn smaller_micro_batch(batch: u32, micro_batch: u32) -> String {
    match (1..=micro_batch / 2)
        .rev()
        .find(|size| batch.is_multiple_of(*size))
    {
        Some(smaller) => {
            format!(
                "a micro_batch of {smaller} instead of {micro_batch} (`trainer run --set \
                 optimiser.micro_batch={smaller}`)"
            )
        }
        None => "a smaller network: the micro_batch is 1 already".to_owned(),
    }
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
    fn the_advised_micro_batch_divides_the_batch() {
        assert_eq!(
            smaller_micro_batch(96, 64),
            "a micro_batch of 32 instead of 64 (`trainer run --set optimiser.micro_batch=32`)"
        );
        assert!(smaller_micro_batch(7, 7).starts_with("a micro_batch of 1 instead of 7"));
        assert_eq!(
            smaller_micro_batch(4, 1),
            "a smaller network: the micro_batch is 1 already"
        );
    }
}
