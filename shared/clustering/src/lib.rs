//! Clusters of frozen features: exact cosine neighbours (spec §3), TEMI heads (spec §4) and k-means
//! (spec §5).
//!
//! Tensors in, ids out, on whatever device the features lie on. It knows no job, no store and no
//! monitor: long computations are structs that a caller steps, saves and restores. Every random
//! draw comes from a stream derived from (seed, purpose, index), so that a resumed run equals an
//! undisturbed one bit by bit.

#![forbid(unsafe_code)]

mod error;
mod features;
pub mod kmeans;
pub mod neighbours;
mod random;
pub mod temi;

pub use error::ClusteringError;
pub use features::Features;
