//! The formulas: moments, Fréchet distance, precision and recall, kernel distance and the other
//! scores of spec §10.
//!
//! Tensors in, numbers out. It knows no network, no job and no file but the reference statistics of
//! the field. Sets of features enter through [`Features`], which checks shape and finiteness once;
//! every function states shapes, units, errors and the definition it follows.

#![forbid(unsafe_code)]

mod auroc;
mod authenticity;
pub mod confidence;
mod copying;
mod distances;
mod error;
mod fd_infinity;
mod features;
mod frechet;
mod inception_score;
mod kid;
mod moments;
mod numpy_random;
mod polar;
mod prdc;
mod sliced;
mod statistics_file;
mod vendi;

pub use auroc::{NearestCosine, area_under_roc, nearest_cosine, nearest_cosine_auroc};
pub use authenticity::{Authenticity, authenticity};
pub use cedm_partitions as partition;
pub use copying::{Celled, CopyingScore, copying_score, mann_whitney_u, zu_score};
pub use distances::{Nearest, nearest, radii};
pub use error::MathsError;
pub use fd_infinity::{FdInfinity, fd_infinity};
pub use features::Features;
pub use frechet::{Frechet, Gaussian, frechet, frechet_to};
pub use inception_score::{Splits, inception_score, mean_softmax_score};
pub use kid::{kid, random_subsets};
pub use moments::Moments;
pub use numpy_random::numpy_permutation;
pub use prdc::{Prdc, prdc, realism};
pub use sliced::{sliced_wasserstein, sliced_wasserstein_of_gaussians};
pub use statistics_file::{Statistics, array_names, read_statistics, write_statistics};
pub use vendi::{Order, vendi, vendi_polynomial};

/// A mean with its population standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, ddof 0.
    pub std: f64,
}

impl Spread {
    /// Of a list that is not empty.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let std = (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / count)
            .sqrt();
        Self { mean, std }
    }
}
