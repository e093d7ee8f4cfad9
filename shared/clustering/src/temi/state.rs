//! A training's state as a file: all that another process needs to resume to the same bits.

use super::{Heads, Training};
use crate::ClusteringError;
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::path::Path;
use tch::{Kind, Tensor};

const STACKS: [&str; 4] = ["student", "teacher", "first_moment", "second_moment"];

impl Training {
    /// Writes the state to a safetensors file, atomically.
    ///
    /// # Errors
    /// [`ClusteringError::TensorFile`] when the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), ClusteringError> {
        let mut named = Vec::new();
        for (stack, heads) in STACKS.into_iter().zip(self.stacks()) {
            for (index, tensor) in heads.tensors().into_iter().enumerate() {
                named.push((format!("{stack}.{index}"), tensor.shallow_clone()));
            }
        }
        let mut push = |name: &str, tensor: Tensor| named.push((name.to_owned(), tensor));
        push("marginal", self.marginal.shares.shallow_clone());
        push("epoch_losses", self.epoch_losses.shallow_clone());
        push("epoch_used", self.epoch_used.shallow_clone());
        push("step", Tensor::from_slice(&[self.step as i64]));
        push("identity", Tensor::from_slice(self.identity().as_bytes()));
        let history: Vec<f64> = self.history.iter().flatten().copied().collect();
        if !history.is_empty() {
            let rows = Tensor::from_slice(&history).view([-1, self.shape().heads]);
            push("history", rows);
        }
        Ok(tensor_files::write(file, &named, &[])?)
    }

    /// Resumes from the state that [`Training::save`] wrote for the same parameters, seed and data
    /// sizes.
    ///
    /// # Errors
    /// [`ClusteringError::Checkpoint`] when the file cannot be read or lacks a tensor,
    /// [`ClusteringError::File`] when it belongs to another training; this training is unchanged
    /// then.
    pub fn load(&mut self, file: &Path) -> Result<(), ClusteringError> {
        self.read(file).map_err(ClusteringError::in_checkpoint)
    }

    fn read(&mut self, file: &Path) -> Result<(), ClusteringError> {
        let saved = TensorFile::open(file)?;
        let take = |name: &str| tensor_files::tensor(&saved, name);
        let found = saved.values::<u8>("identity")?;
        if found != self.identity().as_bytes() {
            let reason = format!(
                "it is the state of another training: {}, expected {}",
                String::from_utf8_lossy(&found),
                self.identity()
            );
            return Err(Self::unusable(file, reason));
        }
        let device = self.device();
        let mut stacks = Vec::new();
        for (stack, heads) in STACKS.into_iter().zip(self.stacks()) {
            let mut tensors = Vec::new();
            for (index, old) in heads.tensors().into_iter().enumerate() {
                let tensor = take(&format!("{stack}.{index}"))?;
                if tensor.size() != old.size() || tensor.kind() != old.kind() {
                    let expected = format!("{:?} {:?}", old.kind(), old.size());
                    return Err(saved
                        .unexpected(&format!("{stack}.{index}"), expected)
                        .into());
                }
                tensors.push(tensor.to_device(device));
            }
            stacks.push(Heads::with_tensors(self.shape(), tensors));
        }
        let marginal = take("marginal")?.to_device(device);
        let epoch_losses = take("epoch_losses")?.to_device(device);
        let epoch_used = take("epoch_used")?.to_device(device);
        let step = take("step")?.int64_value(&[0]) as u64;
        let history = match step / self.steps_per_epoch() {
            0 => Vec::new(),
            _ => Vec::<f64>::try_from(take("history")?.to_kind(Kind::Double).view(-1))
                .unwrap_or_default(),
        };
        let mut stacks = stacks.into_iter();
        let mut next = || stacks.next().expect("invariant: one stack per name");
        (self.student, self.teacher) = (next(), next());
        (self.adam.first, self.adam.second) = (next(), next());
        self.marginal.shares = marginal;
        (self.epoch_losses, self.epoch_used) = (epoch_losses, epoch_used);
        (self.step, self.draws) = (step, None);
        self.history = history
            .chunks(self.shape().heads as usize)
            .map(<[f64]>::to_vec)
            .collect();
        Ok(())
    }

    fn stacks(&self) -> [&Heads; 4] {
        [
            &self.student,
            &self.teacher,
            &self.adam.first,
            &self.adam.second,
        ]
    }
    fn unusable(file: &Path, reason: String) -> ClusteringError {
        ClusteringError::File {
            file: file.to_owned(),
            reason,
        }
    }
}
