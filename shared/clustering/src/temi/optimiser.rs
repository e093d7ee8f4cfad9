//! AdamW and the teacher's moving average, applied to a group of heads while its gradients are
//! still in the cache.

use super::Heads;
use tch::{Device, Tensor};

/// Elements handled at a time on a CPU: parameter, gradient, two moments and teacher of a piece
/// then stay in the L2 cache.
const PIECE: i64 = 1 << 15;

/// First and second moments of every weight.
#[derive(Debug)]
pub struct AdamW {
    /// Moving averages of gradients.
    pub first: Heads,
    /// Moving averages of squared gradients.
    pub second: Heads,
}

/// What one step does beside following the gradient.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Learning rate.
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

impl AdamW {
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
            let decay = if index < layers {
                0.0
            } else {
                settings.weight_decay
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
                update(weights, first, second, gradient, decay, steps, settings);
                let _ = { average }.lerp_(
                    &flat[0].narrow(0, start, piece.min(length - start)),
                    1.0 - settings.teacher_momentum,
                );
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

/// AdamW of Loshchilov and Hutter (2019) on views of one piece; the gradient is used up.
fn update(
    mut weights: Tensor,
    mut first: Tensor,
    mut second: Tensor,
    mut gradient: Tensor,
    decay: f64,
    steps: u64,
    settings: &StepSettings,
) {
    let (lr, (beta1, beta2)) = (settings.lr, settings.betas);
    let _ = first.lerp_(&gradient, 1.0 - beta1);
    let _ = second.lerp_(&gradient.square_(), 1.0 - beta2);
    if lr == 0.0 {
        return; // the first step of the warm-up: only the moments move
    }
    if decay != 0.0 {
        let _ = weights.g_mul_scalar_(1.0 - lr * decay);
    }
    let power = i32::try_from(steps).unwrap_or(i32::MAX);
    let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
    // w −= (lr / c1) m / (√v / √c2 + eps), with the factor moved into the divisor
    let factor = -correction1 / lr;
    let divisor = second
        .sqrt()
        .g_mul_scalar_(factor / correction2.sqrt())
        .g_add_scalar_(factor * settings.eps);
    let _ = weights.addcdiv_(&first, &divisor);
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
        AdamW::new(&student).step(&student, &teacher, gradients, &settings());
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
    fn betas_and_epsilon_are_those_of_the_settings() {
        let (student, teacher, before) = (heads(), heads(), heads());
        let adam = AdamW::new(&student);
        let set = StepSettings {
            betas: (0.5, 0.25),
            eps: 3.0,
            weight_decay: 0.0,
            ..settings()
        };
        for steps in 1..=2 {
            let gradients = student
                .tensors()
                .iter()
                .map(|t| Some(t.ones_like() * f64::from(steps)))
                .collect();
            let set = StepSettings {
                steps: steps as u64,
                last_layer_steps: steps as u64,
                ..set
            };
            adam.step(&student, &teacher, gradients, &set);
        }
        // gradients 1, then 2: moments by hand
        let (m1, v1, m2, v2): (f64, f64, f64, f64) = (0.5, 0.75, 1.25, 3.1875);
        let first = 0.1 * (m1 / 0.5) / ((v1 / 0.75).sqrt() + 3.0);
        let second = 0.1 * (m2 / 0.75) / ((v2 / 0.9375).sqrt() + 3.0);
        for (now, then) in student.tensors().iter().zip(before.tensors()) {
            assert!(
                (*now - (then - first - second))
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
        let adam = AdamW::new(&student);
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
