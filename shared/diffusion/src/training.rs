//! One training run: the data, the condition, every random draw, and the learner that they move
//! (spec §7).

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
use tch::{Device, Kind, Tensor};

/// Everything that the numbers of a run depend on, beside the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The network.
    pub network: NetworkSpec,
    /// Optimisation.
    pub optimiser: OptimiserParams,
    /// Augmentation.
    pub augment: AugmentParams,
    /// Arithmetic.
    pub precision: Precision,
    /// Seed of every random stream.
    pub seed: u64,
}

/// A training run.
#[derive(Debug)]
pub struct Training {
    /// What is trained, and how.
    pub recipe: Recipe,
    /// Weights, running mean, optimiser, images seen.
    pub learner: Learner,
    /// Sum of the loss over the steps of the current tick, and their number: part of the state, so
    /// that a resumed tick ends on the same mean.
    pub tick: (f64, u64),
    /// Of images and condition: a state goes on with the data it began with.
    pub(crate) data: Digest,
    images: Tensor,
    condition: Condition,
    order: DataOrder,
    pipe: AugmentPipe,
    device: Device,
}

impl Training {
    /// A run from its very beginning. `images` is u8 \[n, c, r, r\] and stays on the device.
    ///
    /// # Errors
    /// Settings out of range, images of another shape than the network's, conditions that do not
    /// fit.
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

    /// Images seen.
    pub fn nimg(&self) -> u64 {
        self.learner.nimg
    }

    /// Optimiser steps taken.
    pub fn steps(&self) -> u64 {
        self.learner.nimg / u64::from(self.recipe.optimiser.batch)
    }

    /// Trained numbers of the network.
    pub fn parameter_count(&self) -> u64 {
        self.learner.network.layout.parameter_count()
    }

