//! Student, teacher, optimiser and centre of a run, and one step of learning.

use super::{Moment, fresh::fresh};
use anyhow::{Context, Result, anyhow, bail, ensure};
use cedm_contract::{ExtractorSpec, kinds::adapt::DinoParams};
use cedm_nets::{
    Architecture, NetError, Weights,
    dino::{DinoHead, DinoLoss},
    vit::{FeedForward, Vit, VitConfig, unchunked},
    weights::Encoder,
};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// AdamW, PyTorch's defaults.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

/// Backbone and head over the same named tensors.
struct Side {
    weights: Weights,
    backbone: Vit,
    head: DinoHead,
}

impl Side {
    fn over(weights: Weights, config: VitConfig, device: Device) -> Result<Self, NetError> {
        let backbone = Vit::load(&weights.below("backbone."), config, Kind::Float, device)?;
        let head = DinoHead::load(&weights.below("head."), Kind::Float, device)?;
        Ok(Self {
            weights,
            backbone,
            head,
        })
    }
    fn forward(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.backbone.forward(x), true)
    }
}

/// A run between two steps.
pub struct AdaptState {
    /// Steps taken.
    pub step: u64,
    config: VitConfig,
    student: Side,
    teacher: Side,
    /// Adam's running means of gradients and of their squares, by name.
    first: Weights,
    second: Weights,
    loss: DinoLoss,
    /// Of every step so far.
    losses: Vec<f64>,
    /// Mean standard deviation of the teacher's outputs in the last batch.
    spread: f64,
}

