//! The TEMI loss in log space, and its gradient (spec §4.2–4.4).
//!
//! The loss of a pair is l = −log Σ_c (p_s p_t)^β / p̃. With q = softmax(β(log p_s + log p_t) − log
//! p̃) over clusters, d l / d log p_s = −β q, and since q sums to 1 the gradient of the student's
//! logits is β (p_s − q) / τ_s times the row's weight. In logarithms nothing underflows, however
//! peaked the logits are; the power β < 1 of an underflowed probability has no finite gradient.
//!
//! Why β: dividing by p̃ rewards rare clusters, and β < 1 weakens the numerator that otherwise lets
//! all pairs collapse into few clusters. β = 0.6 uses clusters nearly evenly, β = 1 is for the
//! lower bound on their number (spec §4.4, §6.2).

use cedm_contract::kinds::cluster::TemiParams;
use tch::{Device, Kind, Tensor};

/// Lower limit of log p̃: e^−87 is about the smallest normal float32, and a share that only ever
/// decays by λ = 0.9 gets there in some 800 steps (spec §4.4).
const LOG_MARGINAL_FLOOR: f64 = -87.0;

/// The running cluster marginal p̃ of each head: a moving average of the teacher's probabilities.
#[derive(Debug)]
pub struct Marginal {
    /// Share of each cluster, \[H, C\]. The rows sum to 1 by construction and are not normalised
    /// again.
    pub shares: Tensor,
}

impl Marginal {
    /// The initial marginal, 1/C for every cluster.
    pub fn uniform(heads: i64, clusters: i64, kind: Kind, device: Device) -> Self {
        Self {
            shares: Tensor::full([heads, clusters], 1.0 / clusters as f64, (kind, device)),
        }
    }
    /// p̃ ← λ p̃ + (1 − λ) mean of the teacher's probabilities p_t \[H, rows, C\] over all rows of
    /// both views, with λ = `momentum`: 0.9, an average over the last ten steps or so (spec §4.3).
    pub fn update(&mut self, teacher: &Tensor, momentum: f64) {
        let mean = teacher.mean_dim([1].as_slice(), false, None::<Kind>);
        self.shares = &self.shares * momentum + mean * (1.0 - momentum);
    }
}

/// The part of a step's loss that comes from the teachers, through which no gradient flows.
#[derive(Debug)]
pub struct Targets {
    /// β log p_t − log p̃ with p_t of the *other* view of each row, \[H, 2B, C\].
    pub shifted: Tensor,
    /// Instance weight of each row's pair divided by 2B, \[2B\]; the same for all heads.
    pub row_weights: Tensor,
    /// Cluster that each teacher assigns to each row, i64 \[H, 2B\].
    pub clusters: Tensor,
}

/// Targets from teacher logits \[H, 2B, C\], of which rows 0..B are the images and B..2B their
/// neighbours. Updates the marginal first, this batch included (spec §16.19).
pub fn targets(
    teacher_logits: &Tensor,
    temperature: f64,
    params: &TemiParams,
    marginal: &mut Marginal,
) -> Targets {
    let kind = teacher_logits.kind();
    let rows = teacher_logits.size()[1];
    let half = rows / 2;
    let log_teacher = (teacher_logits / temperature).log_softmax(2, None::<Kind>);
    let teacher = log_teacher.exp();
    marginal.update(&teacher, params.marginal_momentum);
    // w(x, x') = mean over heads of Σ_c p_t(c|x) p_t(c|x'): pairs on whose cluster the teachers
    // agree weigh more (spec §4.4).
    let row_weights = if params.weighted {
        let agreement = (teacher.narrow(1, 0, half) * teacher.narrow(1, half, half))
            .sum_dim_intlist([2].as_slice(), false, kind);
        agreement
            .mean_dim([0].as_slice(), false, None::<Kind>)
            .repeat([2])
            / rows as f64
    } else {
        Tensor::full([rows], 1.0 / rows as f64, (kind, teacher_logits.device()))
    };
    // The teacher's view of a pair's other image: a student and a teacher on the same image are not
    // compared (spec §4.4).
    let other = Tensor::cat(
        &[
            log_teacher.narrow(1, half, half),
            log_teacher.narrow(1, 0, half),
        ],
        1,
    );
    let log_marginal = marginal
        .shares
        .log()
        .clamp_min(LOG_MARGINAL_FLOOR)
        .unsqueeze(1);
    Targets {
        shifted: other * params.beta - log_marginal,
        row_weights,
        clusters: teacher_logits.argmax(2, false),
    }
}

