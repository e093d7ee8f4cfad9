//! One training run: weights, their running mean, Adam, the counters, and the step that moves them (spec §7).

use crate::{
    DiffusionError,
    adam::{self, Adam},
    architecture::Architecture,
    augment::{AugmentPipe, Draws, Transform},
    condition::Condition,
    error::guard_memory,
    loss::{Noise, loss_map, normalise},
    network::{Labels, Mode, Network},
    order::DataOrder,
    parameters::Parameters,
    precondition::NoiseLevels,
    scaling::LossScale,
    schedule,
    stream::{self, Purpose},
};
use cedm_contract::params::{AugmentParams, NetworkSpec, OptimiserParams, Precision};
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

/// What one step did; tensors are scalars on the device, so that nobody waits for them unless they are read.
#[derive(Debug)]
pub struct Step {
    /// Mean loss over all pixels of the batch.
    pub loss: Tensor,
    /// Norm of the gradient before clean-up.
    pub gradient_norm: Tensor,
    /// Learning rate.
    pub lr: f64,
}

/// A training run.
#[derive(Debug)]
pub struct Training {
    /// What is trained, and how.
    pub recipe: Recipe,
    /// Its structure.
    pub network: Network,
    /// Its weights.
    pub weights: Parameters,
    /// Running mean of the weights, flat.
    pub ema: Tensor,
    /// Optimiser.
    pub adam: Adam,
    /// Images seen.
    pub nimg: u64,
    /// Sum of the loss over the steps of the current tick, and their number: part of the state, so that a resumed tick ends
    /// on the same mean.
    pub tick: (f64, u64),
    pub(crate) scale: LossScale,
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
    /// Settings out of range, images of another shape than the network's, conditions that do not fit.
    pub fn new(recipe: Recipe, images: &Tensor, condition: Condition, device: Device) -> Result<Self, DiffusionError> {
        check_optimiser(&recipe.optimiser)?;
        let network = Network::new(Architecture::try_from(&recipe.network)?)?;
        let pipe = AugmentPipe::from(&recipe.augment);
        check_augment(&pipe, &network.architecture)?;
        check_images(images, &network.architecture)?;
        condition.check(images.size()[0], network.architecture.label_dim)?;
        let seed = stream::derive(recipe.seed, Purpose::Init, 0, 0);
        let weights = Parameters::initial(&network.layout, &network.architecture.resample_filter, seed, device);
        let ema = weights.flat.copy();
        let adam = Adam::new(&weights.flat);
        let scale = LossScale::new(recipe.precision);
        let order = DataOrder::new(stream::derive(recipe.seed, Purpose::Order, 0, 0), images.size()[0] as u64);
        Ok(Self {
            recipe,
            network,
            weights,
            ema,
            adam,
            nimg: 0,
            tick: (0.0, 0),
            scale,
            images: images.to_device(device),
            condition: condition.to_device(device),
            order,
            pipe,
            device,
        })
    }

    /// Optimiser steps taken.
    pub fn steps(&self) -> u64 {
        self.nimg / u64::from(self.recipe.optimiser.batch)
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
        let micro_batch = self.recipe.optimiser.micro_batch;
        let advice = format!("micro_batch = {} instead of {micro_batch}", (micro_batch / 2).max(1));
        guard_memory(format!("training step {}", self.steps()), advice, || self.step_unguarded())
    }

    fn step_unguarded(&mut self) -> Step {
        let OptimiserParams {
            batch,
            micro_batch,
            p_mean,
            p_std,
            loss_scaling,
            ..
        } = self.recipe.optimiser;
        let (batch, micro_batch, step) = (i64::from(batch), i64::from(micro_batch), self.steps());
        let drawn = self.draw(step);
        let mode = self.mode();
        self.weights.flat = self.weights.flat.set_requires_grad(true);
        let mut losses = Vec::new();
        for round in 0..batch / micro_batch {
            let cut = |t: &Tensor| t.narrow(0, round * micro_batch, micro_batch);
            let noise = Noise {
                rnd_normal: cut(&drawn.noise.rnd_normal),
                unit: cut(&drawn.noise.unit),
            };
            let (class, augment) = (drawn.class.as_ref().map(cut), drawn.augment.as_ref().map(cut));
            let labels = Labels {
                class: class.as_ref(),
                augment: augment.as_ref(),
            };
            stream::begin(self.recipe.seed, Purpose::Dropout, step, round as u64);
            let views = self.weights.views(&self.network.layout, mode.activations);
            let map = loss_map(
                &self.network,
                &views,
                &cut(&drawn.images),
                &noise,
                NoiseLevels { p_mean, p_std },
                labels,
                mode,
            );
            let sum = map.sum(Kind::Float);
            (&sum * (loss_scaling * self.scale.factor() / batch as f64)).backward();
            losses.push(sum.detach() / (map.numel() as f64));
        }
        let gradient = self.weights.flat.grad();
        self.weights.flat = self.weights.flat.set_requires_grad(false);
        let gradient_norm = self.apply(gradient);
        let loss = Tensor::stack(&losses, 0).mean(Kind::Double);
        Step {
            loss,
            gradient_norm,
            lr: schedule::learning_rate(&self.recipe.optimiser, self.nimg - batch as u64),
        }
    }

