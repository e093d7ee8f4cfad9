//! The formulas of evaluation: moments, Fréchet distance, precision and recall, kernel distance and
//! the other scores of spec §10.
//!
//! It is a library of functions from tensors to numbers: it has no networks, no jobs and no message
//! queue. It reads and writes one kind of file, the reference statistics (npz with `mu` and
//! `sigma`) that other evaluation tools use. Sets of features enter through [`Features`], which
//! checks shape and finiteness once; every function states shapes, units, errors and the definition
//! it follows.
//!
//! In the order of an evaluation:
//! - [`Features`], [`Moments`], [`Gaussian`], [`Statistics`]: what is known of a set of images.
//! - [`frechet()`], [`fd_infinity()`], [`sliced_wasserstein`], [`kid()`]: distances of
//!   distributions.
//! - [`radii`] and [`nearest`], with [`prdc()`], [`realism`], [`authenticity()`], [`copying_score`]
//!   and [`nearest_cosine_auroc`] on top of them: scores by nearest neighbours.
//! - [`inception_score()`], [`mean_softmax_score`], [`vendi()`], [`confidence`]: scores of one set
//!   alone.
//! - [`partition`]: agreement of two clusterings, from its own crate.
//!
//! [`draws`] and [`schedule`] hold what the trainings share: random draws, and values that change
//! from step to step.

#![forbid(unsafe_code)]

mod auroc;
mod authenticity;
pub mod confidence;
mod copying;
mod distances;
pub mod draws;
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
pub mod schedule;
mod sliced;
mod statistics_file;
mod vendi;

pub use auroc::{NearestCosine, area_under_roc, nearest_cosine, nearest_cosine_auroc};
pub use authenticity::{Authenticity, authenticity};
pub use cedm_partitions as partition;
pub use copying::{CellAssignment, CopyingScore, copying_score, mann_whitney_u, zu_score};
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

/// A mean with the population standard deviation (ddof 0), as the field's tools report a score over
/// subsets or splits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanStd {
    /// Mean of the values.
    pub mean: f64,
    /// Population standard deviation (ddof 0) of the values.
    pub std: f64,
}

impl MeanStd {
    /// Mean and standard deviation of `values`; NaN if there are none.
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
