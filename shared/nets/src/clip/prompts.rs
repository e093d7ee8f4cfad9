//! Pseudo-labels from text: class names become prompts, prompts a classifier, and every image gets
//! the class that fits best.

use super::{ClipText, Tokenizer};
use crate::{NetError, layers::normalise_rows};
use tch::{Kind, Tensor};

/// The five prompts of the paper's CLIP pseudo-labels; `{}` stands for the class name.
pub const TEMPLATES: [&str; 5] = [
    "a photo of a {}",
    "a blurry photo of a {}",
    "a photo of many {}",
    "a photo of the large {}",
    "a photo of the small {}",
];

/// The logit scale of published CLIPs: trained, but capped at 100.
const LOGIT_SCALE: f64 = 100.0;
/// Prompts that go through the tower at once; bounds its memory.
const BATCH: usize = 64;

/// Every template filled with every class name, class by class.
pub fn prompts_of(classes: &[String], templates: &[&str]) -> Vec<String> {
    classes
        .iter()
        .flat_map(|class| {
            templates
                .iter()
                .map(move |template| template.replace("{}", class))
        })
        .collect()
}

/// A classifier \[embed_dim, classes\]: each prompt's embedding is scaled to norm 1, those of a
/// class are averaged, and the mean is scaled to norm 1 again.
///
/// # Errors
/// When `classes` or `templates` is empty.
pub fn classifier(
    text: &ClipText,
    tokenizer: &Tokenizer,
    classes: &[String],
    templates: &[&str],
) -> Result<Tensor, NetError> {
    if classes.is_empty() || templates.is_empty() {
        return Err(NetError::extractor(
            "clip",
            "pseudo-labels need at least one class name and one prompt",
        ));
    }
    let _guard = tch::no_grad_guard();
    let prompts = prompts_of(classes, templates);
    let parts: Vec<Tensor> = prompts
        .chunks(BATCH)
        .map(|part| normalise_rows(&text.forward(&tokenizer.batch(part), &mut |_, _| {})))
        .collect();
    Ok(ensemble(&Tensor::cat(&parts, 0), classes.len() as i64))
}

/// A classifier \[embed_dim, classes\] from text embeddings that were computed elsewhere: \[classes
/// · prompts, embed_dim\], class by class.
///
/// # Errors
/// When their number is not a multiple of the number of classes.
pub fn classifier_from(embeddings: &Tensor, classes: i64) -> Result<Tensor, NetError> {
    let shape = embeddings.size();
    if shape.len() != 2 || classes < 1 || shape[0] == 0 || shape[0] % classes != 0 {
        let reason = format!(
            "text embeddings of shape {shape:?} for {classes} classes, expected [classes x \
             prompts, width]"
        );
        return Err(NetError::extractor("clip", reason));
    }
    Ok(ensemble(&normalise_rows(embeddings), classes))
}

/// The classifier from prompt embeddings of norm 1 \[classes · prompts, embed_dim\].
fn ensemble(embeddings: &Tensor, classes: i64) -> Tensor {
    let dim = embeddings.size()[1];
    let mean = embeddings
        .reshape([classes, -1, dim])
        .mean_dim([1i64].as_slice(), false, None);
    // A mean of unit vectors is shorter the less they agree; without this, classes whose prompts
    // agree would win.
    normalise_rows(&mean).tr()
}

/// Class scores and labels of images.
#[derive(Debug)]
pub struct ZeroShot {
    /// Scaled cosines to each class, \[n, classes\].
    pub logits: Tensor,
    /// Softmax of the logits, float32 \[n, classes\].
    pub scores: Tensor,
    /// Index of the largest logit, i64 \[n\].
    pub labels: Tensor,
}

/// Classifies image embeddings \[n, embed_dim\] with a classifier \[embed_dim, classes\]; the
/// embeddings need not have norm 1.
pub fn zero_shot(image_features: &Tensor, classifier: &Tensor) -> ZeroShot {
    // Cosines: both sides have norm 1.
    let logits = normalise_rows(image_features).matmul(classifier) * LOGIT_SCALE;
    ZeroShot {
        scores: logits.softmax(-1, Kind::Float),
        labels: logits.argmax(1, false),
        logits,
    }
}
