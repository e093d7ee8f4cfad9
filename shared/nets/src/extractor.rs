//! A loaded extractor: uint8 images in, features out. Extraction and evaluation share this path,
//! so that their features agree to the last bit.

mod nearest;

use crate::{
    Architecture, Backbone, CifarResnet, NetError, Pca, Weights,
    clip::ClipVision,
    extractor, extractors,
    inception::{Inception, resize::Rule},
    layers::to_host,
    pixels::pixels,
    preprocess::{IMAGENET, Preprocessing, Sizing},
    vit::{Vit, VitConfig},
    weights::Encoder,
};
use cedm_contract::{ExtractorSpec, Precision};
pub use nearest::nearest;
use std::path::Path;
use tch::{CModule, Device, Kind, Tensor};

/// Images that go through a network at once. libtorch picks its matrix kernels by the number of
/// rows, and they round differently; every pass therefore has exactly this many rows, the last one
/// padded, and an image's features do not depend on its neighbours or on how shards are cut.
/// Another number changes the last bits of all features.
const BATCH: i64 = 32;

/// The output of an extractor.
#[derive(Debug)]
pub struct Extracted {
    /// float32 \[n, dim\], on the CPU.
    pub features: Tensor,
    /// float32 \[n, classes\] on the CPU, where the network classifies. Those of Inception are
    /// without the bias, as the inception score uses them.
    pub logits: Option<Tensor>,
}

enum Network {
    Pixels,
    Pca(Pca),
    CifarResnet(CifarResnet),
    Vit(Vit),
    Clip(ClipVision),
    Inception(Inception, Rule),
    Script(CModule),
}

/// An extractor with its weights, ready to compute features.
pub struct Extractor {
    backbone: Backbone,
    network: Network,
    kind: Kind,
    /// Whether float32 products may be rounded to TF32 on a GPU.
    tf32: bool,
    device: Device,
    batch: i64,
}

impl Extractor {
    /// Loads the extractor that `spec` names onto `device`, in the precision of `spec`. `weights`
    /// is needed where `needs_weights` of its table row is set, `fit` where `fitted` is.
    ///
    /// # Errors
    /// When the name is unknown, or a file is missing or belongs to another network.
    pub fn load(
        spec: &ExtractorSpec,
        weights: Option<&Path>,
        fit: Option<&Path>,
        device: Device,
    ) -> Result<Self, NetError> {
        Self::load_named(spec, weights, fit, device).map_err(|error| match (error, weights) {
            (
                NetError::Mismatch {
                    architecture,
                    missing,
                    unexpected,
                    misshapen,
                    nearest: None,
                },
                Some(file),
            ) => {
                let mismatch = NetError::Mismatch {
                    nearest: Weights::read(file)
                        .ok()
                        .and_then(|weights| nearest(&weights)),
                    architecture,
                    missing,
                    unexpected,
                    misshapen,
                };
                NetError::format(file, mismatch.to_string())
            }
            (error, _) => error,
        })
    }

    fn load_named(
        spec: &ExtractorSpec,
        weights: Option<&Path>,
        fit: Option<&Path>,
        device: Device,
    ) -> Result<Self, NetError> {
        let _guard = tch::no_grad_guard();
        let mut backbone = known(&spec.name)?;
        let lacking = |what: &str| NetError::extractor(&spec.name, what);
        let kind = kind_of(spec.precision);
        // Named in the error message: where such a file can be downloaded.
        let published = backbone.row.published.unwrap_or("any");
        let file = || weights.ok_or_else(|| lacking(&format!("needs a weight file ({published})")));
        let state = || -> Result<Weights, NetError> {
            // Training checkpoints hold student and teacher; features come from the teacher.
            Ok(Weights::read(file()?)?.backbone(Encoder::Teacher))
        };
        let network = match backbone.architecture {
            Architecture::Pixels => Network::Pixels,
            Architecture::Pca => Network::Pca(Pca::read(
                fit.ok_or_else(|| lacking("must be fitted to the image set first"))?,
            )?),
            Architecture::CifarResnet { blocks } => {
                Network::CifarResnet(CifarResnet::load(&state()?, blocks, kind, device)?)
            }
            Architecture::Vit(config) => Network::Vit(Vit::load(&state()?, config, kind, device)?),
            Architecture::VitOfFile => {
                let weights = state()?;
                let config = VitConfig::of(&weights)?;
                // An adapted network reads images of the size that it was trained on.
                backbone.preprocessing = Some(Preprocessing {
                    sizing: Sizing::Square((config.grid * config.patch) as usize),
                    statistics: IMAGENET,
                });
                Network::Vit(Vit::load(&weights, config, kind, device)?)
            }
            Architecture::Clip(config) => {
                Network::Clip(ClipVision::load(&state()?, config, kind, device)?)
            }
            // Not `state()`: these files never hold student and teacher.
            Architecture::InceptionFid(rule) => Network::Inception(
                Inception::load(&Weights::read(file()?)?, kind, device)?,
                rule,
            ),
            Architecture::TorchScript => Network::Script(script(file()?, kind, device)?),
        };
        Ok(Self {
            backbone,
            network,
            kind,
            tf32: spec.precision == Precision::Tf32,
            device,
            batch: BATCH,
        })
    }

