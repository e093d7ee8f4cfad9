//! One training: stepped by its caller, saved and restored between any two steps.

use crate::{
    DinoError, DinoLoss, ImageSource, StepSettings,
    batch::{Views, batch_indices, draw_views},
    initial::{initial_backbone, initial_head},
    network::{Network, is_trainable},
    optimiser::{AdamMoments, update_teacher},
};
use cedm_contract::{ExtractorSpec, kinds::adapt::DinoParams};
use cedm_nets::{
    Architecture, Weights,
    vit::{FeedForward, Vit, VitConfig, unchunked},
    weights::Encoder,
};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A DINO training between two steps: student, teacher, optimiser and centre.
pub struct Training {
    params: DinoParams,
    images: ImageSource,
    pub(crate) config: VitConfig,
    pub(crate) student: Network,
    pub(crate) teacher: Network,
    pub(crate) optimiser: AdamMoments,
    pub(crate) loss: DinoLoss,
    pub(crate) step: u64,
    /// Loss of every step so far.
    pub(crate) losses: Vec<f64>,
    pub(crate) spread: f64,
}

/// What one step showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Loss before the update.
    pub loss: f64,
    /// Spread of the teacher's scores, as [`Training::spread`].
    pub spread: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
}

/// What one epoch showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochSummary {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the steps of the epoch that are done.
    pub loss: f64,
    /// Learning rate of the last of them.
    pub learning_rate: f64,
}

impl Training {
    /// A training of `extractor` on `images` at its first step: from the backbone in the file
    /// `weights`, or, without one, from random weights of the size `params.vit`. Computes in
    /// float32 on `device`.
    ///
    /// # Errors
    /// When a parameter is outside its range, when the extractor is not a vision transformer, and
    /// when the weights cannot be read or are another network's.
    pub fn new(
        extractor: &ExtractorSpec,
        params: &DinoParams,
        weights: Option<&Path>,
        images: ImageSource,
        device: Device,
    ) -> Result<Self, DinoError> {
        let _guard = tch::no_grad_guard();
        let given = weights
            .map(|path| Weights::read(path).map(|all| unchunked(&all.backbone(Encoder::Teacher))))
            .transpose()?;
        // Sizes first, then parameters: the patch side decides which crops are possible.
        let config = backbone_config(extractor, params, given.as_ref())?;
        check(params, &images, &config)?;
        let all = initial_weights(params, config, given.as_ref());
        // Student and teacher begin equal, each with tensors of its own.
        let copy = || -> Weights {
            all.iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.to_device(device).copy()))
                .collect()
        };
        let student = copy();
        // Before gradients are switched on: its means are not part of any graph.
        let optimiser = AdamMoments::new(&student);
        for (_, tensor) in student.iter().filter(|(name, _)| is_trainable(name)) {
            let _ = tensor.set_requires_grad(true);
        }
        let loss = DinoLoss {
            center: Tensor::zeros([1, i64::from(params.head.2)], (Kind::Float, device)),
            student_temperature: params.student_temperature,
            center_momentum: params.center_momentum,
        };
        Ok(Self {
            params: params.clone(),
            images,
            config,
            student: Network::over(student, config, device)?,
            teacher: Network::over(copy(), config, device)?,
            optimiser,
            loss,
            step: 0,
            losses: Vec::new(),
            spread: 0.0,
        })
    }

    /// Sizes of the backbone.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Number of images of one step.
    pub fn batch(&self) -> u32 {
        self.params.batch
    }

    /// Number of images in the training set.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Steps of one epoch, ⌊images / batch⌋: what is left over is skipped.
    pub fn steps_per_epoch(&self) -> u64 {
        self.images.len() as u64 / u64::from(self.params.batch)
    }

    /// Number of steps of the whole training.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.params.epochs)
    }

    /// Number of steps done so far; a restored training continues with this one.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Whether all steps are done.
    pub fn finished(&self) -> bool {
        self.step >= self.steps()
    }

    /// Standard deviation of the teacher's scores over the last batch, mean over the K scores;
    /// it goes towards 0 when training collapses to one constant output.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// Mean loss over the last epoch's worth of steps; 0 before the first step.
    pub fn recent_loss(&self) -> f64 {
        let epoch = self.steps_per_epoch() as usize;
        let recent = &self.losses[self.losses.len().saturating_sub(epoch)..];
        recent.iter().sum::<f64>() / recent.len().max(1) as f64
    }

    /// Loss and learning rate of each epoch that has begun.
    pub fn curve(&self) -> Vec<EpochSummary> {
        let per_epoch = self.steps_per_epoch();
        self.losses
            .chunks(per_epoch as usize)
            .enumerate()
            .map(|(epoch, losses)| {
                let last = epoch as u64 * per_epoch + losses.len() as u64 - 1;
                EpochSummary {
                    epoch: epoch + 1,
                    loss: losses.iter().sum::<f64>() / losses.len() as f64,
                    learning_rate: StepSettings::at(&self.params, last, per_epoch).learning_rate,
                }
            })
            .collect()
    }

    /// Draws the views of the next batch, updates the student, then teacher and centre.
    ///
    /// # Errors
    /// When the loss is infinite or not a number.
    pub fn step(&mut self) -> Result<StepReport, DinoError> {
        let per_epoch = self.steps_per_epoch();
        let settings = StepSettings::at(&self.params, self.step, per_epoch);
        let chosen = batch_indices(&self.params, self.images.len(), self.step, per_epoch);
        let side = (self.config.grid * self.config.patch) as usize;
        let views = draw_views(&self.params, &self.images, &chosen, self.step, side);
        let loss = self.optimise(&views, settings);
        if !loss.is_finite() {
            let step = self.step;
            return Err(DinoError::NotFinite { loss, step });
        }
        Ok(StepReport {
            loss,
            spread: self.spread,
            learning_rate: settings.learning_rate,
        })
    }

    /// One step on given views; returns its loss.
    fn optimise(&mut self, views: &Views, settings: StepSettings) -> f64 {
        let device = self.loss.center.device();
        let large = views.large.to_device(device);
        let small = views.small.as_ref().map(|small| small.to_device(device));
        // The teacher sees the large views alone: what a small one shows is to be predicted.
        let targets = tch::no_grad(|| self.teacher.forward(&large));
        let loss = tch::with_grad(|| {
            // Views of one size go through the network together, sizes one after the other.
            let mut scores = vec![self.student.forward(&large)];
            scores.extend(small.map(|small| self.student.forward(&small)));
            self.loss.loss(
                &Tensor::cat(&scores, 0),
                &targets,
                settings.teacher_temperature,
            )
        });
        // Gradients go into the student's tensors; the teacher has none.
        loss.backward();
        // Updates are made in place on tensors that require gradients.
        let _guard = tch::no_grad_guard();
        self.optimiser
            .step(&self.student, &settings, self.step, self.params.clip_grad);
        update_teacher(&self.teacher, &self.student, settings.teacher_momentum);
        self.loss.update_center(&targets);
        // Over the batch of both large views, before the centre is subtracted.
        self.spread = targets
            .std_dim([0i64].as_slice(), true, false)
            .mean(None)
            .double_value(&[]);
        // Counted even when the loss is not finite, for the error to name the step.
        self.step += 1;
        let loss = loss.double_value(&[]);
        self.losses.push(loss);
        loss
    }
}

