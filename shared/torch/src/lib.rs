//! What tch lacks: starting libtorch with or without CUDA, the TF32 switch, memory in use, tensors
//! in tensor files, and Adam on plain tensors. The only crate with `unsafe`.
//!
//! Programs here link libtorch's CPU half alone. Where `libtorch_cuda.so` can be loaded at start,
//! its static initialisers register the CUDA kernels with the dispatcher and the same program
//! computes on the GPU.

#![allow(unsafe_code)] // see `load_cuda`, `memory` and `tf32`

pub mod adam;
mod memory;
pub mod npy;
pub mod tensor_files;
mod tf32;

pub use memory::{device_bytes, peak_resident_bytes, resident_bytes};
pub use tf32::allow_tf32;

use std::{path::PathBuf, sync::OnceLock};
use tch::Device;

/// What this process computes on. A worker or command gets it from [`start`], keeps it, and passes
/// the device to everything that allocates tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compute {
    /// The device to compute on.
    pub device: Device,
    /// Why this device was chosen, for logs.
    pub reason: String,
}

impl Compute {
    /// The name of the device as manifests record it: `cpu`, or `cuda:<index>`.
    pub fn device_name(&self) -> String {
        match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".to_owned(),
        }
    }
}

/// Starts libtorch and chooses the device: loads the CUDA half if it is installed, sets the number
/// of intra-op threads (`CEDM_THREADS`, otherwise all cores) and forbids TF32, so that float32
/// products have float32 precision unless a job asks for less. `CEDM_DEVICE=cpu` stays on the CPU,
/// `CEDM_DEVICE=cuda:1` chooses a GPU.
///
/// A process can load libtorch's CUDA half and set its threads only once, so the first result is
/// kept here and later calls return it. Call this where a program begins; code below takes the
/// device as an argument.
pub fn start() -> Compute {
    static FIRST: OnceLock<Compute> = OnceLock::new();
    let compute = FIRST.get_or_init(|| {
        let threads = std::env::var("CEDM_THREADS")
            .ok()
            .and_then(|text| text.parse().ok());
        let threads = threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as i32));
        tch::set_num_threads(threads.max(1));
        allow_tf32(false);
        choose(std::env::var("CEDM_DEVICE").unwrap_or_default().trim())
    });
    compute.clone()
}

/// On a GPU, lets cuDNN try its algorithms once for every shape and keep the fastest, as upstream
/// does: the shapes of a training step never change. Which one wins may differ between runs, so
/// jobs whose results must be reproducible do not call this. The setting is libtorch's and holds
/// for the whole process.
pub fn start_training(device: Device) {
    if device.is_cuda() {
        tch::Cuda::cudnn_set_benchmark(true);
    }
}

/// The device for a value of `CEDM_DEVICE`; empty for the first GPU, or the CPU without one.
fn choose(requested: &str) -> Compute {
    let cpu = |reason: String| Compute {
        device: Device::Cpu,
        reason,
    };
    if requested == "cpu" {
        return cpu("CEDM_DEVICE=cpu".to_owned());
    }
    let index = requested
        .strip_prefix("cuda")
        .and_then(|rest| rest.trim_start_matches(':').parse().ok())
        .unwrap_or(0);
    match load_cuda() {
        Err(reason) => cpu(reason),
        Ok(()) if !tch::Cuda::is_available() => {
            cpu("libtorch_cuda.so is loaded, but no GPU is available".to_owned())
        }
        Ok(()) if index >= tch::Cuda::device_count() as usize => cpu(format!(
            "GPU {index} does not exist: found {}",
            tch::Cuda::device_count()
        )),
        Ok(()) => Compute {
            device: Device::Cuda(index),
            reason: format!("GPU {index} of {}", tch::Cuda::device_count()),
        },
    }
}

/// Loads `libtorch_cuda.so` by the loader's search path, or from the folder that holds this
/// program's `libtorch_cpu.so`.
fn load_cuda() -> Result<(), String> {
    let mut places = vec![PathBuf::from("libtorch_cuda.so")];
    places.extend(libtorch_folder().map(|folder| folder.join("libtorch_cuda.so")));
    let mut reason = String::new();
    for place in places {
        // SAFETY: the library is libtorch's own other half; its initialisers only register kernels
        // with the dispatcher of the CPU half that is loaded already. It is never unloaded.
        match unsafe {
            libloading::os::unix::Library::open(
                Some(&place),
                libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_GLOBAL,
            )
        } {
            Ok(library) => {
                std::mem::forget(library);
                return Ok(());
            }
            Err(error) => reason = format!("CPU: {error}"),
        }
    }
    Err(reason)
}

/// Folder of the loaded `libtorch_cpu.so`, from the memory map of this process.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps
        .lines()
        .find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let path = &line[line.find('/')?..];
    PathBuf::from(path).parent().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_device_that_computes() {
        let compute = start();
        assert!(!compute.reason.is_empty());
        let sum = tch::Tensor::ones([4], (tch::Kind::Float, compute.device))
            .sum(tch::Kind::Float)
            .double_value(&[]);
        assert_eq!(sum, 4.0);
        assert!(resident_bytes() > 0 && peak_resident_bytes() >= resident_bytes() / 2);
    }

    #[test]
    fn the_cpu_can_be_requested() {
        let compute = choose("cpu");
        assert_eq!(compute.device, Device::Cpu);
        assert_eq!(compute.device_name(), "cpu");
        assert_eq!(device_bytes(compute.device), None);
    }

    #[test]
    fn the_name_of_a_gpu_has_its_index() {
        let compute = Compute {
            device: Device::Cuda(1),
            reason: String::new(),
        };
        assert_eq!(compute.device_name(), "cuda:1");
    }
}
