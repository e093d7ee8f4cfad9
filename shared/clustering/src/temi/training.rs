//! One TEMI training: stepped by its caller, saved and restored at any step (spec §4.5–4.6).

use super::{
    AdamW, EpochDraws, HeadShape, Heads, Marginal, Model, Schedules, Standardisation, StepSettings,
    backward, epoch_draws, forward_keeping, student_loss, targets,
};
use crate::{ClusteringError, Features, neighbours::check_lists};
use cedm_contract::kinds::cluster::TemiParams;
use cedm_maths::confidence::confidence;
use tch::{Device, IndexOp, Kind, Tensor};

/// Bytes of activations that a group of heads may have on a CPU: groups beyond the last-level cache
/// only cost bandwidth.
const GROUP_BYTES: i64 = 8 << 20;
/// Rows at a time when clusters are assigned.
const ASSIGN_ROWS: i64 = 8192;

/// A training between two steps.
#[derive(Debug)]
pub struct Training {
    pub(super) params: TemiParams,
    pub(super) seed: u64,
    pub(super) standardisation: Standardisation,
    /// Standardised features \[N, D\].
    pub(super) rows: Tensor,
    /// i64 \[N, k\].
    pub(super) neighbours: Tensor,
    pub(super) student: Heads,
    pub(super) teacher: Heads,
    pub(super) adam: AdamW,
    pub(super) marginal: Marginal,
    pub(super) schedules: Schedules,
    pub(super) step: u64,
    /// Sum of each head's losses over the steps of this epoch, f64 \[H\].
    pub(super) epoch_losses: Tensor,
    /// Clusters that any image of this epoch went to, bool \[H, C\].
    pub(super) epoch_used: Tensor,
    /// Mean loss of each head in each finished epoch.
    pub(super) history: Vec<Vec<f64>>,
    pub(super) draws: Option<(u32, EpochDraws)>,
}

/// What an epoch showed.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochFacts {
    /// From 0.
    pub epoch: u32,
    /// Mean loss of each head.
    pub head_losses: Vec<f64>,
    /// The head with the lowest.
    pub best_head: usize,
    /// Share of the best head's clusters that any image of this epoch went to: an estimate, since
    /// the teacher moved meanwhile.
    pub utilisation: f64,
    /// Entropy of the best head's running marginal in nats.
    pub marginal_entropy: f64,
}

/// The images of one step.
#[derive(Debug)]
pub struct StepInput {
    /// i64 \[B\].
    pub anchors: Tensor,
    /// i64 \[B\]: a neighbour of each.
    pub partners: Tensor,
}

/// Clusters of all images.
#[derive(Debug)]
pub struct Assigned {
    /// i64 \[N\] on the CPU: the teacher's largest logit in the best head.
    pub ids: Tensor,
    /// Maximum log-softmax at the final teacher temperature, f32 \[N\] on the CPU.
    pub log_confidence: Tensor,
}

impl Training {
    /// A training at its first step; `neighbours` holds the nearest rows of every row \[N, ≥
    /// params.neighbours\].
    ///
    /// # Errors
    /// When a setting does not fit the data: see the messages.
    pub fn new(
        params: &TemiParams,
        clusters: u32,
        seed: u64,
        features: &Features,
        neighbours: &Tensor,
    ) -> Result<Self, ClusteringError> {
        let shape = HeadShape::new(params, features.width(), clusters)?;
        check_settings(params, clusters, features.rows())?;
        let heads = Heads::initialise(shape, seed, features.kind(), features.device());
        let mut standardisation =
            Standardisation::identity(features.width(), features.kind(), features.device());
        if params.standardise {
            standardisation.mean = features
                .tensor()
                .mean_dim([0].as_slice(), false, None::<Kind>);
            standardisation.std = features.tensor().std_dim([0].as_slice(), true, false);
            let constant = standardisation.std.eq(0.0).to_kind(Kind::Int64);
            if constant.sum(Kind::Int64).int64_value(&[]) > 0 {
                let found = format!(
                    "on while feature {} is the same in every row",
                    constant.argmax(0, false).int64_value(&[])
                );
                return Err(ClusteringError::setting(
                    "standardise",
                    found,
                    "off, or features that vary",
                ));
            }
        }
        standardisation.l2_norm = params.l2_norm;
        if params.l2_norm {
            let _ = features.unit_rows()?;
        }
        Self::with_heads(params, seed, features, neighbours, standardisation, heads)
    }

