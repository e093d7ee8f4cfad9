//! AdamW and the teacher's moving average, applied to a group of heads while its gradients are
//! still in the cache.
//!
//! The formula is `cedm_torch`'s; what is particular here is that many heads lie in one tensor,
//! that the last layer counts its own steps, and that student, moments and teacher of a piece are
//! updated together.

use super::Heads;
use cedm_torch::adam::{Adam, Moments, Order};
use tch::{Device, Tensor};

/// Elements handled at a time on a CPU: parameter, gradient, two moments and teacher of a piece
/// then stay in the L2 cache.
const PIECE: i64 = 1 << 15;

/// Adam's moments of every weight of the heads.
#[derive(Debug)]
pub struct HeadMoments {
    /// Moving averages of gradients.
    pub first: Heads,
    /// Moving averages of squared gradients.
    pub second: Heads,
}

/// What one step does beside following the gradient.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Learning rate of the step.
    pub lr: f64,
    /// Decoupled decay of tensors with two or more dimensions (of a single head): all but biases.
    pub weight_decay: f64,
    /// Decay of the two moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// m of t ← m t + (1 − m) s.
    pub teacher_momentum: f64,
    /// Largest norm of each gradient tensor; 0 for no limit.
    pub clip: f64,
    /// Steps of the linear maps so far, this one included.
    pub steps: u64,
    /// Steps of the last layer so far, this one included: fewer, since it is frozen at first.
    pub last_layer_steps: u64,
}

impl HeadMoments {
    /// Zero moments for heads of these sizes.
    pub fn new(heads: &Heads) -> Self {
        Self {
            first: heads.map(Tensor::zeros_like),
            second: heads.map(Tensor::zeros_like),
        }
    }
    /// A view of the moments of `count` heads from `first` on.
    pub fn group(&self, first: i64, count: i64) -> Self {
        Self {
            first: self.first.group(first, count),
            second: self.second.group(first, count),
        }
    }
    /// One step of student and teacher. A tensor without a gradient is left alone: no moments, no
    /// decay, no step counted; its teacher follows all the same.
    pub fn step(
        &self,
        student: &Heads,
        teacher: &Heads,
        gradients: Vec<Option<Tensor>>,
        settings: &StepSettings,
    ) {
        let layers = student.shape.layers as usize;
        let stacks = student
            .tensors()
            .into_iter()
            .zip(teacher.tensors())
            .zip(self.first.tensors().into_iter().zip(self.second.tensors()));
        for (index, (((weights, average), (first, second)), gradient)) in
            stacks.zip(gradients).enumerate()
        {
            let Some(gradient) = gradient else {
                let _ = average
                    .shallow_clone()
                    .lerp_(weights, 1.0 - settings.teacher_momentum);
                continue;
            };
            let gradient = clipped(gradient, settings.clip).contiguous().view(-1);
            let adam = Adam {
                lr: settings.lr,
                betas: settings.betas,
                eps: settings.eps,
                // Biases come first and do not decay.
                weight_decay: if index < layers {
                    0.0
                } else {
                    settings.weight_decay
                },
                order: Order::FusedDivision,
            };
            let steps = if index < 2 * layers {
                settings.steps
            } else {
                settings.last_layer_steps
            };
            let flat = [
                weights.view(-1),
                average.view(-1),
                first.view(-1),
                second.view(-1),
                gradient,
            ];
            let length = flat[0].numel() as i64;
            let piece = if weights.device() == Device::Cpu {
                PIECE
            } else {
                length
            };
            for start in (0..length).step_by(piece as usize) {
                let [weights, average, first, second, gradient] = flat
                    .each_ref()
                    .map(|t| t.narrow(0, start, piece.min(length - start)));
                adam.update(&weights, &Moments { first, second }, gradient, steps);
                let _ = { average }.lerp_(&weights, 1.0 - settings.teacher_momentum);
            }
        }
    }
}

/// Each head's part of the tensor limited to norm `limit`.
fn clipped(gradient: Tensor, limit: f64) -> Tensor {
    if limit <= 0.0 {
        return gradient;
    }
    let norms = gradient.norm_scalaropt_dim(2.0, [1, 2].as_slice(), true);
    gradient * (limit / (norms + 1e-6)).clamp_max(1.0)
}

#[cfg(test)]
mod tests {
    use super::{super::HeadShape, *};
    use tch::Kind;

    fn heads() -> Heads {
        let shape = HeadShape {
            heads: 2,
            inputs: 3,
            layers: 1,
            hidden: 1,
            bottleneck: 2,
            clusters: 2,
        };
        Heads::initialise(shape, 0, Kind::Double, Device::Cpu)
    }
    fn settings() -> StepSettings {
        StepSettings {
            lr: 0.1,
            weight_decay: 0.5,
            betas: (0.9, 0.999),
            eps: 1e-8,
            teacher_momentum: 0.75,
            clip: 0.0,
            steps: 1,
            last_layer_steps: 1,
        }
    }

    #[test]
    fn first_step_moves_each_weight_by_the_learning_rate() {
        let (student, teacher) = (heads(), heads());
        let gradients = student
            .tensors()
            .iter()
            .map(|t| Some(t.ones_like() * -3.0))
            .collect();
        HeadMoments::new(&student).step(&student, &teacher, gradients, &settings());
        let before = heads();
        for (index, ((now, then), average)) in student
            .tensors()
            .iter()
            .zip(before.tensors())
            .zip(teacher.tensors())
            .enumerate()
        {
            let decay = if index == 0 { 1.0 } else { 1.0 - 0.1 * 0.5 };
            assert!((*now - (then * decay + 0.1)).abs().max().double_value(&[]) < 1e-8);
            assert!(
                (average - (then * 0.75 + *now * 0.25))
                    .abs()
                    .max()
                    .double_value(&[])
                    < 1e-12
            );
        }
    }

    #[test]
    fn tensors_without_gradient_stay() {
        let (student, teacher) = (heads(), heads());
        let adam = HeadMoments::new(&student);
        let mut gradients: Vec<_> = student
            .tensors()
            .iter()
            .map(|t| Some(t.ones_like()))
            .collect();
        gradients[2..].fill_with(|| None);
        adam.step(&student, &teacher, gradients, &settings());
        assert!(
            student.weight_g.equal(&heads().weight_g) && student.weight_v.equal(&heads().weight_v)
        );
        assert!(teacher.weight_v.equal(&heads().weight_v));
        assert_eq!(adam.second.weight_v.abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn clipping_is_per_tensor_and_head() {
        let gradient = Tensor::from_slice(&[3f64, 4.0, 0.3, 0.4]).view([2, 1, 2]);
        let clipped = clipped(gradient, 1.0);
        let found = Vec::<f64>::try_from(clipped.view(-1)).unwrap();
        for (found, expected) in found.iter().zip([0.6, 0.8, 0.3, 0.4]) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
}
