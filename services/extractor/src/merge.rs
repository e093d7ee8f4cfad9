//! Mean and standard deviation over feature shards, with one shard in memory at a time.

use crate::extract::read_features;
use anyhow::anyhow;
use cedm_contract::kinds::features::statistics::{MEAN, STD};
use cedm_runtime::JobError;
use cedm_tensor_files::TensorFileError;
use cedm_torch::tensor_files;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Mean and standard deviation of each feature over the whole set.
#[derive(Debug)]
pub struct Statistics {
    /// Mean of every feature over all rows, float64 \[dim\].
    pub mean: Tensor,
    /// Standard deviations with n − 1 in the denominator, float64 \[dim\]; zero for a single row.
    pub std: Tensor,
}

impl Statistics {
    /// Statistics of the shards in these files, in two passes: a sum of squares minus a large mean
    /// would lose digits.
    ///
    /// # Errors
    /// `Retry` when a shard cannot be read, `Reject` when it is not a matrix or has another width
    /// than the first.
    pub fn of(files: &[PathBuf]) -> Result<Self, JobError> {
        let _guard = tch::no_grad_guard();
        let (mut sum, mut count): (Option<Tensor>, u64) = (None, 0);
        for file in files {
            // float32 sums over 50,000 rows would lose digits.
            let rows = read_features(file)?.to_kind(Kind::Double);
            let part = rows.sum_dim_intlist([0i64].as_slice(), false, None);
            sum = Some(match sum {
                None => part,
                Some(sum) => {
                    if sum.size() != part.size() {
                        return Err(JobError::reject(anyhow!(
                            "{} has width {}, the shards before it {}",
                            file.display(),
                            part.size()[0],
                            sum.size()[0]
                        )));
                    }
                    sum + part
                }
            });
            count += rows.size()[0] as u64;
        }
        let count = count as f64;
        let mean = sum.ok_or_else(|| JobError::reject(anyhow!("no feature shards")))? / count;
        let mut squares = Tensor::zeros_like(&mean);
        for file in files {
            let deviations = read_features(file)?.to_kind(Kind::Double) - &mean;
            squares += deviations
                .square()
                .sum_dim_intlist([0i64].as_slice(), false, None);
        }
        Ok(Self {
            std: (squares / (count - 1.0).max(1.0)).sqrt(),
            mean,
        })
    }

    /// Width of the features.
    pub fn dim(&self) -> u32 {
        self.mean.size()[0] as u32
    }

    /// Writes safetensors with `mean` and `std`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, out: &Path) -> Result<(), TensorFileError> {
        let tensors = [(MEAN.name, &self.mean), (STD.name, &self.std)];
        tensor_files::write(out, &tensors, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn shard(folder: &Path, name: &str, rows: &Tensor) -> PathBuf {
        let path = folder.join(name);
        tensor_files::write(&path, &[("features", rows)], &[]).unwrap();
        path
    }

    #[test]
    fn statistics_are_those_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let rows = (Tensor::arange(60, (Kind::Float, Device::Cpu)) * 1.7)
            .sin()
            .reshape([12, 5])
            + 1000.0;
        let files = [
            shard(folder.path(), "a", &rows.narrow(0, 0, 5)),
            shard(folder.path(), "b", &rows.narrow(0, 5, 7)),
        ];
        let found = Statistics::of(&files).unwrap();
        let rows = rows.to_kind(Kind::Double);
        assert_eq!(found.dim(), 5);
        assert!(
            (found.mean - rows.mean_dim([0i64].as_slice(), false, None))
                .abs()
                .max()
                .double_value(&[])
                < 1e-12
        );
        assert!(
            (found.std - rows.std_dim([0i64].as_slice(), true, false))
                .abs()
                .max()
                .double_value(&[])
                < 1e-12
        );
    }

    #[test]
    fn widths_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let zeros = |width: i64| Tensor::zeros([2, width], (Kind::Float, Device::Cpu));
        let files = [
            shard(folder.path(), "a", &zeros(3)),
            shard(folder.path(), "b", &zeros(4)),
        ];
        assert!(
            Statistics::of(&files)
                .unwrap_err()
                .to_string()
                .contains("has width 4, the shards before it 3")
        );
    }
}
