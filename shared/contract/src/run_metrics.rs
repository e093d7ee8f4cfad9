//! Names of the numbers in [`crate::Manifest::metrics`]: how a job ran, apart from what it found.

/// Images processed per second of computation.
pub const IMAGES_PER_SECOND: &str = "images_per_second";
/// Images that a training segment saw in the process that finished it; fewer than the segment has
/// when it was resumed from a checkpoint.
pub const IMAGES_IN_THIS_PROCESS: &str = "images_in_this_process";
/// Images that a training computed at once: its micro-batch, or fewer where memory did not suffice.
pub const IMAGES_AT_ONCE: &str = "images_at_once";
/// Pairs of rows that a search for neighbours compared per second.
pub const PAIRS_PER_SECOND: &str = "pairs_per_second";
/// Optimiser steps of TEMI per second.
pub const STEPS_PER_SECOND: &str = "steps_per_second";
/// Duration of a clustering in seconds.
pub const CLUSTER_SECONDS: &str = "cluster_seconds";
/// Duration of an adaptation in seconds.
pub const SECONDS: &str = "seconds";
/// Share of cluster slots with at least one image, as in the result of a clustering.
pub const UTILISATION: &str = "utilisation";
/// Columns of the matrix root of a reference.
pub const RANK: &str = "rank";
/// Memory of the process in bytes, as the operating system counts it.
pub const RESIDENT_BYTES: &str = "resident_bytes";
/// Memory on the accelerator in bytes; 0 without one.
pub const DEVICE_BYTES: &str = "device_bytes";
