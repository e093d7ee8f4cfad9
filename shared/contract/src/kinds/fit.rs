//! What an extractor learns from a whole image set before it can extract (`pca`: mean and basis).

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// The extractor to be fitted to the image set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitParams {
    /// The extractor with its settings, such as the width of `pca`.
    pub extractor: ExtractorSpec,
}

impl JobKind for FitParams {
    const SERVICE: Service = Service::Extractor;
    const VERSION: u32 = 1;
    // One eigendecomposition.
    const STALL_AFTER_S: u64 = 7_200;
    type Inputs<T> = FitInputs<T>;
    type Result = FitResult;
}

inputs! {
    /// What a fit reads.
    pub struct FitInputs<T> {
        /// The image set (Import).
        pub images: T as "images",
    }
}

/// What was learnt, as the extractor loads it.
pub const EXTRACTOR: OutputName = OutputName::stable("extractor.safetensors");

/// The size of what the fitted extractor computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitResult {
    /// Width D of the features that the fitted extractor gives.
    pub dim: u32,
}
