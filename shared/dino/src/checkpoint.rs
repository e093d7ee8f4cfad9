//! A training between two steps as a file, and the backbone that it leaves behind.

use crate::{DinoError, Training};
use cedm_nets::Weights;
use cedm_tensor_files::{TensorFile, TensorFileError};
use cedm_torch::tensor_files;
use std::path::Path;
use tch::Tensor;

impl Training {
    /// Writes everything needed to resume to the same bits: safetensors with both networks
    /// (`student.`, `teacher.`), AdamW's means (`first.`, `second.`), `center`, `step`, `losses`
    /// and `spread`.
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
                    .map(move |(name, tensor)| (format!("{part}.{name}"), tensor.shallow_clone()))
            })
            .collect();
        tensors.push(("center".to_owned(), self.loss.center.shallow_clone()));
        tensors.push(("step".to_owned(), Tensor::from(self.step as i64)));
        tensors.push(("losses".to_owned(), Tensor::from_slice(&self.losses)));
        tensors.push(("spread".to_owned(), Tensor::from(self.spread)));
        Ok(tensor_files::write(file, &tensors, &[])?)
    }

    /// Resumes from what [`Training::save`] wrote.
    ///
    /// # Errors
    /// [`DinoError::Checkpoint`] when the file cannot be read, or is that of a training with other
    /// sizes.
    pub fn restore(&mut self, file: &Path) -> Result<(), DinoError> {
        self.read(file).map_err(DinoError::Checkpoint)
    }

    fn read(&mut self, file: &Path) -> Result<(), TensorFileError> {
        let _guard = tch::no_grad_guard();
        let saved = TensorFile::open(file)?;
        let take = |name: &str| tensor_files::tensor(&saved, name);
        for (part, weights) in self.parts() {
            for (name, tensor) in weights.iter() {
                let name = format!("{part}.{name}");
                let found = take(&name)?;
                if found.size() != tensor.size() {
                    return Err(saved.unexpected(&name, format!("{:?}", tensor.size())));
                }
                tensor.shallow_clone().copy_(&found);
            }
        }
        self.loss.center.copy_(&take("center")?);
        self.step = take("step")?.int64_value(&[]) as u64;
        self.losses = saved.values("losses")?;
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
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect();
        tensors.push(("heads".to_owned(), Tensor::from(self.config.heads)));
        Ok(tensor_files::write(file, &tensors, &[])?)
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
