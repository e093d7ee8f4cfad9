//! The distribution of labels, from a job's settings and the condition that the network was trained
//! with.

use cedm_contract::kinds::{cluster::assignments::COUNTS, sample::LabelSource};
use cedm_diffusion::{
    DiffusionError,
    sampler::LabelDistribution,
    weights::{CONDITION_FILE, CONDITION_ROWS, NotedPrior, noted_prior},
};
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::path::Path;
use tch::{Kind, Tensor};

/// The empirical distribution of a condition over the training images.
#[derive(Debug)]
pub enum Prior {
    /// Number of images of each label \[L\].
    Counts(Vec<i64>),
    /// The condition's vector of each training image \[n, d\] (oracle features).
    Rows(Tensor),
}

impl Prior {
    /// Reads `assignments.safetensors` of a clustering, or `condition.safetensors` of `trainer
    /// run`.
    ///
    /// # Errors
    /// [`DiffusionError::TensorFile`] if the file cannot be read, [`DiffusionError::File`] if it
    /// holds neither `counts` nor `rows`.
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        let file = TensorFile::open(path)?;
        if file.has(CONDITION_ROWS.name) {
            let rows = tensor_files::tensor(&file, CONDITION_ROWS.name)?;
            if rows.size().len() != 2 || rows.size()[0] == 0 {
                return Err(file
                    .unexpected(CONDITION_ROWS.name, "[images, width]")
                    .into());
            }
            return Ok(Self::Rows(rows.to_kind(Kind::Float)));
        }
        if !file.has(COUNTS.name) {
            return Err(DiffusionError::File {
                action: "read",
                path: path.to_owned(),
                reason: format!(
                    "neither a tensor `{COUNTS}` nor `{CONDITION_ROWS}`, found {:?}",
                    file.names()
                ),
            });
        }
        let counts = file.values::<i64>(COUNTS.name)?;
        Ok(Self::Counts(counts))
    }

    /// The prior that a weight file says itself; `None` where it says none, as files of other
    /// programs do.
    ///
    /// # Errors
    /// [`DiffusionError::File`] for a malformed note, [`DiffusionError::Labels`] where the
    /// condition is a vector per image: these are in a file of their own.
    pub fn inside(weights: &Path) -> Result<Option<Self>, DiffusionError> {
        // Weights that were read before and are no safetensors file have no notes.
        if TensorFile::open(weights).is_err() {
            return Ok(None);
        }
        match noted_prior(weights)? {
            None => Ok(None),
            Some(NotedPrior::Counts(counts)) => Ok(Some(Self::Counts(counts))),
            Some(NotedPrior::Vectors) => Err(DiffusionError::Labels {
                what: "labels".into(),
                found: "a network that was conditioned on a vector per image".into(),
                expected: format!("the file of these vectors, `{CONDITION_FILE}`"),
            }),
        }
    }
}

/// The distribution of labels for a network with `label_dim` labels.
///
/// # Errors
/// [`DiffusionError::Labels`] if the prior is requested and not known, or if uniform or fixed
/// labels are requested of a network that was conditioned on vectors.
pub fn label_distribution(
    source: LabelSource,
    label_dim: i64,
    prior: Option<Prior>,
) -> Result<LabelDistribution, DiffusionError> {
    if label_dim == 0 {
        return Ok(LabelDistribution::None);
    }
    let mismatch = |found: &str, expected: String| {
        Err(DiffusionError::Labels {
            what: "labels".into(),
            found: found.into(),
            expected,
        })
    };
    match (source, prior) {
        (LabelSource::Prior, Some(Prior::Counts(counts))) => Ok(LabelDistribution::Prior(counts)),
        // Every training image with equal probability: the empirical distribution of the vectors.
        (LabelSource::Prior, Some(Prior::Rows(rows))) => Ok(LabelDistribution::Rows(rows)),
        (LabelSource::Prior, None) => mismatch(
            "the prior, but no condition",
            format!("the counts of the network's {label_dim} labels, or another source of labels"),
        ),
        (_, Some(Prior::Rows(_))) => mismatch(
            "class labels, but the condition is a vector per image",
            "the prior".into(),
        ),
        (LabelSource::Uniform, _) => Ok(LabelDistribution::Uniform(label_dim)),
        (LabelSource::Fixed { label }, _) => Ok(LabelDistribution::Fixed(label.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn the_prior_needs_a_condition() {
        let counts = || Some(Prior::Counts(vec![3, 4]));
        assert!(matches!(
            label_distribution(LabelSource::Prior, 0, None),
            Ok(LabelDistribution::None)
        ));
        assert!(
            matches!(label_distribution(LabelSource::Prior, 2, counts()), Ok(LabelDistribution::Prior(counts)) if counts == [3, 4])
        );
        assert!(matches!(
            label_distribution(LabelSource::Uniform, 2, None),
            Ok(LabelDistribution::Uniform(2))
        ));
        let error = label_distribution(LabelSource::Prior, 7, None)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "labels: the prior, but no condition, expected the counts of the network's 7 labels, \
             or another source of labels"
        );
    }

    #[test]
    fn a_condition_of_vectors_is_drawn_from_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("condition.safetensors");
        let rows = Tensor::ones([5, 3], (Kind::Float, Device::Cpu));
        tensor_files::write(&path, &[(CONDITION_ROWS, &rows)], &[]).unwrap();
        let prior = || Some(Prior::read(&path).unwrap());
        assert!(
            matches!(label_distribution(LabelSource::Prior, 3, prior()), Ok(LabelDistribution::Rows(rows)) if rows.size() == [5, 3])
        );
        assert!(label_distribution(LabelSource::Uniform, 3, prior()).is_err());
        tensor_files::write(&path, &[("ids", &rows)], &[]).unwrap();
        let error = Prior::read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("neither a tensor `counts` nor `rows`, found [\"ids\"]"),
            "{error}"
        );
    }
}
