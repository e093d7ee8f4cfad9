//! EDM, the diffusion model of C-EDM: network, augmentation, training step and sampler (Karras et
//! al. 2022; spec §7–§9).
//!
//! It is a library of tensor functions: it knows no message queue, no object store and no command
//! line. It reads and writes safetensors files of weights and training states, and takes its
//! settings as the parameter types of `cedm-contract`.
//!
//! Every random stream is derived from (seed, purpose, step), so that a run that was killed and
//! resumed ends on the same bits. Bits are equal on one kind of processor with one number of
//! threads; between devices, results agree to rounding.
//!
//! In the order of a run:
//! - [`Architecture`] and [`layout`]: what the network is, and the names, shapes and initial
//!   distributions of its tensors; [`Parameters`] holds the numbers, [`weights`] the files.
//! - [`network`]: SongUNet and the mapping of noise level, label and augmentation;
//!   [`precondition`]: the denoiser around it.
//! - [`Condition`] and [`DataOrder`]: what each image is conditioned on, and in which order images
//!   come; [`augment`]: the augmentation pipe.
//! - [`loss`], [`schedule`], [`Learner`]: one optimiser step; [`Training`]: the run with
//!   its state.
//! - [`sampler`]: from seeds to images.

#![forbid(unsafe_code)]

pub mod architecture;
pub mod augment;
mod condition;
mod error;
pub mod layout;
mod learner;
pub mod loss;
pub mod network;
mod order;
pub mod parameters;
pub mod precondition;
pub mod sampler;
mod scaling;
pub mod schedule;
mod state;
mod stream;
mod training;
pub mod weights;

pub use architecture::{Architecture, ImagePath};
pub use condition::Condition;
pub use error::{DiffusionError, guard_memory};
pub use learner::{Batch, Learner, Step};
pub use network::{Labels, Mode, Network, Part};
pub use order::DataOrder;
pub use parameters::{Parameters, Views};
pub use training::{Recipe, Training};
