//! DINO's projection head and loss (spec §12).

use crate::{
    NetError, Weights,
    layers::{Activation, Linear, normalise_rows},
    weights::Loading,
};
use tch::{Device, Kind, Tensor};

/// PyTorch's defaults.
const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

struct HeadNorm {
    /// Index in the layer stack, for its names.
    name: String,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
}

/// The projection head: linear layers with GELU between them, rows of norm 1, and a last layer
/// whose rows have norm g.
pub struct DinoHead {
    layers: Vec<(Linear, Option<HeadNorm>)>,
    weight_g: Tensor,
    weight_v: Tensor,
}

impl DinoHead {
    /// Loads a head; the number of layers, their widths and whether they normalise batches are read
    /// from the names and shapes.
    ///
    /// # Errors
    /// When the weights are no head.
    pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Self, NetError> {
        let from = weights.load(kind, device);
        let take = |name: &str| from.take(name, &from.shape(name).unwrap_or_default());
        let linear = |name: &str| Linear {
            weight: take(&format!("{name}.weight")),
            bias: Some(take(&format!("{name}.bias"))),
        };
        let mut layers = Vec::new();
        if from.has("mlp.weight") {
            layers.push((linear("mlp"), None));
        } else {
            let mut at = 0;
            while from.has(&format!("mlp.{at}.weight")) {
                let layer = linear(&format!("mlp.{at}"));
                let name = format!("mlp.{}", at + 1);
                let norm = from
                    .has(&format!("{name}.running_mean"))
                    .then(|| HeadNorm::load(&from, name));
                // The activation takes a number too.
                at += if norm.is_some() { 3 } else { 2 };
                layers.push((layer, norm));
            }
        }
        if layers.is_empty() {
            // Not a head at all: `finish` tells so.
            let _ = take("mlp.0.weight");
        }
        let (weight_g, weight_v) = (take("last_layer.weight_g"), take("last_layer.weight_v"));
        from.finish("a DINO head")?;
        Ok(Self {
            layers,
            weight_g,
            weight_v,
        })
    }

    /// Rows of norm 1 that the last layer reads.
    pub fn bottleneck(&self, x: &Tensor, train: bool) -> Tensor {
        let last = self.layers.len() - 1;
        let mut x = x.shallow_clone();
        for (index, (layer, norm)) in self.layers.iter().enumerate() {
            x = layer.forward(&x);
            if let Some(norm) = norm {
                x = norm.forward(&x, train);
            }
            if index < last {
                x = Activation::Gelu.forward(&x);
            }
        }
        normalise_rows(&x)
    }

    /// Scores \[n, K\]. With `train`, batch statistics normalise and update the running ones.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let norm = self.weight_v.norm_scalaropt_dim(2.0, [1], true);
        self.bottleneck(x, train)
            .linear(&(&self.weight_g * &self.weight_v / norm), None::<&Tensor>)
    }

    /// Running statistics by name.
    pub fn statistics(&self) -> Vec<(String, Tensor)> {
        let of = |norm: &HeadNorm| {
            [
                (
                    format!("{}.running_mean", norm.name),
                    norm.mean.shallow_clone(),
                ),
                (
                    format!("{}.running_var", norm.name),
                    norm.var.shallow_clone(),
                ),
            ]
        };
        self.layers
            .iter()
            .filter_map(|(_, norm)| norm.as_ref())
            .flat_map(of)
            .collect()
    }
}

impl HeadNorm {
    fn load(from: &Loading<'_>, name: String) -> Self {
        let shape = from
            .shape(&format!("{name}.running_mean"))
            .unwrap_or_default();
        let take = |part: &str| from.take(&format!("{name}.{part}"), &shape);
        let counter = format!("{name}.num_batches_tracked");
        from.ignore(|key| key == counter);
        Self {
            weight: take("weight"),
            bias: take("bias"),
            mean: take("running_mean").copy(),
            var: take("running_var").copy(),
            name,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            train,
            BATCH_NORM_MOMENTUM,
            BATCH_NORM_EPS,
            false,
        )
    }
}

/// The loss with its running centre.
#[derive(Debug)]
pub struct DinoLoss {
    /// \[1, K\].
    pub center: Tensor,
    /// Temperature of the student.
    pub student_temperature: f64,
    /// Share of the old centre that is kept.
    pub center_momentum: f64,
}

impl DinoLoss {
    /// Mean over all pairs of a teacher view and another student view of the batch mean of −Σ
    /// softmax((t − centre) / temperature) · log softmax(s / student temperature). `student` is
    /// \[views · B, K\], view by view; `teacher` \[2 · B, K\] are the first two views.
    pub fn loss(&self, student: &Tensor, teacher: &Tensor, teacher_temperature: f64) -> Tensor {
        let batch = teacher.size()[0] / 2;
        let views = student.size()[0] / batch;
        let student = (student / self.student_temperature)
            .log_softmax(-1, student.kind())
            .chunk(views, 0);
        let teacher = ((teacher - &self.center) / teacher_temperature)
            .softmax(-1, teacher.kind())
            .detach()
            .chunk(2, 0);
        let mut terms = Vec::new();
        for (i, wanted) in teacher.iter().enumerate() {
            for (_, given) in student.iter().enumerate().filter(|(view, _)| *view != i) {
                terms.push(
                    (wanted * given)
                        .sum_dim_intlist([-1i64].as_slice(), false, None)
                        .mean(None),
                );
            }
        }
        -Tensor::stack(&terms, 0).mean(None)
    }

    /// Moves the centre towards the mean of the teacher's rows; after the loss of the same step.
    pub fn update_center(&mut self, teacher: &Tensor) {
        let mean = teacher.detach().mean_dim([0i64].as_slice(), true, None);
        self.center = &self.center * self.center_momentum + mean * (1.0 - self.center_momentum);
    }
}

/// Teacher temperature of an epoch: from `warmup` to `last` over `warmup_epochs` (end included),
/// then `last`.
pub fn teacher_temperature(epoch: usize, warmup: f64, last: f64, warmup_epochs: usize) -> f64 {
    if epoch >= warmup_epochs {
        return last;
    }
    if warmup_epochs == 1 {
        return warmup;
    }
    warmup + (last - warmup) * epoch as f64 / (warmup_epochs - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_rise_and_stay() {
        let all: Vec<f64> = (0..7)
            .map(|epoch| teacher_temperature(epoch, 0.04, 0.07, 4))
            .collect();
        let expect = [0.04, 0.05, 0.06, 0.07, 0.07, 0.07, 0.07];
        assert!(
            all.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-15),
            "{all:?}"
        );
        assert_eq!(teacher_temperature(0, 0.04, 0.07, 1), 0.04);
    }

    #[test]
    fn a_student_that_agrees_pays_the_teachers_entropy() {
        let k = 5;
        let row = Tensor::from_slice(&[1.0f64, 2.0, 0.5, -1.0, 0.0]).reshape([1, k]);
        let loss = DinoLoss {
            center: Tensor::zeros([1, k], (Kind::Double, Device::Cpu)),
            student_temperature: 0.1,
            center_momentum: 0.9,
        };
        let p = (&row / 0.1).softmax(-1, Kind::Double);
        let entropy = -(&p * p.log()).sum(Kind::Double).double_value(&[]);
        let found = loss
            .loss(&row.repeat([4, 1]), &row.repeat([2, 1]), 0.1)
            .double_value(&[]);
        assert!((found - entropy).abs() < 1e-12);
    }
}
