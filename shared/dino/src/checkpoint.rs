//! A training between two steps as a file, and the backbone that it leaves behind.

use crate::{DinoError, Training};
use cedm_nets::Weights;
use std::path::Path;
use tch::{Device, Tensor};

impl Training {
    /// Writes everything needed to continue with the same bits: safetensors with both networks (`student.`,
    /// `teacher.`), AdamW's means (`first.`, `second.`), `center`, `step`, `losses` and `spread`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<(), DinoError> {
        let mut tensors: Vec<(String, Tensor)> = self
            .parts()
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
        write(&tensors, file)
    }

    /// Takes over what [`Training::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, or is that of a training with other sizes.
    pub fn restore(&mut self, file: &Path) -> Result<(), DinoError> {
        let _guard = tch::no_grad_guard();
        let saved = Weights::read(file)?;
        let error = |reason: String| DinoError::Checkpoint {
            file: file.to_owned(),
            reason,
        };
        let take = |name: &str| {
            saved
                .get(name)
                .ok_or_else(|| error(format!("tensor `{name}` is missing")))
        };
        for (part, weights) in self.parts() {
            for (name, tensor) in weights.iter() {
                let found = take(&format!("{part}.{name}"))?;
                if found.size() != tensor.size() {
                    return Err(error(format!(
                        "tensor `{part}.{name}` has shape {:?}, expected {:?}",
                        found.size(),
                        tensor.size()
                    )));
                }
                tensor.shallow_clone().copy_(found);
            }
        }
        self.loss.center.copy_(take("center")?);
        self.step = take("step")?.int64_value(&[]) as u64;
        self.losses = Vec::try_from(take("losses")?)
            .map_err(|source| error(format!("tensor `losses`: {source}")))?;
        self.spread = take("spread")?.double_value(&[]);
        Ok(())
    }

    /// Writes the teacher's backbone as a weight file of its architecture, under upstream's names.
    /// `heads` is added: no tensor's shape shows the number of attention heads.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_backbone(&self, file: &Path) -> Result<(), DinoError> {
        let mut tensors: Vec<(String, Tensor)> = self
            .teacher
            .weights
            .below("backbone.")
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.to_device(Device::Cpu).contiguous()))
            .collect();
        tensors.push(("heads".to_owned(), Tensor::from(self.config.heads)));
        write(&tensors, file)
    }

    /// Sets of tensors that a checkpoint holds, by their prefix.
    fn parts(&self) -> [(&'static str, &Weights); 4] {
        [
            ("student", &self.student.weights),
            ("teacher", &self.teacher.weights),
            ("first", &self.optimiser.first),
            ("second", &self.optimiser.second),
        ]
    }
}

fn write(tensors: &[(String, Tensor)], file: &Path) -> Result<(), DinoError> {
    Tensor::write_safetensors(tensors, file).map_err(|source| DinoError::Write {
        file: file.to_owned(),
        source,
    })
}