    /// Positions in the data set of the batch of a step.
    pub fn indices_of(&mut self, step: u64) -> Vec<i64> {
        let batch = u64::from(self.recipe.optimiser.batch);
        self.order.at(step * batch, batch)
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfMemory`] with a micro-batch to try.
    pub fn step(&mut self) -> Result<Step, DiffusionError> {
        let OptimiserParams {
            batch, micro_batch, ..
        } = self.recipe.optimiser;
        let advice = smaller_rounds(batch, micro_batch);
        let (seed, step) = (self.recipe.seed, self.steps());
        guard_memory(format!("training step {step}"), advice, || {
            let drawn = self.draw(step);
            self.learner
                .step(&drawn.rounds(i64::from(micro_batch)), &mut |round| {
                    stream::begin(seed, Purpose::Dropout, step, round);
                })
        })
    }

    /// Every random number of a step, for the whole batch at once: the cut into rounds changes none
    /// of them.
    fn draw(&mut self, step: u64) -> Batch {
        let indices = upload(&Tensor::from_slice(&self.indices_of(step)), self.device);
        let seed = self.recipe.seed;
        let architecture = &self.learner.network.architecture;
        let pixels = normalise(&self.images.index_select(0, &indices), Kind::Float);
        let size = pixels.size();
        let options = (Kind::Float, self.device);

        stream::begin(seed, Purpose::Augment, step, 0);
        let (images, augment) = if self.pipe.label_width() > 0 {
            let on = Transform::ALL
                .into_iter()
                .filter(|&transform| self.pipe.multiplier(transform) > 0.0);
            // On the CPU, where the few numbers of a batch cost nothing and the padding they need
            // is known without a wait.
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
            stream::begin(seed, Purpose::LabelDropout, step, 0);
            *class *= Tensor::rand([size[0], 1], options)
                .ge(dropout)
                .to_kind(Kind::Float);
        }

        stream::begin(seed, Purpose::Noise, step, 0);
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

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }
}

/// What to try where a round does not fit into memory: the largest one of at most half its size.
fn smaller_rounds(batch: u32, micro_batch: u32) -> String {
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

/// Of the pixels and of what they are conditioned on, in the order of the data set.
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

fn check_optimiser(params: &OptimiserParams) -> Result<(), DiffusionError> {
    let refuse = |field, found: String, expected: &str| {
        Err(DiffusionError::Setting {
            field,
            found,
            expected: expected.into(),
        })
    };
    if params.batch == 0 {
        return refuse("batch", "0".into(), "at least 1");
    }
    if params.micro_batch == 0 || !params.batch.is_multiple_of(params.micro_batch) {
        let found = format!("{} for a batch of {}", params.micro_batch, params.batch);
        return refuse("micro_batch", found, "a divisor of the batch");
    }
    for (field, value) in [
        ("lr", params.lr),
        ("eps", params.eps),
        ("p_std", params.p_std),
        ("loss_scaling", params.loss_scaling),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return refuse(field, value.to_string(), "a positive number");
        }
    }
    if !params.p_mean.is_finite() {
        return refuse("p_mean", params.p_mean.to_string(), "a finite number");
    }
    for (field, value) in [
        ("lr_rampup_kimg", params.lr_rampup_kimg),
        ("ema_halflife_kimg", params.ema_halflife_kimg),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return refuse(field, value.to_string(), "a number of at least 0");
        }
    }
    if let Some(ratio) = params.ema_rampup_ratio
        && !(ratio.is_finite() && ratio > 0.0)
    {
        return refuse(
            "ema_rampup_ratio",
            ratio.to_string(),
            "a positive number, or none for no ramp",
        );
    }
    if !(0.0..1.0).contains(&params.betas.0) || !(0.0..1.0).contains(&params.betas.1) {
        return refuse(
            "betas",
            format!("{:?}", params.betas),
            "two numbers from 0 to below 1",
        );
    }
    Ok(())
}

fn check_augment(pipe: &AugmentPipe, architecture: &Architecture) -> Result<(), DiffusionError> {
    let full: i64 = Transform::TRAINING
        .iter()
        .map(|transform| transform.label_width())
        .sum();
    let (wanted, on) = (architecture.augment_dim, pipe.label_width());
    if !(0.0..=1.0).contains(&pipe.p) {
        return Err(DiffusionError::Setting {
            field: "augment.p",
            found: pipe.p.to_string(),
            expected: "a probability".into(),
        });
    }
    if pipe.p > 0.0 && on == 0 {
        return Err(DiffusionError::Setting {
            field: "augment.p",
            found: format!("{} with every transform off", pipe.p),
            expected: "0, or a transform with a multiplier above 0".into(),
        });
    }
    if on > 0 && wanted != full && wanted != on {
        let expected = format!("{full} (all training transforms) or {on} (those that are on)");
        return Err(DiffusionError::Setting {
            field: "augment_dim",
            found: wanted.to_string(),
            expected,
        });
    }
    Ok(())
}

fn check_images(images: &Tensor, architecture: &Architecture) -> Result<(), DiffusionError> {
    let (size, side) = (images.size(), architecture.resolution);
    if images.kind() != Kind::Uint8
        || size.len() != 4
        || size[1..] != [architecture.channels, side, side]
        || size[0] == 0
    {
        return Err(DiffusionError::Shape {
            what: "training images".into(),
            found: format!("{:?} {size:?}", images.kind()),
            expected: format!(
                "Uint8 [n, {}, {side}, {side}] with n of at least 1, as the network has",
                architecture.channels
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_to_try_divide_the_batch() {
        assert_eq!(
            smaller_rounds(96, 64),
            "a micro_batch of 32 instead of 64 (`trainer run --set optimiser.micro_batch=32`)"
        );
        assert!(smaller_rounds(7, 7).starts_with("a micro_batch of 1 instead of 7"));
        assert_eq!(
            smaller_rounds(4, 1),
            "a smaller network: the micro_batch is 1 already"
        );
    }

    #[test]
    fn augmentation_with_every_transform_off_is_refused() {
        let mut preset = cedm_sweep::preset("digits8").unwrap();
        preset.augment.p = 0.12;
        let architecture = Architecture::try_from(&preset.network).unwrap();
        let error = check_augment(&AugmentPipe::from(&preset.augment), &architecture)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`augment.p` is 0.12 with every transform off, expected 0, or a transform with a \
             multiplier above 0"
        );
    }
}
