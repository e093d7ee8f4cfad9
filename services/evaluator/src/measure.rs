//! Images of one shard → features, logits and float64 moments.

use crate::EvaluatorError;
use cedm_contract::{
    TensorName,
    kinds::{
        extract::features::{FEATURES, LOGITS},
        measure::moments::{COUNT, OUTER, SUM},
    },
};
use cedm_images::Shard;
use cedm_maths::{Features, Moments};
use cedm_nets::Extractor;
use std::path::Path;
use tch::{Kind, Tensor};

/// What is known of one shard.
#[derive(Debug)]
pub struct Measured {
    /// float32 \[n, dim\].
    pub features: Features,
    /// float32 \[n, classes\], of extractors that classify.
    pub logits: Option<Features>,
    /// Moments of the features.
    pub moments: Moments,
}

/// The images of a shard as uint8 \[n, channels, side, side\].
pub fn images_of(shard: &Shard) -> Tensor {
    let (count, channels, side) = (
        shard.count as i64,
        shard.channels as i64,
        shard.resolution as i64,
    );
    Tensor::from_slice(&shard.images).view([count, channels, side, side])
}

/// Measures one shard; `name` is what errors call it.
///
/// # Errors
/// When the extractor cannot take the images, or gives features that are not finite.
pub fn measure(
    name: &str,
    extractor: &Extractor,
    images: &Tensor,
) -> Result<Measured, EvaluatorError> {
    let found = tch::no_grad(|| extractor.extract(images))?;
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
        write_tensors(file, &tensors)
    }

    /// Writes `moments.safetensors`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_moments(&self, file: &Path) -> Result<(), EvaluatorError> {
        let count = Tensor::from_slice(&[self.moments.count()]);
        write_tensors(
            file,
            &[
                (COUNT.name, &count),
                (OUTER.name, self.moments.outer()),
                (SUM.name, self.moments.sum()),
            ],
        )
    }
}

/// Writes a safetensors file.
pub(crate) fn write_tensors(
    file: &Path,
    tensors: &[(&str, &Tensor)],
) -> Result<(), EvaluatorError> {
    let tensors: Vec<(&str, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| (*name, tensor.to_device(tch::Device::Cpu).contiguous()))
        .collect();
    Tensor::write_safetensors(&tensors, file).map_err(|source| EvaluatorError::Torch {
        what: format!("write {}", file.display()),
        source,
    })
}

/// All tensors of a safetensors file.
pub(crate) fn read_tensors(file: &Path) -> Result<Vec<(String, Tensor)>, EvaluatorError> {
    Tensor::read_safetensors(file)
        .map_err(|error| EvaluatorError::file(file, format!("is no safetensors file: {error}")))
}

/// One tensor of a safetensors file.
pub(crate) fn read_tensor(file: &Path, name: &str) -> Result<Option<Tensor>, EvaluatorError> {
    Ok(read_tensors(file)?
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, tensor)| tensor))
}

/// The moments in a `moments.safetensors` file.
///
/// # Errors
/// When it is no such file.
pub fn read_moments(name: &str, file: &Path) -> Result<Moments, EvaluatorError> {
    let tensor = |part: TensorName| {
        read_tensor(file, part.name)?.ok_or_else(|| {
            EvaluatorError::file(
                file,
                format!("has no tensor `{part}`; moments hold `{COUNT}`, `{SUM}` and `{OUTER}`"),
            )
        })
    };
    let count = tensor(COUNT)?;
    if count.numel() != 1 {
        return Err(EvaluatorError::file(
            file,
            format!(
                "`{COUNT}` has shape {:?}, expected one number",
                count.size()
            ),
        ));
    }
    Ok(Moments::from_parts(
        name,
        count.reshape([1]).int64_value(&[0]),
        &tensor(SUM)?,
        &tensor(OUTER)?,
    )?)
}
