//! Clustering of frozen features: exact cosine neighbours (spec §3), TEMI heads (spec §4) and
//! k-means (spec §5).
//!
//! It is a library of functions from feature tensors to cluster ids, on the device that holds the
//! features. It knows no job, no object store and no progress bar: long computations are structs
//! that a caller steps, saves and restores, or functions that call back with their progress. The
//! only files it reads and writes are TEMI's training states (safetensors).
//!
//! Every random draw comes from a stream derived from (seed, purpose, index), so that a resumed run
//! equals an uninterrupted one bit by bit.
//!
//! In the order of a clustering:
//! - [`unit_rows`]: the directions of feature rows, checked by [`cedm_maths::Features`].
//! - [`neighbours`]: the nearest rows of every row, in one process or in parts.
//! - [`temi`]: heads trained on pairs of neighbours, their weights under upstream's names.
//! - [`kmeans`]: Lloyd's algorithm, and mini-batches for sets that do not fit into memory.

#![forbid(unsafe_code)]

mod directions;
mod error;
pub mod kmeans;
pub mod neighbours;
mod random;
pub mod temi;

pub use directions::unit_rows;
pub use error::ClusteringError;
