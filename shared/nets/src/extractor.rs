//! An extractor, loaded: uint8 images in, features out. The one path that extraction and evaluation
//! share.

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
use std::path::Path;
use tch::{CModule, Device, Kind, Tensor};

/// Images that go through a network at once. Part of the result to the last bit: every pass has
/// exactly this many rows, the last one filled up, so that an image's features do not depend on its
/// neighbours or on the shard cut.
const BATCH: i64 = 32;

/// What an extractor gives.
#[derive(Debug)]
pub struct Features {
    /// float32 \[n, dim\], on the CPU.
    pub features: Tensor,
    /// float32 \[n, classes\], where the network classifies; `inception_fid`'s without the bias, as
    /// the inception score wants them.
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

/// A loaded extractor.
pub struct Extractor {
    backbone: Backbone,
    network: Network,
    kind: Kind,
    device: Device,
    batch: i64,
}

impl Extractor {
    /// Loads the extractor that `spec` names. `weights` and `fit` are the files that it says it
    /// needs (`needs_weights` and `fitted` of its row).
    ///
    /// # Errors
    /// When the name is unknown, a file is lacking, or it is another network's.
    pub fn load(
        spec: &ExtractorSpec,
        weights: Option<&Path>,
        fit: Option<&Path>,
        device: Device,
    ) -> Result<Self, NetError> {
        let _guard = tch::no_grad_guard();
        let mut backbone = known(&spec.name)?;
        let lacking = |what: &str| NetError::extractor(&spec.name, what);
        let kind = kind_of(spec.precision);
        let published = backbone.row.published.unwrap_or("any");
        let file = || weights.ok_or_else(|| lacking(&format!("needs a weight file ({published})")));
        let state = || -> Result<Weights, NetError> {
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
                backbone.preprocessing = Some(Preprocessing {
                    sizing: Sizing::Square((config.grid * config.patch) as usize),
                    statistics: IMAGENET,
                });
                Network::Vit(Vit::load(&weights, config, kind, device)?)
            }
            Architecture::Clip(config) => {
                Network::Clip(ClipVision::load(&state()?, config, kind, device)?)
            }
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
            device,
            batch: BATCH,
        })
    }

    /// The same with another number of images at once.
    #[must_use]
    pub fn with_batch(mut self, batch: i64) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Its row in the table.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Features of uint8 images \[n, 1 or 3, h, w\].
    ///
    /// # Errors
    /// When the images are no such tensor, or of a size that the extractor cannot take.
    pub fn extract(&self, images: &Tensor) -> Result<Features, NetError> {
        let _guard = tch::no_grad_guard();
        let n = images.size().first().copied().unwrap_or(0);
        if n == 0 {
            return Err(NetError::extractor(self.backbone.row.name, "no images"));
        }
        let (mut features, mut logits) = (Vec::new(), Vec::new());
        for from in (0..n).step_by(self.batch as usize) {
            let rows = self.batch.min(n - from);
            let batch = images.f_narrow(0, from, rows)?;
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
        }
        let logits = if logits.is_empty() {
            None
        } else {
            Some(Tensor::cat(&logits, 0))
        };
        Ok(Features {
            features: Tensor::cat(&features, 0),
            logits,
        })
    }

    fn pass(&self, images: &Tensor) -> Result<Features, NetError> {
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
                return Ok(Features {
                    features: to_host(&features),
                    logits,
                });
            }
            Network::Vit(net) => net.forward(&input),
            Network::Clip(net) => net.forward(&input, &mut |_, _| {}),
            Network::Inception(net, rule) => {
                let features = net.forward_by(*rule, &input)?;
                let logits = Some(to_host(&net.logits_unbiased(&features)));
                return Ok(Features {
                    features: to_host(&features),
                    logits,
                });
            }
            Network::Script(module) => self.black_box(module, &input)?,
        };
        Ok(Features {
            features: to_host(&features),
            logits: None,
        })
    }

    fn black_box(&self, module: &CModule, input: &Tensor) -> Result<Tensor, NetError> {
        let out = module.forward_ts(&[input.to_device(self.device)])?;
        match out.size()[..] {
            [n, _] if n == input.size()[0] => Ok(out),
            ref other => {
                let reason = format!(
                    "the module gave a tensor of shape {other:?} for {} images, expected [n, dim]",
                    input.size()[0]
                );
                Err(NetError::extractor(self.backbone.row.name, reason))
            }
        }
    }
}

fn script(path: &Path, kind: Kind, device: Device) -> Result<CModule, NetError> {
    let mut module = CModule::load_on_device(path, device)
        .map_err(|error| NetError::format(path, format!("no TorchScript module: {error}")))?;
    module.set_eval();
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
            format!("there is no such extractor; known are {}", names.join(", ")),
        )
    })
}

fn kind_of(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 | Precision::Tf32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp16 => Kind::Half,
    }
}

#[cfg(test)]
mod tests;