    /// The same from given heads, which student and teacher both start as.
    ///
    /// # Errors
    /// When a setting does not fit the data.
    pub fn with_heads(
        params: &TemiParams,
        seed: u64,
        features: &Features,
        neighbours: &Tensor,
        standardisation: Standardisation,
        heads: Heads,
    ) -> Result<Self, ClusteringError> {
        let shape = heads.shape;
        check_settings(params, shape.clusters as u32, features.rows())?;
        check_lists(neighbours, features.rows(), params.neighbours)?;
        let (kind, device) = (features.kind(), features.device());
        let plain = !params.standardise && !standardisation.l2_norm;
        let rows = if plain {
            features.tensor().shallow_clone()
        } else {
            standardisation.apply(features.tensor())
        };
        let neighbours = neighbours
            .narrow(1, 0, params.neighbours.into())
            .to_device(device)
            .to_kind(Kind::Int64)
            .contiguous();
        Ok(Self {
            schedules: Schedules::new(
                params,
                (features.rows() / i64::from(params.batch)) as usize,
            )?,
            teacher: heads.map(Tensor::copy),
            adam: AdamW::new(&heads),
            student: heads,
            marginal: Marginal::uniform(shape.heads, shape.clusters, kind, device),
            step: 0,
            epoch_losses: Tensor::zeros([shape.heads], (Kind::Double, device)),
            epoch_used: Tensor::zeros([shape.heads, shape.clusters], (Kind::Bool, device)),
            history: Vec::new(),
            draws: None,
            params: params.clone(),
            seed,
            standardisation,
            rows,
            neighbours,
        })
    }

