//! The steps of a training: pairs, teachers, loss, gradients and update, and the end of an epoch.

use super::{Training, outcome::lowest};
use crate::{
    ClusteringError,
    temi::{StepSettings, backward, epoch_draws, forward_with_activations, student_loss, targets},
};
use tch::{Device, IndexOp, Kind, Tensor};

/// Bytes of activations that a group of heads may have on a CPU: larger groups leave the last-level
/// cache and are bound by memory bandwidth.
const GROUP_BYTES: i64 = 8 << 20;

/// What an epoch of training showed, for monitoring.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochSummary {
    /// Number of the epoch, from 0.
    pub epoch: u32,
    /// Mean loss of each head.
    pub head_losses: Vec<f64>,
    /// The head with the lowest mean loss.
    pub best_head: usize,
    /// Share of the best head's clusters to which any image of this epoch was assigned: an estimate
    /// of the utilisation r_C, since the teacher changed meanwhile.
    pub utilisation: f64,
    /// Entropy of the best head's running marginal in nats.
    pub marginal_entropy: f64,
}

/// The pairs of images of one step.
#[derive(Debug)]
pub struct PairBatch {
    /// Row of each image, i64 \[B\].
    pub anchors: Tensor,
    /// Row of a neighbour of each image, i64 \[B\].
    pub partners: Tensor,
}

impl Training {
    /// Takes the next step, with pairs drawn for its place in its epoch. Returns a summary if it
    /// was the last step of the epoch.
    ///
    /// # Errors
    /// [`ClusteringError::Diverged`] if the epoch's loss is not finite,
    /// [`ClusteringError::Setting`] if all steps are done.
    pub fn advance(&mut self) -> Result<Option<EpochSummary>, ClusteringError> {
        let epoch = (self.step / self.steps_per_epoch()) as u32;
        let place = (self.step % self.steps_per_epoch()) as i64;
        // Drawn once an epoch, and again after a state was loaded in the middle of one.
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
        // The chosen entry of each image's row of the neighbour matrix, by flat index.
        let partners = self
            .neighbours
            .view(-1)
            .index_select(0, &(&anchors * self.neighbours.size()[1] + choices));
        let _ = self.step_with_pairs(&PairBatch { anchors, partners })?;
        Ok(if self.step.is_multiple_of(self.steps_per_epoch()) {
            Some(self.close_epoch(epoch)?)
        } else {
            None
        })
    }

    /// Takes one step on these pairs and returns each head's loss \[H\]. [`Training::advance`]
    /// chooses the pairs itself.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if all steps are done.
    pub fn step_with_pairs(&mut self, input: &PairBatch) -> Result<Tensor, ClusteringError> {
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
        // The last layer's Adam steps are counted from the end of its freeze: its bias correction
        // starts then (spec §4.5).
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
        // Both views in one batch: rows 0..B are the images, B..2B their neighbours.
        let rows = self
            .rows
            .index_select(0, &Tensor::cat(&[&input.anchors, &input.partners], 0));
        let shape = self.shape();
        let group = self.heads_per_group();
        let spans: Vec<(i64, i64)> = (0..shape.heads)
            .step_by(group as usize)
            .map(|first| (first, group.min(shape.heads - first)))
            .collect();

        // All teachers first: the instance weight of a pair is a mean over all heads, and the
        // marginal is updated before the loss, this batch included (spec §4.3, §4.4).
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

        // Then each group of students: forward, loss, backward and update while its activations and
        // gradients are in the cache.
        let mut losses = Vec::with_capacity(spans.len());
        for (first, count) in spans {
            let student = self.student.group(first, count);
            let kept = forward_with_activations(&student, &rows);
            let (loss, gradient) = student_loss(
                &kept.logits,
                &targets.group(first, count),
                &self.params,
                shape.heads,
            );
            // A frozen last layer gets no gradient: no step, no decay, no moments (spec §4.5).
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

    /// Ends an epoch: its mean losses decide which head is the best so far.
    ///
    /// # Errors
    /// [`ClusteringError::Diverged`] if a loss is not finite.
    pub fn close_epoch(&mut self, epoch: u32) -> Result<EpochSummary, ClusteringError> {
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
        Ok(EpochSummary {
            epoch,
            head_losses,
            best_head,
            utilisation: used as f64 / self.shape().clusters as f64,
            marginal_entropy,
        })
    }

    /// Number of heads that are computed together: all of them on a GPU, on a CPU as many as keep
    /// the largest activation of both views within [`GROUP_BYTES`].
    fn heads_per_group(&self) -> i64 {
        let shape = self.shape();
        if self.device() != Device::Cpu {
            return shape.heads;
        }
        let widest = shape.hidden.max(shape.bottleneck).max(shape.clusters);
        // 2 views × batch rows × widest layer × 8 bytes, enough for float64.
        (GROUP_BYTES / (2 * i64::from(self.params.batch) * widest * 8)).clamp(1, shape.heads)
    }
}
