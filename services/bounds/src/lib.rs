//! Bounds: from the utilisation of clusterings so far to the next C to probe, or to C_max.
//!
//! The search itself is pure ([`search`], [`next`]); the service wraps each of its steps into a job, so that nothing waits in a
//! worker while clusterings are computed. It reads cluster manifests and writes none but its own decision. No tensors.

#![forbid(unsafe_code)]

mod run;
mod search;
mod worker;

pub use run::RunArgs;
pub use search::{Grid, Observation, Search, next, search, utilisation};
pub use worker::Bounds;
