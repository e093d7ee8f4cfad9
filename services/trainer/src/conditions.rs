//! Conditions for `run` and `loss`: from files, from the labels of the data set itself, from text.
//! A new kind is one more file below, and one more way to make a [`Condition`].

mod files;
mod text;

pub use files::{read_ids, read_vectors};

use crate::pictures::Pictures;
use anyhow::{Context, bail};
use cedm_diffusion::Condition;
use std::path::{Path, PathBuf};
use text::pseudo_labels;

/// Where the condition comes from; unconditional when nothing is given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConditionArgs {
    /// One integer per image: a npy file, a PyTorch file as published by the C-EDM authors, or
    /// `assignments.safetensors`
    #[arg(long, value_name = "FILE", group = "condition")]
    pub ids: Option<PathBuf>,
    /// The labels of the data set
    #[arg(long, group = "condition")]
    pub labels: bool,
    /// The coarse labels of the data set
    #[arg(long, group = "condition")]
    pub coarse_labels: bool,
    /// One vector per image instead of a class (oracle features), used at unit length: npy or
    /// safetensors, [n, d]
    #[arg(long, value_name = "FILE", group = "condition")]
    pub vectors: Option<PathBuf>,
    /// Pseudo-labels from text: the class whose embedding is nearest to the image's
    /// (--image-embeddings); npy or safetensors, [classes, d] or [classes, prompts, d]
    #[arg(
        long,
        value_name = "FILE",
        group = "condition",
        requires = "image_embeddings"
    )]
    pub text_embeddings: Option<PathBuf>,
    /// Image embeddings of the same model, [n, d]
    #[arg(long, value_name = "FILE", requires = "text_embeddings")]
    pub image_embeddings: Option<PathBuf>,
}

impl ConditionArgs {
    /// The condition for these pictures.
    ///
    /// # Errors
    /// When a file cannot be read, the data set lacks the labels, or the condition is of another
    /// number of images.
    pub fn read(&self, pictures: &Pictures) -> anyhow::Result<Condition> {
        let condition = if let Some(path) = &self.ids {
            Condition::compacting(&read_ids(path)?)
                .with_context(|| format!("ids of {}", path.display()))?
        } else if self.labels {
            of_set(&pictures.labels, "label")?
        } else if self.coarse_labels {
            of_set(&pictures.coarse_labels, "coarse label")?
        } else if let Some(path) = &self.vectors {
            Condition::vectors(&read_vectors(path)?)
                .with_context(|| format!("vectors of {}", path.display()))?
        } else if let (Some(text), Some(images)) = (&self.text_embeddings, &self.image_embeddings) {
            Condition::compacting(&pseudo_labels(text, images)?)?
        } else {
            Condition::None
        };
        condition
            .check(pictures.shape().0, condition.label_dim())
            .with_context(|| {
                self.file()
                    .map_or_else(String::new, |path| path.display().to_string())
            })?;
        Ok(condition)
    }

    /// The file that holds one row per image.
    fn file(&self) -> Option<&Path> {
        let files = [&self.ids, &self.vectors, &self.image_embeddings];
        files.into_iter().flatten().next().map(PathBuf::as_path)
    }
}

/// From the labels that come with the images.
fn of_set(labels: &Option<Vec<i64>>, what: &str) -> anyhow::Result<Condition> {
    let labels = labels
        .as_ref()
        .with_context(|| format!("the data set has no {what}"))?;
    if let Some(index) = labels.iter().position(|&label| label < 0) {
        bail!("image {index} of the data set has no {what}: all images need one");
    }
    Ok(Condition::compacting(labels)?)
}
