//! DINO training (Caron et al. 2021; spec §12): adapts a vision transformer to an image set
//! without labels, or trains a small one from random weights.
//!
//! Shards of images in, a backbone's weights out. It knows no job, no store and no monitor:
//! [`Training`] is stepped, saved and restored by its caller. Every random draw comes from a
//! stream derived from (seed, step, image, view) or (seed, tensor name), so that a resumed run
//! ends with the same bits as an undisturbed one (on the CPU).

#![forbid(unsafe_code)]

mod augment;
mod batch;
mod checkpoint;
mod error;
mod head;
mod images;
mod initial;
mod loss;
mod network;
mod optimiser;
mod random;
mod schedule;
mod training;

pub use error::DinoError;
pub use head::DinoHead;
pub use images::ImageSource;
pub use loss::DinoLoss;
pub use schedule::{StepSettings, teacher_temperature};
pub use training::{EpochSummary, StepReport, Training};
