//! DINO's loss and its running centre (Caron et al. 2021, equation 1 and §3.1; spec §12).

use tch::Tensor;

/// The loss with the running centre of the teacher's scores.
#[derive(Debug)]
pub struct DinoLoss {
    /// Running mean of the teacher's scores, \[1, K\].
    pub center: Tensor,
    /// Temperature of the student's softmax.
    pub student_temperature: f64,
    /// Share of the old centre that an update keeps.
    pub center_momentum: f64,
}

impl DinoLoss {
    /// The scalar loss: the mean over all pairs of a teacher view and another student view of the
    /// batch mean of −Σ softmax((t − centre) / temperature) · log softmax(s / student temperature).
    /// `student` holds the scores \[views · B, K\], view by view; `teacher` \[2 · B, K\] those of
    /// the first two views. No gradient flows into the teacher.
    pub fn loss(&self, student: &Tensor, teacher: &Tensor, teacher_temperature: f64) -> Tensor {
        let batch = teacher.size()[0] / 2;
        let views = student.size()[0] / batch;
        let student = (student / self.student_temperature)
            .log_softmax(-1, student.kind())
            .chunk(views, 0);
        let teacher = ((teacher - &self.center) / teacher_temperature)
            .softmax(-1, teacher.kind())
            .detach()
            // Two views, whatever the number of local crops.
            .chunk(2, 0);
        let mut terms = Vec::new();
        for (i, target) in teacher.iter().enumerate() {
            // A view is not compared with itself: that pair would be solved by any constant.
            for (_, prediction) in student.iter().enumerate().filter(|(view, _)| *view != i) {
                terms.push(
                    (target * prediction)
                        .sum_dim_intlist([-1i64].as_slice(), false, None)
                        .mean(None),
                );
            }
        }
        -Tensor::stack(&terms, 0).mean(None)
    }

    /// Moves the centre towards the mean of the teacher's rows \[2 · B, K\]. Call it after
    /// [`DinoLoss::loss`] of the same step: the loss of a batch uses the centre of those before.
    pub fn update_center(&mut self, teacher: &Tensor) {
        let mean = teacher.detach().mean_dim([0i64].as_slice(), true, None);
        // Subtracting the centre keeps one score from winning everywhere; the sharp temperature
        // keeps scores from becoming uniform. Either alone collapses (Caron et al. 2021, §5.3).
        self.center = &self.center * self.center_momentum + mean * (1.0 - self.center_momentum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_loss_of_a_student_that_agrees_is_the_teachers_entropy() {
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
