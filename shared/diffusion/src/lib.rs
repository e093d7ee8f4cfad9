//! EDM, the diffusion model: network, augmentation, training step and sampler (Karras et al. 2022;
//! C-EDM spec §7–§9).
//!
//! Tensors in, tensors out: no broker, no store. Reads and writes safetensors files of weights and
//! training states. Every random stream is derived from (seed, purpose, step), so that a run that
//! was killed goes on to the same bits. Bits hold for one kind of processor and one number of
//! threads; between devices, results agree to rounding.

#![forbid(unsafe_code)]

pub mod adam;
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
pub use network::{Labels, Mode, Network};
pub use order::DataOrder;
pub use parameters::{Parameters, Views};
pub use training::{Recipe, Training};
