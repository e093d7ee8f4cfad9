//! Where labels come from: the settings of a job together with what the condition says.

use cedm_contract::params::LabelSource;
use cedm_diffusion::{DiffusionError, sampler::LabelSupply};

/// The supply for a network with `label_dim` slots. `counts` are the images of each cluster, where a condition is given.
///
/// # Errors
/// [`DiffusionError::Labels`] when the prior is asked for and there is none.
pub fn supply(source: LabelSource, label_dim: i64, counts: Option<Vec<i64>>) -> Result<LabelSupply, DiffusionError> {
    if label_dim == 0 {
        return Ok(LabelSupply::None);
    }
    match (source, counts) {
        (LabelSource::Prior, Some(counts)) => Ok(LabelSupply::Prior(counts)),
        (LabelSource::Prior, None) => Err(DiffusionError::Labels {
            what: "prior".into(),
            found: "no condition".into(),
            expected: format!("the counts of the network's {label_dim} labels, or another source of labels"),
        }),
        (LabelSource::Uniform, _) => Ok(LabelSupply::Uniform(label_dim)),
        (LabelSource::Fixed { label }, _) => Ok(LabelSupply::Fixed(label.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_needs_a_condition() {
        assert!(matches!(supply(LabelSource::Prior, 0, None), Ok(LabelSupply::None)));
        assert!(matches!(supply(LabelSource::Prior, 2, Some(vec![3, 4])), Ok(LabelSupply::Prior(counts)) if counts == [3, 4]));
        assert!(matches!(supply(LabelSource::Uniform, 2, None), Ok(LabelSupply::Uniform(2))));
        let error = supply(LabelSource::Prior, 7, None).unwrap_err().to_string();
        assert_eq!(
            error,
            "prior: no condition, expected the counts of the network's 7 labels, or another source of labels"
        );
    }
}