impl Targets {
    /// The targets of `count` heads from `first` on.
    pub fn group(&self, first: i64, count: i64) -> Self {
        Self {
            shifted: self.shifted.narrow(0, first, count),
            row_weights: self.row_weights.shallow_clone(),
            clusters: self.clusters.narrow(0, first, count),
        }
    }
    /// The instance weights \[B\] of the pairs; ones if the loss is not weighted.
    pub fn instance_weights(&self) -> Tensor {
        let rows = self.row_weights.size()[0];
        self.row_weights.narrow(0, 0, rows / 2) * rows as f64
    }
}

/// Loss of each head \[H\], and the gradient by the student logits \[H, 2B, C\] of its mean over
/// `all_heads` heads. Both directions of a pair are rows, so the mean over rows symmetrises the
/// loss.
pub fn student_loss(
    student_logits: &Tensor,
    targets: &Targets,
    params: &TemiParams,
    all_heads: i64,
) -> (Tensor, Tensor) {
    // log_softmax and logsumexp subtract the largest term first, so neither overflows.
    let log_student = (student_logits / params.student_temperature).log_softmax(2, None::<Kind>);
    let joint = &log_student * params.beta + &targets.shifted;
    let pmi = joint.logsumexp([2].as_slice(), true);
    let mut coefficient = (&targets.row_weights
        * (params.beta / params.student_temperature / all_heads as f64))
        .view([1, -1, 1]);
    // An option of TEMI's code: pairs whose pointwise mutual information is negative count as 0.
    let clamped = if params.positive_pmi {
        coefficient = &coefficient * pmi.ge(0.0);
        pmi.clamp_min(0.0)
    } else {
        pmi.shallow_clone()
    };
    let losses = -clamped.squeeze_dim(2).matmul(&targets.row_weights);
    // exp(joint − pmi) is q, a softmax over clusters of the joint term.
    let gradient = (log_student.exp() - (joint - pmi).exp()) * coefficient;
    (losses, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_probabilities_have_the_closed_form() {
        // For uniform q and p̃ = 1/C: l = (2β − 2) ln C (spec §17), weight = Σ 1/C² = 1/C.
        let logits = Tensor::zeros([2, 6, 5], (Kind::Double, Device::Cpu));
        for beta in [0.5, 0.6, 1.0] {
            let params = TemiParams {
                beta,
                ..TemiParams::default()
            };
            let targets = targets(
                &logits,
                0.1,
                &params,
                &mut Marginal::uniform(2, 5, Kind::Double, Device::Cpu),
            );
            let (losses, gradient) = student_loss(&logits, &targets, &params, 2);
            assert!(
                (losses.double_value(&[0]) - (2.0 * beta - 2.0) * 5f64.ln() / 5.0).abs() < 1e-14
            );
            assert!(gradient.abs().max().double_value(&[]) < 1e-15);
        }
    }

    #[test]
    fn gradient_equals_automatic_differentiation() {
        for positive_pmi in [false, true] {
            let params = TemiParams {
                positive_pmi,
                ..TemiParams::default()
            };
            let value = |phase: f64| {
                (Tensor::arange(2 * 8 * 5, (Kind::Double, Device::Cpu)) * 1.7 + phase)
                    .sin()
                    .view([2, 8, 5])
            };
            let student = value(0.3).set_requires_grad(true);
            let targets = targets(
                &value(0.9),
                0.1,
                &params,
                &mut Marginal::uniform(2, 5, Kind::Double, Device::Cpu),
            );
            let (losses, _) = student_loss(&student, &targets, &params, 2);
            let expected =
                Tensor::run_backward(&[losses.mean(Kind::Double)], &[&student], false, false);
            let (_, found) = tch::no_grad(|| student_loss(&student, &targets, &params, 2));
            assert!((&expected[0] - found).abs().max().double_value(&[]) < 1e-14);
        }
    }

    #[test]
    fn loss_and_gradient_of_peaked_logits_are_finite() {
        let params = TemiParams::default();
        let logits = (Tensor::arange(8 * 5, (Kind::Float, Device::Cpu)) * 2.3)
            .sin()
            .view([1, 8, 5])
            * 60.0;
        let mut marginal = Marginal::uniform(1, 5, Kind::Float, Device::Cpu);
        let targets = targets(&logits, 0.1, &params, &mut marginal);
        let (losses, gradient) = student_loss(&logits.flip([1]), &targets, &params, 1);
        assert!(
            losses.double_value(&[0]).is_finite()
                && gradient.isfinite().all().int64_value(&[]) == 1
        );
    }
}
