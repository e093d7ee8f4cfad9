//! TEMI: clustering heads that teach each other which neighbours belong together (spec §4).
//!
//! All heads are trained side by side: their weights are stacked and every layer is one batched
//! matrix product. On a CPU a step goes through them in groups small enough for the cache; the loss
//! couples heads only through the instance weight, which needs the teachers alone, so groups are
//! independent after the teachers' pass.

mod draws;
mod gradients;
mod heads;
mod loss;
mod names;
mod optimiser;
mod schedule;
mod shape;
mod state;
mod training;

pub use draws::{EpochDraws, epoch_draws};
pub use gradients::{Activations, backward, forward_keeping};
pub use heads::{Heads, Standardisation};
pub use loss::{Marginal, Targets, student_loss, targets};
pub use names::{Model, from_upstream, to_upstream};
pub use optimiser::{AdamW, StepSettings};
pub use schedule::{Schedules, cosine, linspace};
pub use shape::HeadShape;
pub use training::{Assigned, EpochFacts, StepInput, Training};