    /// Sizes.
    pub fn shape(&self) -> HeadShape {
        self.student.shape
    }
    /// Where it computes.
    pub fn device(&self) -> Device {
        self.rows.device()
    }
    /// ⌊N/B⌋.
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.size()[0] as u64 / u64::from(self.params.batch)
    }
    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }
    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.params.epochs)
    }
    /// Whether all steps are done.
    pub fn finished(&self) -> bool {
        self.step >= self.steps()
    }
    /// The running marginal \[H, C\].
    pub fn marginal(&self) -> &Tensor {
        &self.marginal.shares
    }
    /// Schedules in use.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }
    /// Students.
    pub fn student(&self) -> &Heads {
        &self.student
    }
    /// Mean loss of each head in each finished epoch.
    pub fn history(&self) -> &[Vec<f64>] {
        &self.history
    }
    /// What distinguishes this training from others, as far as a state must agree with it.
    pub(super) fn identity(&self) -> String {
        let params =
            serde_json::to_string(&self.params).expect("invariant: parameters are plain numbers");
        let clusters = self.shape().clusters;
        format!(
            "temi C={clusters} seed={} features {:?} {:?} {params}",
            self.seed,
            self.rows.size(),
            self.rows.kind()
        )
    }

    /// One step with the pairs of its place in its epoch; facts when that was the last step of the
    /// epoch.
    ///
    /// # Errors
    /// When the loss is no number any more.
    pub fn advance(&mut self) -> Result<Option<EpochFacts>, ClusteringError> {
        let epoch = (self.step / self.steps_per_epoch()) as u32;
        let place = (self.step % self.steps_per_epoch()) as i64;
        if self.draws.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let (rows, k) = (self.rows.size()[0], self.neighbours.size()[1]);
            self.draws = Some((
                epoch,
                epoch_draws(
                    self.seed,
                    epoch,
                    rows,
                    k,
                    self.params.batch.into(),
                    self.device(),
                ),
            ));
        }
        let (_, draws) = self.draws.as_ref().expect("invariant: made above");
        let (anchors, choices) = (draws.anchors.i(place), draws.choices.i(place));
        let partners = self
            .neighbours
            .view(-1)
            .index_select(0, &(&anchors * self.neighbours.size()[1] + choices));
        let _ = self.step_on(&StepInput { anchors, partners })?;
        Ok(if self.step.is_multiple_of(self.steps_per_epoch()) {
            Some(self.close_epoch(epoch)?)
        } else {
            None
        })
    }

    /// One step on these pairs; returns each head's loss \[H\]. [`Training::advance`] chooses the
    /// pairs itself.
    ///
    /// # Errors
    /// When all steps are done.
    pub fn step_on(&mut self, input: &StepInput) -> Result<Tensor, ClusteringError> {
        if self.finished() {
            return Err(ClusteringError::setting(
                "epochs",
                self.params.epochs,
                "more: all steps are done",
            ));
        }
        let _guard = tch::no_grad_guard();
        let (epoch, place) = (self.step / self.steps_per_epoch(), self.step as usize);
        let frozen = epoch < u64::from(self.params.freeze_last_layer_epochs);
        let settings = StepSettings {
            lr: self.schedules.lr[place],
            weight_decay: self.schedules.weight_decay[place],
            betas: self.params.betas,
            eps: self.params.eps,
            teacher_momentum: self.schedules.teacher_momentum[place],
            clip: self.params.clip,
            steps: self.step + 1,
            last_layer_steps: (self.step + 1).saturating_sub(
                u64::from(self.params.freeze_last_layer_epochs) * self.steps_per_epoch(),
            ),
        };
        let rows = self
            .rows
            .index_select(0, &Tensor::cat(&[&input.anchors, &input.partners], 0));
        let shape = self.shape();
        let group = self.heads_per_group();
        let spans: Vec<(i64, i64)> = (0..shape.heads)
            .step_by(group as usize)
            .map(|first| (first, group.min(shape.heads - first)))
            .collect();

        let teacher: Vec<Tensor> = spans
            .iter()
            .map(|&(first, count)| self.teacher.group(first, count).forward(&rows))
            .collect();
        let temperature = self.schedules.teacher_temperature[epoch as usize];
        let targets = targets(
            &Tensor::cat(&teacher, 0),
            temperature,
            &self.params,
            &mut self.marginal,
        );
        drop(teacher);
        let _ = self.epoch_used.scatter_value_(1, &targets.clusters, 1);

        let mut losses = Vec::with_capacity(spans.len());
        for (first, count) in spans {
            let student = self.student.group(first, count);
            let kept = forward_keeping(&student, &rows);
            let (loss, gradient) = student_loss(
                &kept.logits,
                &targets.group(first, count),
                &self.params,
                shape.heads,
            );
            let gradients = backward(&student, &kept, &gradient, frozen);
            self.adam.group(first, count).step(
                &student,
                &self.teacher.group(first, count),
                gradients,
                &settings,
            );
            losses.push(loss);
        }
        let losses = Tensor::cat(&losses, 0);
        self.epoch_losses += losses.to_kind(Kind::Double);
        self.step += 1;
        Ok(losses)
    }

    /// Ends an epoch: its mean losses decide the best head so far.
    ///
    /// # Errors
    /// When a loss is no number any more.
    pub fn close_epoch(&mut self, epoch: u32) -> Result<EpochFacts, ClusteringError> {
        let means = &self.epoch_losses / self.steps_per_epoch() as f64;
        let head_losses = Vec::<f64>::try_from(&means.to_device(Device::Cpu))
            .expect("invariant: a vector of float64");
        if let Some((head, &value)) = head_losses
            .iter()
            .enumerate()
            .find(|(_, loss)| !loss.is_finite())
        {
            return Err(ClusteringError::Diverged { head, value, epoch });
        }
        let best_head = lowest(&head_losses);
        let used = self
            .epoch_used
            .i(best_head as i64)
            .sum(Kind::Int64)
            .int64_value(&[]);
        let shares = self
            .marginal
            .shares
            .i(best_head as i64)
            .to_kind(Kind::Double);
        let marginal_entropy = -shares.xlogy(&shares).sum(Kind::Double).double_value(&[]);
        let _ = (self.epoch_losses.zero_(), self.epoch_used.zero_());
        self.history.push(head_losses.clone());
        Ok(EpochFacts {
            epoch,
            head_losses,
            best_head,
            utilisation: used as f64 / self.shape().clusters as f64,
            marginal_entropy,
        })
    }

    /// The head with the lowest mean loss in the last finished epoch, and that loss.
    pub fn best_head(&self) -> Option<(usize, f64)> {
        let losses = self.history.last()?;
        let best = lowest(losses);
        Some((best, losses[best]))
    }

    /// The teachers with all their heads.
    pub fn model(&self) -> Model {
        let copy = |tensor: &Tensor| tensor.copy();
        let standardisation = Standardisation {
            mean: copy(&self.standardisation.mean),
            std: copy(&self.standardisation.std),
            l2_norm: self.standardisation.l2_norm,
        };
        Model {
            standardisation,
            heads: self.teacher.map(copy),
            best_head: self.best_head().map_or(0, |(head, _)| head as i64),
        }
    }

    /// The best head's teacher alone.
    pub fn best_teacher(&self) -> Model {
        let mut model = self.model();
        model.heads = model.heads.group(model.best_head, 1);
        model.best_head = 0;
        model
    }

    /// Logits \[N, C\] of the best head's teacher would take N × C values: clusters are assigned
    /// piece by piece.
    pub fn assign(&self) -> Assigned {
        let _guard = tch::no_grad_guard();
        let best = self
            .teacher
            .group(self.best_head().map_or(0, |(head, _)| head as i64), 1);
        let (mut ids, mut confidences) = (Vec::new(), Vec::new());
        for piece in self.rows.split(ASSIGN_ROWS, 0) {
            let found = confidence(
                &best.forward(&piece).squeeze_dim(0),
                self.params.teacher_temperature,
            );
            ids.push(found.cluster.to_device(Device::Cpu));
            confidences.push(
                found
                    .log_confidence
                    .to_kind(Kind::Float)
                    .to_device(Device::Cpu),
            );
        }
        Assigned {
            ids: Tensor::cat(&ids, 0),
            log_confidence: Tensor::cat(&confidences, 0),
        }
    }

    fn heads_per_group(&self) -> i64 {
        let shape = self.shape();
        if self.device() != Device::Cpu {
            return shape.heads;
        }
        let widest = shape.hidden.max(shape.bottleneck).max(shape.clusters);
        (GROUP_BYTES / (2 * i64::from(self.params.batch) * widest * 8)).clamp(1, shape.heads)
    }
}