    /// Clean-up, Adam, EMA and counters; clears the gradient. Returns its norm.
    pub fn apply(&mut self, mut gradient: Tensor) -> Tensor {
        let optimiser = &self.recipe.optimiser;
        let usable = tch::no_grad(|| self.scale.unscale(&mut gradient));
        let gradient_norm = adam::norm(&gradient);
        if usable {
            // Spec §7.4: fp32 cleans the gradient instead of skipping the step.
            let _ = tch::no_grad(|| gradient.nan_to_num_(0.0, 1e5, -1e5));
            let lr = schedule::learning_rate(optimiser, self.nimg);
            self.adam
                .step(&mut self.weights.flat, &gradient, lr, optimiser.betas, optimiser.eps);
        }
        tch::no_grad(|| {
            let beta = schedule::ema_beta(optimiser, self.nimg);
            self.ema = self.weights.flat.lerp(&self.ema, beta);
            let _ = gradient.zero_();
        });
        self.nimg += u64::from(optimiser.batch);
        gradient_norm
    }

    /// Every random number of a step, for the whole batch at once: the cut into rounds changes none of them.
    fn draw(&mut self, step: u64) -> Drawn {
        let indices = Tensor::from_slice(&self.indices_of(step)).to_device(self.device);
        let seed = self.recipe.seed;
        let pixels = normalise(&self.images.index_select(0, &indices), Kind::Float);
        let size = pixels.size();
        let options = (Kind::Float, self.device);

        stream::begin(seed, Purpose::Augment, step, 0);
        let (images, augment) = if self.pipe.label_width() > 0 {
            let on = Transform::ALL
                .into_iter()
                .filter(|&transform| self.pipe.multiplier(transform) > 0.0);
            let augmented = self.pipe.apply(&pixels, &Draws::fresh(on, size[0], self.device));
            let labels = self.pipe.labels_of_width(&augmented.labels, self.network.architecture.augment_dim);
            (augmented.images, Some(labels))
        } else {
            (pixels, None)
        };

        let mut class = self.condition.rows(&indices, Kind::Float, self.device);
        let dropout = self.network.architecture.label_dropout;
        if let (Some(class), true) = (&mut class, dropout > 0.0) {
            stream::begin(seed, Purpose::LabelDropout, step, 0);
            *class *= Tensor::rand([size[0], 1], options).ge(dropout).to_kind(Kind::Float);
        }

        stream::begin(seed, Purpose::Noise, step, 0);
        let noise = Noise {
            rnd_normal: Tensor::randn([size[0]], options),
            unit: Tensor::randn(&size, options),
        };
        Drawn {
            images,
            class,
            augment,
            noise,
        }
    }

    fn mode(&self) -> Mode {
        let activations = match self.recipe.precision {
            Precision::Fp32 | Precision::Tf32 => None,
            Precision::Bf16 => Some(Kind::BFloat16),
            Precision::Fp16 => Some(Kind::Half),
        };
        Mode {
            train: true,
            activations,
            channels_last: true,
        }
    }

    /// The running mean as parameters of their own.
    pub fn ema_parameters(&self) -> Parameters {
        let buffers = self.weights.buffers.iter().map(Tensor::shallow_clone).collect();
        Parameters {
            flat: self.ema.shallow_clone(),
            buffers,
        }
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }
}

struct Drawn {
    images: Tensor,
    class: Option<Tensor>,
    augment: Option<Tensor>,
    noise: Noise,
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
    for (field, value) in [
        ("lr_rampup_kimg", params.lr_rampup_kimg),
        ("ema_halflife_kimg", params.ema_halflife_kimg),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return refuse(field, value.to_string(), "a number of at least 0");
        }
    }
    if !(0.0..1.0).contains(&params.betas.0) || !(0.0..1.0).contains(&params.betas.1) {
        return refuse("betas", format!("{:?}", params.betas), "two numbers from 0 to below 1");
    }
    Ok(())
}

fn check_augment(pipe: &AugmentPipe, architecture: &Architecture) -> Result<(), DiffusionError> {
    let full: i64 = Transform::TRAINING.iter().map(|transform| transform.label_width()).sum();
    let (wanted, on) = (architecture.augment_dim, pipe.label_width());
    if !(0.0..=1.0).contains(&pipe.p) {
        return Err(DiffusionError::Setting {
            field: "augment.p",
            found: pipe.p.to_string(),
            expected: "a probability".into(),
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
    if images.kind() != Kind::Uint8 || size.len() != 4 || size[1..] != [architecture.channels, side, side] || size[0] == 0 {
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
