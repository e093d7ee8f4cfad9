//! Feature extractors under their upstream weight names, and the weight files they are loaded
//! from.
//!
//! [`Extractor`] is the whole path from uint8 images to features, preprocessing included;
//! [`extractors`] lists all of them. [`Weights`] reads safetensors, PyTorch zip and legacy files
//! as data: nothing in a file is executed. The networks compute in the precision of their weights,
//! on the device that they are loaded to. No training, no jobs, no storage.
//!
//! Modules in the order from a weight file to features: `registry` (which network an extractor
//! has), `weights` (files as named tensors), `arrays` (features and ids that people bring), `shard`
//! and `preprocess` (images as tensors), `layers`, the networks `vit`, `clip`, `inception` and
//! `cifar_resnet`, `pixels` (extractors without a network), `extractor` (all of it together),
//! `error`.

#![forbid(unsafe_code)]

pub mod arrays;
mod cifar_resnet;
pub mod clip;
mod error;
mod extractor;
pub mod inception;
mod layers;
mod pixels;
pub mod preprocess;
mod registry;
mod shard;
#[cfg(test)]
mod testing;
pub mod vit;
pub mod weights;

pub use cifar_resnet::CifarResnet;
pub use error::NetError;
pub use extractor::{Extracted, Extractor, nearest};
pub use layers::normalise_rows;
pub use pixels::{Pca, PcaFit};
pub use registry::{Architecture, Backbone, extractor, extractors, text_tower};
pub use shard::images_of;
pub use weights::Weights;
