//! One side of a comparison: moments in memory, single features read when a metric needs them.

use crate::{EvaluatorError, space::FeatureSpace};
use cedm_contract::kinds::{
    extract::features::{FEATURES, LOGITS},
    reference::REFERENCE_SEED,
};
use cedm_maths::{Features, Gaussian, Moments, numpy_permutation};
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// A measured set of images.
#[derive(Debug)]
pub struct MeasuredSet {
    /// What errors and JSON call it.
    pub name: String,
    /// Its feature space, where known.
    pub space: Option<FeatureSpace>,
    /// Number of images, where known.
    pub count: Option<i64>,
    gaussian: OnceCell<Gaussian>,
    moments: Option<Moments>,
    root: OnceCell<Tensor>,
    files: Vec<PathBuf>,
    features: OnceCell<Features>,
    logits: OnceCell<Features>,
}

impl MeasuredSet {
    /// From the moments of its shards, merged, and their feature files in order (none where only
    /// moments are known).
    ///
    /// # Errors
    /// [`EvaluatorError::Lacking`] without shards; widths that differ.
    pub fn merge(
        name: &str,
        shards: impl IntoIterator<Item = Result<Moments, EvaluatorError>>,
        files: Vec<PathBuf>,
    ) -> Result<Self, EvaluatorError> {
        let mut shards = shards.into_iter();
        let first = shards.next().ok_or_else(|| EvaluatorError::Lacking {
            what: name.to_owned(),
            found: "no shard",
            needed: "at least one",
        })??;
        let mut moments = first.named(name);
        for shard in shards {
            moments.merge(&shard?)?;
        }
        Ok(Self {
            moments: Some(moments.named(name)),
            ..Self::empty(name, files)
        }
        .counted())
    }

    /// From mean and covariance, with the covariance's root where it is known.
    pub fn from_gaussian(
        name: &str,
        gaussian: Gaussian,
        root: Option<Tensor>,
        count: Option<i64>,
        files: Vec<PathBuf>,
    ) -> Self {
        let set = Self {
            count,
            ..Self::empty(name, files)
        };
        let _ = set.gaussian.set(gaussian);
        if let Some(root) = root {
            let _ = set.root.set(root);
        }
        set
    }

    /// The same with its feature space.
    #[must_use]
    pub fn within(self, space: Option<FeatureSpace>) -> Self {
        Self { space, ..self }
    }

    /// The same of at most `limit` images: a random subset in order, drawn as dgm-eval draws it
    /// (spec §10.2). Its features are written to `file`.
    ///
    /// # Errors
    /// [`EvaluatorError::Lacking`] where only moments of a larger set are known.
    pub fn at_most(self, limit: u64, file: &Path) -> Result<Self, EvaluatorError> {
        if self.count.is_none_or(|count| count as u64 <= limit) {
            return Ok(self);
        }
        let all = self.features()?;
        let count = u32::try_from(all.count()).map_err(|_| EvaluatorError::Lacking {
            what: self.name.clone(),
            found: "more than 4,294,967,295 images",
            needed: "a set that NumPy's legacy generator can permute",
        })?;
        let mut rows = numpy_permutation(REFERENCE_SEED, count);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        // In order, so that the shards are read front to back; moments do not depend on it.
        rows.sort_unstable();
        let kept = all.select(&rows)?;
        tensor_files::write(file, &[(FEATURES.name, kept.rows())], &[])?;
        Ok(
            Self::merge(&self.name, [Ok(Moments::of(&kept))], vec![file.to_owned()])?
                .within(self.space),
        )
    }

    fn empty(name: &str, files: Vec<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            space: None,
            count: None,
            gaussian: OnceCell::new(),
            moments: None,
            root: OnceCell::new(),
            files,
            features: OnceCell::new(),
            logits: OnceCell::new(),
        }
    }

    fn counted(self) -> Self {
        let count = self.moments.as_ref().map(Moments::count);
        Self { count, ..self }
    }

    /// Mean and covariance.
    ///
    /// # Errors
    /// For a set of one image.
    pub fn gaussian(&self) -> Result<&Gaussian, EvaluatorError> {
        get_or_try(&self.gaussian, || {
            let moments = self
                .moments
                .as_ref()
                .expect("invariant: a set has moments or a Gaussian");
            Ok(moments.gaussian()?)
        })
    }

    /// Root of the covariance, computed once.
    ///
    /// # Errors
    /// As [`Gaussian::root`].
    pub fn root(&self) -> Result<&Tensor, EvaluatorError> {
        get_or_try(&self.root, || Ok(self.gaussian()?.root()?))
    }

    /// Every single feature, float32 \[n, dim\].
    ///
    /// # Errors
    /// [`EvaluatorError::Lacking`] where only moments are known.
    pub fn features(&self) -> Result<&Features, EvaluatorError> {
        get_or_try(&self.features, || {
            let lacking = || EvaluatorError::Lacking {
                what: self.name.clone(),
                found: "mean and covariance only",
                needed: "single features",
            };
            self.read(FEATURES.name)?.ok_or_else(lacking)
        })
    }

    /// Every image's logits \[n, classes\].
    ///
    /// # Errors
    /// [`EvaluatorError::Lacking`] where the extractor gives none.
    pub fn logits(&self) -> Result<&Features, EvaluatorError> {
        get_or_try(&self.logits, || {
            let lacking = || EvaluatorError::Lacking {
                what: self.name.clone(),
                found: "no logits",
                needed: "an extractor with a classifier (inception_fid)",
            };
            self.read(LOGITS.name)?.ok_or_else(lacking)
        })
    }

    fn read(&self, tensor: &str) -> Result<Option<Features>, EvaluatorError> {
        let mut parts = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let file = TensorFile::open(file)?;
            if !file.has(tensor) {
                return Ok(None);
            }
            parts.push(tensor_files::tensor(&file, tensor)?);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let what = || format!("join the {tensor} of {}", self.name);
        let rows = Tensor::f_cat(&parts, 0).map_err(|source| EvaluatorError::Torch {
            what: what(),
            source,
        })?;
        let features = Features::new(self.name.clone(), &rows)?;
        match self.count {
            Some(count) if count != features.count() => {
                let reason = format!(
                    "the feature files of {} hold {} rows, its moments count {count}",
                    self.name,
                    features.count()
                );
                Err(EvaluatorError::file(self.files[0].clone(), reason))
            }
            _ => Ok(Some(features)),
        }
    }
}

fn get_or_try<T>(
    cell: &OnceCell<T>,
    make: impl FnOnce() -> Result<T, EvaluatorError>,
) -> Result<&T, EvaluatorError> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    Ok(cell.get().expect("invariant: the cell was just filled"))
}