/// Index of the lowest value, the first of equal ones.
fn lowest(values: &[f64]) -> usize {
    let by_value = |a: &(usize, &f64), b: &(usize, &f64)| a.1.total_cmp(b.1);
    values
        .iter()
        .enumerate()
        .min_by(by_value)
        .map_or(0, |(index, _)| index)
}

fn check_settings(params: &TemiParams, clusters: u32, rows: i64) -> Result<(), ClusteringError> {
    let check = |fits: bool, setting: &'static str, found: String, expected: &str| {
        if fits {
            Ok(())
        } else {
            Err(ClusteringError::setting(setting, found, expected))
        }
    };
    check(
        clusters >= 2,
        "clusters",
        clusters.to_string(),
        "at least 2",
    )?;
    check(
        i64::from(clusters) <= rows,
        "clusters",
        clusters.to_string(),
        &format!("at most the number of images, {rows}"),
    )?;
    check(
        params.epochs >= 1,
        "epochs",
        params.epochs.to_string(),
        "at least 1",
    )?;
    check(
        params.batch >= 1,
        "batch",
        params.batch.to_string(),
        "at least 1",
    )?;
    check(
        i64::from(params.batch) <= rows,
        "batch",
        params.batch.to_string(),
        &format!("at most the number of images, {rows}"),
    )?;
    check(
        params.neighbours >= 1,
        "neighbours",
        params.neighbours.to_string(),
        "at least 1",
    )?;
    for (setting, value) in [
        ("beta", params.beta),
        ("student_temperature", params.student_temperature),
        ("teacher_temperature", params.teacher_temperature),
        (
            "teacher_temperature_start",
            params.teacher_temperature_start,
        ),
    ] {
        check(
            value > 0.0 && value.is_finite(),
            setting,
            value.to_string(),
            "a number above 0",
        )?;
    }
    for (setting, value) in [
        ("marginal_momentum", params.marginal_momentum),
        ("teacher_momentum", params.teacher_momentum),
        ("teacher_momentum_end", params.teacher_momentum_end),
    ] {
        check(
            (0.0..=1.0).contains(&value),
            setting,
            value.to_string(),
            "a number from 0 to 1",
        )?;
    }
    for (setting, value) in [("betas[0]", params.betas.0), ("betas[1]", params.betas.1)] {
        check(
            (0.0..1.0).contains(&value),
            setting,
            value.to_string(),
            "a number from 0 to below 1",
        )?;
    }
    check(
        params.eps > 0.0 && params.eps.is_finite(),
        "eps",
        params.eps.to_string(),
        "a number above 0",
    )?;
    for (setting, value) in [
        ("base_lr", params.base_lr),
        ("min_lr", params.min_lr),
        ("weight_decay", params.weight_decay),
        ("weight_decay_end", params.weight_decay_end),
        ("clip", params.clip),
    ] {
        check(
            value >= 0.0 && value.is_finite(),
            setting,
            value.to_string(),
            "a number of at least 0",
        )?;
    }
    Ok(())
}
