//! Images of one shard → features, logits and float64 moments.

use crate::EvaluatorError;
use cedm_contract::{
    TensorName,
    kinds::{
        extract::features::{FEATURES, LOGITS},
        measure::moments::{COUNT, OUTER, SUM},
    },
};
use cedm_maths::{Features, Moments};
use cedm_nets::Extractor;
use cedm_runtime::Monitor;
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::path::Path;
use tch::{Kind, Tensor};

/// What is known of one shard.
#[derive(Debug)]
pub struct Measured {
    /// Features of the n images, float32 \[n, dim\].
    pub features: Features,
    /// float32 \[n, classes\], of extractors that classify.
    pub logits: Option<Features>,
    /// Moments of the features.
    pub moments: Moments,
}

/// Measures one shard; `name` is what errors call it. The monitor hears of every batch.
///
/// # Errors
/// When the extractor cannot take the images, or gives features that are not finite.
pub fn measure(
    name: &str,
    extractor: &Extractor,
    images: &Tensor,
    monitor: &dyn Monitor,
) -> Result<Measured, EvaluatorError> {
    let mut on_batch = || monitor.tick();
    // Without gradients no activation is kept: memory is that of one layer.
    let found = tch::no_grad(|| extractor.extract_reporting(images, &mut on_batch))?;
    let features = Features::new(
        format!("features of {name}"),
        &found.features.to_kind(Kind::Float),
    )?;
    let logits = found
        .logits
        .map(|logits| Features::new(format!("logits of {name}"), &logits.to_kind(Kind::Float)))
        .transpose()?;
    let moments = Moments::of(&features);
    Ok(Measured {
        features,
        logits,
        moments,
    })
}

impl Measured {
    /// Writes `features.safetensors`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_features(&self, file: &Path) -> Result<(), EvaluatorError> {
        let mut tensors = vec![(FEATURES.name, self.features.rows())];
        tensors.extend(
            self.logits
                .as_ref()
                .map(|logits| (LOGITS.name, logits.rows())),
        );
        Ok(tensor_files::write(file, &tensors, &[])?)
    }

    /// Writes `moments.safetensors`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_moments(&self, file: &Path) -> Result<(), EvaluatorError> {
        let moments = &self.moments;
        let count = Tensor::from_slice(&[moments.count()]);
        let tensors = [
            (COUNT.name, &count),
            (OUTER.name, moments.outer()),
            (SUM.name, moments.sum()),
        ];
        Ok(tensor_files::write(file, &tensors, &[])?)
    }
}

/// The moments in a `moments.safetensors` file.
///
/// # Errors
/// [`EvaluatorError::TensorFile`] when it is not such a file, [`EvaluatorError::Maths`] when the
/// shapes do not fit together.
pub fn read_moments(name: &str, file: &Path) -> Result<Moments, EvaluatorError> {
    let tensors = TensorFile::open(file)?;
    let tensor = |part: TensorName| tensor_files::tensor(&tensors, part.name);
    let count = tensor(COUNT)?;
    if count.numel() != 1 {
        return Err(tensors.unexpected(COUNT.name, "one number").into());
    }
    Ok(Moments::from_parts(
        name,
        count.reshape([1]).int64_value(&[0]),
        &tensor(SUM)?,
        &tensor(OUTER)?,
    )?)
}
