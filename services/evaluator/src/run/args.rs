//! The options of `cedm-evaluator run`.

use crate::score::Settings;
use cedm_runtime::InputPath;
use std::path::PathBuf;

/// Compare two sets of images, features or statistics, and print the scores as JSON. A set may be
/// given in any form; features, moments and statistics need no extractor.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The generated set: a folder, zip, tar, npz or npy of images, a sample set, features or
    /// moments (safetensors), or statistics (npz)
    #[arg(long, value_name = "PATH")]
    pub generated: InputPath,
    /// The reference set, usually the training images, in any of the same forms
    #[arg(long, value_name = "PATH")]
    pub reference: Option<InputPath>,
    /// The test split of the data set, for auroc and ct
    #[arg(long, value_name = "PATH")]
    pub test: Option<InputPath>,
    /// A sample set of the unconditional model, for ufd
    #[arg(long, value_name = "PATH")]
    pub unconditional: Option<InputPath>,
    /// TEMI head of a clustering (heads.safetensors), for confidence; --extractor must be the one
    /// it was trained on
    #[arg(long, value_name = "FILE")]
    pub heads: Option<InputPath>,
    /// The TEMI head was trained on features of unit length (setting l2_norm)
    #[arg(long, requires = "heads")]
    pub heads_l2_norm: bool,
    /// Extractor that makes features of images, a name listed by `cedm extractors`
    #[arg(long, default_value = "inception_fid")]
    pub extractor: String,
    /// Weights of the extractor: safetensors, or the file that its authors publish
    #[arg(long, value_name = "FILE")]
    pub weights: Option<InputPath>,
    /// Fit of an extractor that is fitted to data (pca). Default: it is fitted to the reference
    /// images
    #[arg(long, value_name = "FILE")]
    pub fit: Option<InputPath>,
    /// Number of features of extractors where it can be chosen (pca)
    #[arg(long)]
    pub dim: Option<u32>,
    /// Metrics by name, separated by commas; `all` for every metric whose inputs are given, `none`
    /// to measure only
    #[arg(long, value_delimiter = ',', default_value = "fd")]
    pub metrics: Vec<String>,
    /// Seed of the random subsets that some metrics use
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Constants of the metrics.
    #[command(flatten)]
    pub settings: Settings,
    /// Largest number of reference images; a larger set is reduced to the subset that dgm-eval
    /// draws. Default: 50,000 for dinov2_vitl14, as in the literature, else all
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u64).range(2..))]
    pub reference_at_most: Option<u64>,
    /// Allow sets of different resolution, which is right only for extractors that resize images
    #[arg(long)]
    pub mixed_resolution: bool,
    /// Write mean and covariance of the generated set as an npz file, which other tools can read
    #[arg(long, value_name = "FILE")]
    pub save_stats: Option<PathBuf>,
    /// Write the features of the generated set as a safetensors file
    #[arg(long, value_name = "FILE")]
    pub save_features: Option<PathBuf>,
}
