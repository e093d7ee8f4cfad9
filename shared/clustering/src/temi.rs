//! TEMI: clustering heads trained by self-distillation to give an image and its neighbours the same
//! cluster, while all clusters are used (Adaloglou et al. 2023; spec §4).
//!
//! All heads are trained side by side: their weights are stacked, and every layer is one batched
//! matrix product. On a CPU a step goes through them in groups small enough for the cache. Only the
//! instance weight of a pair couples the heads, and it needs the teachers alone, so groups are
//! independent after the teachers' forward pass.
//!
//! In the order of a training: [`HeadShape`] and [`Heads`] (weights), [`epoch_draws`] (pairs),
//! [`targets`] and [`student_loss`] (loss and its gradient), [`backward`] (gradients of the
//! weights), [`cedm_torch::adam::Adam`] and [`Schedules`] (update), [`Training`] (all of it),
//! [`Model`] (weights under upstream's names).

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
pub use gradients::{Activations, backward, forward_with_activations};
pub use heads::{Heads, Standardisation};
pub use loss::{Marginal, Targets, student_loss, targets};
pub use names::{Model, from_upstream, to_upstream};
pub use optimiser::{HeadMoments, StepSettings};
pub use schedule::{Schedules, linspace};
pub use shape::HeadShape;
pub use training::{Assignment, EpochSummary, PairBatch, Training};