impl AdaptState {
    /// The state before the first step: the backbone of `weights`, the file of `extractor`, or a
    /// fresh one of `training.vit` without.
    ///
    /// # Errors
    /// When the backbone is no ViT, its weights are another network's, or the sizes do not fit.
    pub fn start(
        extractor: &ExtractorSpec,
        params: &DinoParams,
        weights: Option<&Path>,
        device: Device,
    ) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let given = weights
            .map(|path| Weights::read(path).map(|all| unchunked(&all.backbone(Encoder::Teacher))));
        let given = given.transpose()?;
        let config = config_of(extractor, params, given.as_ref())?;
        let mut all = Weights::default();
        for (name, shape) in Vit::blueprint(config) {
            match &given {
                None => all.insert(
                    format!("backbone.{name}"),
                    fresh(params.seed, &format!("backbone.{name}"), &shape),
                ),
                // What is missing or of another shape is told when the networks are put together.
                Some(given) => {
                    if let Some(tensor) = given.get(&name) {
                        all.insert(format!("backbone.{name}"), tensor.to_kind(Kind::Float));
                    }
                }
            }
        }
        let (hidden, bottleneck, out) = (
            i64::from(params.head.0),
            i64::from(params.head.1),
            i64::from(params.head.2),
        );
        for (at, (from, to)) in [(config.dim, hidden), (hidden, hidden), (hidden, bottleneck)]
            .into_iter()
            .enumerate()
        {
            for (part, shape) in [("weight", vec![to, from]), ("bias", vec![to])] {
                let name = format!("head.mlp.{}.{part}", 2 * at);
                let drawn = fresh(params.seed, &name, &shape);
                all.insert(name, drawn);
            }
        }
        let last = "head.last_layer.weight_v";
        all.insert(last, fresh(params.seed, last, &[out, bottleneck]));
        all.insert(
            "head.last_layer.weight_g",
            Tensor::ones([out, 1], (Kind::Float, Device::Cpu)),
        );
        let copy = |weights: &Weights| -> Weights {
            weights
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.to_device(device).copy()))
                .collect()
        };
        let zeros = |weights: &Weights| -> Weights {
            weights
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.zeros_like()))
                .collect()
        };
        let student = copy(&all);
        let (first, second) = (zeros(&student), zeros(&student));
        for (_, tensor) in student.iter().filter(|(name, _)| learns(name)) {
            let _ = tensor.set_requires_grad(true);
        }
        let loss = DinoLoss {
            center: Tensor::zeros([1, out], (Kind::Float, device)),
            student_temperature: params.student_temperature,
            center_momentum: params.center_momentum,
        };
        Ok(Self {
            step: 0,
            student: Side::over(student, config, device)?,
            teacher: Side::over(copy(&all), config, device)?,
            config,
            first,
            second,
            loss,
            losses: Vec::new(),
            spread: 0.0,
        })
    }

    /// The backbone's numbers.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Side of the large crops.
    pub fn side(&self) -> usize {
        (self.config.grid * self.config.patch) as usize
    }

    /// Losses of every step so far.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// Mean standard deviation of the teacher's outputs in the last batch; towards 0 when training
    /// collapses.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// One step; its loss.
    pub fn learn(
        &mut self,
        params: &DinoParams,
        large: &Tensor,
        small: Option<&Tensor>,
        now: Moment,
    ) -> f64 {
        let device = self.loss.center.device();
        let (large, small) = (
            large.to_device(device),
            small.map(|small| small.to_device(device)),
        );
        let wanted = tch::no_grad(|| self.teacher.forward(&large));
        let loss = tch::with_grad(|| {
            let mut given = vec![self.student.forward(&large)];
            given.extend(small.map(|small| self.student.forward(&small)));
            self.loss
                .loss(&Tensor::cat(&given, 0), &wanted, now.teacher_temperature)
        });
        loss.backward();
        let _guard = tch::no_grad_guard();
        self.update(params, now);
        self.loss.update_center(&wanted);
        self.spread = wanted
            .std_dim([0i64].as_slice(), true, false)
            .mean(None)
            .double_value(&[]);
        self.step += 1;
        self.losses.push(loss.double_value(&[]));
        loss.double_value(&[])
    }

    /// AdamW with clipped gradients, then the teacher follows.
    fn update(&mut self, params: &DinoParams, now: Moment) {
        for (name, tensor) in self.student.weights.iter().filter(|(name, _)| learns(name)) {
            let mut tensor = tensor.shallow_clone();
            let gradient = tensor.grad();
            let frozen = if name.starts_with("head.last_layer") {
                now.last_layer_from
            } else {
                0
            };
            if gradient.defined() && self.step >= frozen {
                let at = (self.step + 1 - frozen) as i32;
                let (one, two) = (1.0 - BETAS.0.powi(at), 1.0 - BETAS.1.powi(at));
                let norm = gradient.norm();
                let gradient = &gradient * (params.clip_grad / (norm + 1e-6)).clamp_max(1.0);
                let (Some(first), Some(second)) = (self.first.get(name), self.second.get(name))
                else {
                    continue;
                };
                let (mut first, mut second) = (first.shallow_clone(), second.shallow_clone());
                let _ = first
                    .g_mul_scalar_(BETAS.0)
                    .g_add_(&(&gradient * (1.0 - BETAS.0)));
                let _ = second
                    .g_mul_scalar_(BETAS.1)
                    .g_add_(&(gradient.square() * (1.0 - BETAS.1)));
                // Biases and norms do not decay.
                if tensor.dim() > 1 {
                    let _ = tensor.g_mul_scalar_(1.0 - now.learning_rate * now.weight_decay);
                }
                let _ = tensor
                    .g_sub_(&(&first / one / ((&second / two).sqrt() + EPS) * now.learning_rate));
            }
            tensor.zero_grad();
        }
        for (name, tensor) in self.teacher.weights.iter() {
            if let Some(student) = self.student.weights.get(name) {
                let _ = tensor
                    .shallow_clone()
                    .g_mul_scalar_(now.momentum)
                    .g_add_(&(student.detach() * (1.0 - now.momentum)));
            }
        }
    }

    /// Writes everything needed to go on bit-exactly.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let parts = [
            ("student", &self.student.weights),
            ("teacher", &self.teacher.weights),
            ("first", &self.first),
            ("second", &self.second),
        ];
        let mut tensors: Vec<(String, Tensor)> = parts
            .iter()
            .flat_map(|(part, weights)| {
                weights
                    .iter()
                    .map(move |(name, tensor)| (format!("{part}.{name}"), tensor.detach()))
            })
            .collect();
        tensors.push(("center".to_owned(), self.loss.center.shallow_clone()));
        tensors.push(("step".to_owned(), Tensor::from(self.step as i64)));
        tensors.push(("losses".to_owned(), Tensor::from_slice(&self.losses)));
        tensors.push(("spread".to_owned(), Tensor::from(self.spread)));
        Tensor::write_safetensors(&tensors, file)
            .with_context(|| format!("write {}", file.display()))
    }

    /// Takes over what [`AdaptState::save`] wrote.
    ///
    /// # Errors
    /// When the file is another run's.
    pub fn restore(&mut self, file: &Path) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let saved = Weights::read(file)?;
        let parts = [
            ("student", &self.student.weights),
            ("teacher", &self.teacher.weights),
            ("first", &self.first),
            ("second", &self.second),
        ];
        for (part, weights) in parts {
            for (name, tensor) in weights.iter() {
                let found = saved
                    .get(&format!("{part}.{name}"))
                    .with_context(|| format!("{}: `{part}.{name}` is missing", file.display()))?;
                ensure!(
                    found.size() == tensor.size(),
                    "{}: `{part}.{name}` has another shape",
                    file.display()
                );
                tensor.shallow_clone().copy_(found);
            }
        }
        self.loss
            .center
            .copy_(saved.get("center").context("the centre is missing")?);
        self.step = saved
            .get("step")
            .context("the step is missing")?
            .int64_value(&[]) as u64;
        self.losses = Vec::try_from(saved.get("losses").context("the losses are missing")?)
            .context("read the losses")?;
        self.spread = saved
            .get("spread")
            .context("the spread is missing")?
            .double_value(&[]);
        Ok(())
    }

    /// Writes the teacher's backbone as a weight file of its architecture; `heads` tells what
    /// shapes do not.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_backbone(&self, file: &Path) -> Result<()> {
        let mut tensors: Vec<(String, Tensor)> = self
            .teacher
            .weights
            .below("backbone.")
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.to_device(Device::Cpu).contiguous()))
            .collect();
        tensors.push(("heads".to_owned(), Tensor::from(self.config.heads)));
        Tensor::write_safetensors(&tensors, file)
            .with_context(|| format!("write {}", file.display()))
    }
}

