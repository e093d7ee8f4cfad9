//! The networks: feature extractors with their upstream weight names, and the files that weights
//! come in.
//!
//! [`Extractor`] is the whole path from uint8 images to features, preprocessing included;
//! [`extractors`] lists what there is. [`Weights`] reads safetensors, PyTorch zip and legacy files
//! as data. The networks compute in the precision of their weights.

#![forbid(unsafe_code)]

mod cifar_resnet;
pub mod clip;
mod error;
mod extractor;
pub mod inception;
mod layers;
mod pixels;
pub mod preprocess;
mod registry;
#[cfg(test)]
mod testing;
pub mod vit;
pub mod weights;

pub use cifar_resnet::CifarResnet;
pub use error::NetError;
pub use extractor::{Extractor, Features};
pub use layers::normalise_rows;
pub use pixels::{Pca, PcaFit};
pub use registry::{Architecture, Backbone, extractor, extractors, text_tower};
pub use weights::Weights;
