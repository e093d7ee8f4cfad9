//! Conditions for the commands `run` and `loss`: from files, from the labels of the data set, from
//! text embeddings. A new kind of condition is a file in this module that makes a [`Condition`],
//! and an option here.

mod files;
mod text;

pub use files::{read_ids, read_vectors};

use crate::pictures::Pictures;
use anyhow::{Context, bail};
use cedm_diffusion::Condition;
use cedm_runtime::InputPath;
use text::pseudo_labels;

/// The source of the condition; without any of these options the network is unconditional.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConditionArgs {
    /// Condition on one integer per image: an npy or npz file, a PyTorch file as the C-EDM authors
    /// publish, or `assignments.safetensors` of a clustering
    #[arg(long, value_name = "FILE", group = "condition")]
    pub ids: Option<InputPath>,
    /// Condition on the labels of the data set
    #[arg(long, group = "condition")]
    pub labels: bool,
    /// Condition on the coarse labels of the data set
    #[arg(long, group = "condition")]
    pub coarse_labels: bool,
    /// Condition on one vector per image (oracle features), normalised to unit length: npy,
    /// npz or safetensors, [n, d]
    #[arg(long, value_name = "FILE", group = "condition")]
    pub vectors: Option<InputPath>,
    /// Condition on pseudo-labels: for each image the class whose text embedding is nearest to its
    /// embedding in --image-embeddings; npy or safetensors, [classes, d] or [classes, prompts, d]
    #[arg(
        long,
        value_name = "FILE",
        group = "condition",
        requires = "image_embeddings"
    )]
    pub text_embeddings: Option<InputPath>,
    /// Image embeddings of the same model, [n, d]
    #[arg(long, value_name = "FILE", requires = "text_embeddings")]
    pub image_embeddings: Option<InputPath>,
}

impl ConditionArgs {
    /// Reads the condition for these images.
    ///
    /// # Errors
    /// If a file cannot be read, the data set has no labels of that kind, or the condition has
    /// another number of images.
    pub fn read(&self, pictures: &Pictures) -> anyhow::Result<Condition> {
        let condition = if let Some(file) = &self.ids {
            Condition::compacting(&file.read(read_ids)?)
                .with_context(|| format!("ids of {file}"))?
        } else if self.labels {
            from_labels(&pictures.labels, "label")?
        } else if self.coarse_labels {
            from_labels(&pictures.coarse_labels, "coarse label")?
        } else if let Some(file) = &self.vectors {
            Condition::vectors(&file.read(read_vectors)?)
                .with_context(|| format!("vectors of {file}"))?
        } else if let (Some(text), Some(images)) = (&self.text_embeddings, &self.image_embeddings) {
            Condition::compacting(&pseudo_labels(text.path()?, images.path()?)?)?
        } else {
            Condition::None
        };
        condition
            .check(pictures.shape().0, condition.label_dim())
            .with_context(|| self.file().map_or_else(String::new, InputPath::to_string))?;
        Ok(condition)
    }

    /// The file that holds one row per image, for error messages.
    pub(crate) fn file(&self) -> Option<&InputPath> {
        let files = [&self.ids, &self.vectors, &self.image_embeddings];
        files.into_iter().flatten().next()
    }

    /// Every file that is given.
    pub(crate) fn files(&self) -> impl Iterator<Item = &InputPath> {
        let embeddings = [&self.text_embeddings, &self.image_embeddings];
        let files = [&self.ids, &self.vectors].into_iter().chain(embeddings);
        files.flatten()
    }
}

/// The condition from the labels of the data set, all of which must be known.
fn from_labels(labels: &Option<Vec<i64>>, what: &str) -> anyhow::Result<Condition> {
    let labels = labels
        .as_ref()
        .with_context(|| format!("the data set has no {what}s"))?;
    if let Some(index) = labels.iter().position(|&label| label < 0) {
        bail!("image {index} of the data set has no {what}: all images need one");
    }
    Ok(Condition::compacting(labels)?)
}
