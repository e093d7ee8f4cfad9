//! Which tensors of a training checkpoint are the backbone (spec §2.2).

use super::{Weights, names};

/// Which of the two encoders of a self-supervised checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoder {
    /// The slow one: DINO's and iBOT's teacher, MoCo v3's momentum encoder.
    #[default]
    Teacher,
    /// The trained one: the student, MoCo v3's base encoder.
    Student,
}

/// Dictionaries that hold a state dict.
const CONTAINERS: [&str; 6] = [
    "state_dict.",
    "model_state_dict.",
    "model.",
    "net.",
    "weights.",
    "params.",
];
/// Dictionaries that hold the running mean of the weights, as timm, BasicSR and others name them.
/// Beside the weights themselves it is what a teacher is: the network that people evaluate.
const MEANS: [&str; 6] = [
    "ema.",
    "model_ema.",
    "ema_model.",
    "state_dict_ema.",
    "ema_state_dict.",
    "params_ema.",
];
/// What wrappers put before every name.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "backbone."];
/// Parts of a training checkpoint that are not a backbone.
const DROPPED: [&str; 3] = ["head.", "predictor.", "projector."];

impl Weights {
    /// The backbone of one of the encoders, names as the backbone itself has them.
    ///
    /// Looks for a container (`teacher`, `state_dict`, …), strips `module.` and `backbone.`, picks
    /// MoCo v3's encoder, or for the teacher the running mean of the weights (`ema`), leaves
    /// projection heads out, and gives tensors that another library has named upstream's names.
    /// Whatever else stands before the one ViT of a file (`encoder.`) is stripped too.
    pub fn backbone(&self, encoder: Encoder) -> Weights {
        let (own, other, moco) = match encoder {
            Encoder::Teacher => ("teacher.", "student.", "momentum_encoder."),
            Encoder::Student => ("student.", "teacher.", "base_encoder."),
        };
        let mut weights = self.shallow_clone();
        let mut stripped = false;
        // Each round strips one layer; a file has a few at most.
        let (first, last) = match encoder {
            Encoder::Teacher => (&MEANS[..], &[][..]),
            Encoder::Student => (&[][..], &MEANS[..]),
        };
        while let Some(prefix) = [own, other, moco]
            .iter()
            .chain(first)
            .chain(&CONTAINERS)
            .chain(&WRAPPERS)
            .chain(last)
            .find(|prefix| weights.has_below(prefix))
        {
            weights = weights.below(prefix);
            stripped = true;
        }
        if let Some(prefix) = names::only_vit(&weights) {
            weights = weights.below(&prefix);
            stripped = true;
        }
        let clip = weights.get(names::TIMM_CLIP).is_some();
        if (stripped || weights.has_below("predictor.")) && !clip {
            weights = weights.renamed(|name| {
                (!DROPPED.iter().any(|part| name.starts_with(part))).then(|| name.to_owned())
            });
        }
        names::upstream(weights)
    }

    /// The projection head beside a backbone, without `head.`.
    pub fn head(&self, encoder: Encoder) -> Weights {
        let own = match encoder {
            Encoder::Teacher => "teacher.",
            Encoder::Student => "student.",
        };
        let inside = if self.has_below(own) {
            self.below(own)
        } else {
            self.shallow_clone()
        };
        let inside = if inside.has_below("module.") {
            inside.below("module.")
        } else {
            inside
        };
        inside.below("head.")
    }

    /// Whether any name starts with `prefix`.
    pub(crate) fn has_below(&self, prefix: &str) -> bool {
        self.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// The same tensors again.
    pub fn shallow_clone(&self) -> Weights {
        self.renamed(|name| Some(name.to_owned()))
    }
}
