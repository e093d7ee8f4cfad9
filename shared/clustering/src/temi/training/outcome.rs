//! What a training leaves: the best head, its teacher, and the cluster of every image (spec §4.6).

use super::Training;
use crate::temi::{Model, Standardisation};
use cedm_maths::confidence::confidence;
use tch::{Device, Kind, Tensor};

/// Rows whose logits are computed at a time when clusters are assigned.
const ASSIGN_ROWS: i64 = 8192;

/// The cluster of every image.
#[derive(Debug)]
pub struct Assignment {
    /// Index of the largest logit of the best head's teacher, i64 \[N\] on the CPU.
    pub ids: Tensor,
    /// Maximum log-softmax at the final teacher temperature, f32 \[N\] on the CPU.
    pub log_confidence: Tensor,
}

impl Training {
    /// The head with the lowest mean loss in the last finished epoch, and that loss; `None` before
    /// the end of the first epoch. Labels play no part in the choice (spec §4.6).
    pub fn best_head(&self) -> Option<(usize, f64)> {
        let losses = self.history.last()?;
        let best = lowest(losses);
        Some((best, losses[best]))
    }

    /// A copy of the teachers, all heads.
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

    /// A copy of the best head's teacher alone.
    pub fn best_teacher(&self) -> Model {
        let mut model = self.model();
        model.heads = model.heads.group(model.best_head, 1);
        model.best_head = 0;
        model
    }

    /// Clusters of all images by the best head's teacher, piece by piece, since the logits of all
    /// images would be an N × C matrix.
    pub fn assign(&self) -> Assignment {
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
        Assignment {
            ids: Tensor::cat(&ids, 0),
            log_confidence: Tensor::cat(&confidences, 0),
        }
    }
}

/// Index of the lowest value, the first of equal ones.
pub(super) fn lowest(values: &[f64]) -> usize {
    let by_value = |a: &(usize, &f64), b: &(usize, &f64)| a.1.total_cmp(b.1);
    values
        .iter()
        .enumerate()
        .min_by(by_value)
        .map_or(0, |(index, _)| index)
}