    /// The same with another number of images in one pass; changes the last bits of the features.
    #[must_use]
    pub fn with_batch(mut self, batch: i64) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Its row in the table of extractors.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Features of uint8 images \[n, 1 or 3, h, w\].
    ///
    /// # Errors
    /// When there are no images, the tensor is of another type or shape, or the extractor cannot
    /// take images of this size.
    pub fn extract(&self, images: &Tensor) -> Result<Extracted, NetError> {
        self.extract_reporting(images, &mut || ())
    }

    /// The same, with a call of `on_batch` after every batch.
    ///
    /// # Errors
    /// As [`Extractor::extract`].
    pub fn extract_reporting(
        &self,
        images: &Tensor,
        on_batch: &mut dyn FnMut(),
    ) -> Result<Extracted, NetError> {
        let _guard = tch::no_grad_guard();
        let _tf32 = cedm_torch::Tf32::set(self.tf32);
        let n = images.size().first().copied().unwrap_or(0);
        if n == 0 {
            return Err(NetError::extractor(self.backbone.row.name, "no images"));
        }
        let (mut features, mut logits) = (Vec::new(), Vec::new());
        for from in (0..n).step_by(self.batch as usize) {
            let rows = self.batch.min(n - from);
            let batch = images.f_narrow(0, from, rows)?;
            // Padding repeats the first image; its rows are cut off again below.
            let batch = if rows < self.batch {
                Tensor::f_cat(
                    &[
                        batch,
                        images.f_narrow(0, 0, 1)?.repeat_interleave_self_int(
                            self.batch - rows,
                            0,
                            None,
                        ),
                    ],
                    0,
                )?
            } else {
                batch
            };
            let part = self.pass(&batch)?;
            features.push(part.features.narrow(0, 0, rows));
            logits.extend(part.logits.map(|logits| logits.narrow(0, 0, rows)));
            on_batch();
        }
        let logits = if logits.is_empty() {
            None
        } else {
            Some(Tensor::cat(&logits, 0))
        };
        Ok(Extracted {
            features: Tensor::cat(&features, 0),
            logits,
        })
    }

    fn pass(&self, images: &Tensor) -> Result<Extracted, NetError> {
        // Inception resizes by its own rule, pixels and components read bytes.
        let input = match &self.backbone.preprocessing {
            Some(preprocessing) => preprocessing.apply(images)?.to_kind(self.kind),
            None => images.shallow_clone(),
        };
        let features = match &self.network {
            Network::Pixels => pixels(images)?,
            Network::Pca(pca) => pca.forward(images)?,
            Network::CifarResnet(net) => {
                let features = net.forward(&input);
                let logits = Some(to_host(&net.logits(&features)));
                return Ok(Extracted {
                    features: to_host(&features),
                    logits,
                });
            }
            Network::Vit(net) => net.forward(&input),
            Network::Clip(net) => net.forward(&input, &mut |_, _| {}),
            Network::Inception(net, rule) => {
                let features = net.forward_by(*rule, &input)?;
                // The inception score is defined on scores without bias, as in the TensorFlow
                // graph.
                let logits = Some(to_host(&net.logits_unbiased(&features)));
                return Ok(Extracted {
                    features: to_host(&features),
                    logits,
                });
            }
            Network::Script(module) => self.black_box(module, &input)?,
        };
        Ok(Extracted {
            features: to_host(&features),
            logits: None,
        })
    }

    fn black_box(&self, module: &CModule, input: &Tensor) -> Result<Tensor, NetError> {
        let out = module.forward_ts(&[input.to_device(self.device)])?;
        // A module from elsewhere: nothing but this check fixes the shape of its output.
        match out.size()[..] {
            [n, _] if n == input.size()[0] => Ok(out),
            ref other => {
                let reason = format!(
                    "the module returned a tensor of shape {other:?} for {} images, expected [n, dim]",
                    input.size()[0]
                );
                Err(NetError::extractor(self.backbone.row.name, reason))
            }
        }
    }
}

fn script(path: &Path, kind: Kind, device: Device) -> Result<CModule, NetError> {
    let mut module = CModule::load_on_device(path, device)
        .map_err(|error| NetError::format(path, format!("not a TorchScript module: {error}")))?;
    module.set_eval();
    // A module computes in the precision it was saved in unless another one is asked for.
    if kind != Kind::Float {
        module.to(device, kind, false);
    }
    Ok(module)
}

fn known(name: &str) -> Result<Backbone, NetError> {
    extractor(name).ok_or_else(|| {
        let names: Vec<&str> = extractors().map(|backbone| backbone.row.name).collect();
        NetError::extractor(
            name,
            format!("does not exist; known are {}", names.join(", ")),
        )
    })
}

fn kind_of(precision: Precision) -> Kind {
    match precision {
        // TF32 is a mode of float32 matrix products on the GPU, not a type of tensor.
        Precision::Fp32 | Precision::Tf32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp16 => Kind::Half,
    }
}

#[cfg(test)]
mod tests;
