//! What tch lacks: starting libtorch with or without CUDA, the TF32 switch, memory in use, tensors
//! in tensor files, and Adam on plain tensors. The only crate with `unsafe`.
//!
//! Programs here link libtorch's CPU half alone. Where `libtorch_cuda.so` can be loaded at start,
//! its static initialisers register the CUDA kernels with the dispatcher and the same program
//! computes on the GPU.

#![allow(unsafe_code)] // see `context`, `determinism`, `device` and `memory`

pub mod adam;
mod context;
mod determinism;
mod device;
mod memory;
pub mod npy;
pub mod tensor_files;
mod tf32;

pub use device::{Compute, DeviceError, Wish, start, start_training};
pub use memory::{device_bytes, peak_resident_bytes};
pub use tf32::{Tf32, allow_tf32};