/// Whether a tensor is trained: all but the factor of the last layer, which stays 1.
fn learns(name: &str) -> bool {
    name != "head.last_layer.weight_g"
}

fn config_of(
    extractor: &ExtractorSpec,
    params: &DinoParams,
    given: Option<&Weights>,
) -> Result<VitConfig> {
    let backbone = cedm_nets::extractor(&extractor.name)
        .ok_or_else(|| anyhow!("there is no extractor `{}`", extractor.name))?;
    match (backbone.architecture, given) {
        (Architecture::Vit(config), Some(_)) => Ok(config),
        (Architecture::Vit(_), None) => {
            bail!("adapting `{}` needs its weight file", extractor.name)
        }
        (Architecture::VitOfFile, Some(given)) => Ok(VitConfig::of(given)?),
        (Architecture::VitOfFile, None) => {
            let size = params.vit;
            if let Some(obstacle) = size.obstacle() {
                bail!("a vision transformer from nothing: {obstacle}");
            }
            Ok(VitConfig {
                patch: i64::from(size.patch),
                grid: i64::from(size.image / size.patch),
                feed_forward: FeedForward::Mlp { ratio: 4 },
                ..VitConfig::dino(
                    i64::from(size.dim),
                    i64::from(size.depth),
                    i64::from(size.heads),
                )
            })
        }
        _ => bail!(
            "`{}` is no vision transformer: only those can be adapted",
            extractor.name
        ),
    }
}