/// Backbone, given or drawn, and a drawn head: float32 on the CPU.
fn initial_weights(params: &DinoParams, config: VitConfig, given: Option<&Weights>) -> Weights {
    let backbone = match given {
        None => initial_backbone(params.seed, config),
        // Names that are missing and shapes that differ are reported when the networks load.
        Some(given) => Vit::blueprint(config)
            .into_iter()
            .filter_map(|(name, _)| {
                let tensor = given.get(&name)?.to_kind(Kind::Float);
                Some((format!("backbone.{name}"), tensor))
            })
            .collect(),
    };
    backbone
        .into_iter()
        .chain(initial_head(params.seed, config.dim, params.head))
        .collect()
}

/// Sizes of the backbone to train: those of the named extractor, of the file, or of `params.vit`.
fn backbone_config(
    extractor: &ExtractorSpec,
    params: &DinoParams,
    given: Option<&Weights>,
) -> Result<VitConfig, DinoError> {
    let name = &extractor.name;
    let backbone = cedm_nets::extractor(name)
        .ok_or_else(|| DinoError::Backbone(format!("extractor `{name}` does not exist")))?;
    match (backbone.architecture, given) {
        (Architecture::Vit(config), Some(_)) => Ok(config),
        (Architecture::Vit(_), None) => Err(DinoError::Backbone(format!(
            "adapting `{name}` needs its weight file"
        ))),
        (Architecture::VitOfFile, Some(given)) => Ok(VitConfig::of(given)?),
        (Architecture::VitOfFile, None) => {
            let size = params.vit;
            if let Some(obstacle) = size.obstacle() {
                return Err(DinoError::Parameters(format!("`vit`: {obstacle}")));
            }
            let dino = VitConfig::dino(
                i64::from(size.dim),
                i64::from(size.depth),
                i64::from(size.heads),
            );
            Ok(VitConfig {
                patch: i64::from(size.patch),
                grid: i64::from(size.image / size.patch),
                // As in every published ViT.
                feed_forward: FeedForward::Mlp { ratio: 4 },
                ..dino
            })
        }
        _ => Err(DinoError::Backbone(format!(
            "`{name}` is not a vision transformer: only those can be adapted"
        ))),
    }
}

fn check(params: &DinoParams, images: &ImageSource, config: &VitConfig) -> Result<(), DinoError> {
    let ensure = |holds: bool, reason: &dyn Fn() -> String| {
        holds
            .then_some(())
            .ok_or_else(|| DinoError::Parameters(reason()))
    };
    let (batch, epochs) = (params.batch, params.epochs);
    ensure(batch > 0 && epochs > 0, &|| {
        format!("batch {batch} and epochs {epochs}: expected at least 1")
    })?;
    ensure(images.len() >= batch as usize, &|| {
        let count = images.len();
        format!("{count} images are fewer than one batch of {batch}")
    })?;
    let (local, patch) = (params.local_size, config.patch as u32);
    let whole = local >= patch && local.is_multiple_of(patch);
    ensure(params.local_crops == 0 || whole, &|| {
        format!("local_size is {local}, expected a multiple of the patch side {patch}")
    })?;
    let scale = |(low, high): (f64, f64)| 0.0 < low && low <= high && high <= 1.0;
    ensure(
        scale(params.global_scale) && scale(params.local_scale),
        &|| {
            format!(
                "crop scales are {:?} and {:?}, expected shares of the image's area, the smaller \
                 first",
                params.global_scale, params.local_scale
            )
        },
    )?;
    let (hidden, bottleneck, out) = params.head;
    ensure(hidden > 0 && bottleneck > 0 && out > 1, &|| {
        format!("head is {hidden}, {bottleneck}, {out}, expected widths of at least 1, 1 and 2")
    })
}

#[cfg(test)]
mod tests;
