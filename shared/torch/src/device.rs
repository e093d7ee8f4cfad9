//! Where a process computes: what was asked for, what there is, and what follows from both.
//!
//! Everything about CUDA goes through this module, and only after [`load_cuda`]: libtorch decides
//! at the first question whether it has CUDA hooks, and keeps the answer.

use crate::determinism;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::{fmt, num::NonZeroI32, path::PathBuf, str::FromStr, sync::OnceLock};
use tch::Device;

/// What this process computes on. A worker or command gets it from [`start`], keeps it, and passes
/// the device to everything that allocates tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compute {
    /// The device to compute on.
    pub device: Device,
    /// Why this device was chosen, in words.
    pub reason: String,
    /// Whether the same computation gives the same bits again: always on a CPU, on a GPU where
    /// `CEDM_DETERMINISTIC` asks for it.
    pub deterministic: bool,
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

/// Why a process cannot compute as its environment asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A value that means nothing.
    #[error("{variable}: found `{}`, expected {expected}", found.escape_debug())]
    Value {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// This libtorch cannot be made to repeat its bits.
    #[error("CEDM_DETERMINISTIC: this libtorch has no such switch as `{0}`")]
    NoSwitch(&'static str),
    /// A device that is not there.
    #[error(
        "CEDM_DEVICE={wish}: {reason}; CEDM_DEVICE=auto takes the first GPU and falls back to the CPU"
    )]
    Missing {
        /// The device that was asked for.
        wish: Wish,
        /// Why it cannot be had.
        reason: String,
    },
}

/// The device that was asked for, the value of `CEDM_DEVICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// The first GPU, else the CPU; also what an empty value means.
    #[default]
    Auto,
    /// The CPU, whatever else there is.
    Cpu,
    /// A GPU by its index in the order of the driver, and nothing else.
    Cuda(usize),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wish::Auto => f.write_str("auto"),
            Wish::Cpu => f.write_str("cpu"),
            Wish::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Wish {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let index = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        };
        match text.trim() {
            "" | "auto" => Some(Wish::Auto),
            "cpu" => Some(Wish::Cpu),
            "cuda" => Some(Wish::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(index).map(Wish::Cuda),
        }
        .ok_or_else(|| DeviceError::Value {
            variable: "CEDM_DEVICE",
            found: text.to_owned(),
            expected: "auto, cpu, cuda, or cuda: with the index of a GPU, as cuda:0",
        })
    }
}

/// Starts libtorch and chooses the device: loads the CUDA half if it is installed and not refused,
/// sets the number of intra-op threads (`CEDM_THREADS`, otherwise all cores) and forbids TF32, so
/// that float32 products have float32 precision unless a job asks for less. `CEDM_DEVICE` is a
/// [`Wish`]: `auto` falls back to the CPU, a GPU that was named does not.
///
/// A process can load libtorch's CUDA half and set its threads only once, so the first result is
/// kept here and later calls return it. Call this where a program begins; code below takes the
/// device as an argument.
///
/// # Errors
/// [`DeviceError`]: a variable has a meaningless value, or the GPU that was asked for is not there.
pub fn start() -> Result<Compute, DeviceError> {
    static FIRST: OnceLock<Result<Compute, DeviceError>> = OnceLock::new();
    let begin = || {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let threads = threads(&variable("CEDM_THREADS"))?;
        let wish: Wish = variable("CEDM_DEVICE").parse()?;
        let deterministic = is_on("CEDM_DETERMINISTIC", &variable("CEDM_DETERMINISTIC"))?;
        let compute = decide(wish, deterministic, gpus)?;
        tch::set_num_threads(threads);
        crate::allow_tf32(false);
        if compute.device.is_cuda() {
            crate::memory::use_device(compute.device);
            if deterministic {
                determinism::check_workspace(&variable(determinism::WORKSPACE))?;
                determinism::demand()?;
            }
        }
        Ok(compute)
    };
    FIRST.get_or_init(begin).clone()
}

/// On a GPU, lets cuDNN try its algorithms once for every shape and keep the fastest, as upstream
/// does: the shapes of a training step never change. Which one wins may differ between runs, so
/// nothing is tried where equal bits were asked for. The setting is libtorch's and holds for the
/// whole process.
pub fn start_training(compute: &Compute) {
    if compute.device.is_cuda() && !compute.deterministic {
        tch::Cuda::cudnn_set_benchmark(true);
    }
}

/// A switch: off when empty.
fn is_on(variable: &'static str, text: &str) -> Result<bool, DeviceError> {
    match text.trim() {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(DeviceError::Value {
            variable,
            found: text.to_owned(),
            expected: "true or false",
        }),
    }
}

fn threads(text: &str) -> Result<i32, DeviceError> {
    if text.trim().is_empty() {
        return Ok(std::thread::available_parallelism()
            .map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX)));
    }
    let parsed: Option<NonZeroI32> = text.trim().parse().ok();
    parsed
        .map(NonZeroI32::get)
        .filter(|threads| *threads > 0)
        .ok_or_else(|| DeviceError::Value {
            variable: "CEDM_THREADS",
            found: text.to_owned(),
            expected: "a number of threads from 1",
        })
}

/// The device for a wish. `gpus` counts them, or says why there is none; it is not asked when the
/// CPU is wanted.
fn decide(
    wish: Wish,
    deterministic: bool,
    gpus: impl FnOnce() -> Result<usize, String>,
) -> Result<Compute, DeviceError> {
    let cpu = |reason: String| Compute {
        device: Device::Cpu,
        reason,
        deterministic: true,
    };
    let index = match wish {
        Wish::Cpu => return Ok(cpu("CEDM_DEVICE=cpu".to_owned())),
        Wish::Auto => 0,
        Wish::Cuda(index) => index,
    };
    let reason = match gpus() {
        Ok(count) if index < count => {
            return Ok(Compute {
                device: Device::Cuda(index),
                reason: format!("GPU {index} of {count}"),
                deterministic,
            });
        }
        Ok(count) => format!("found {count} GPUs, numbered from 0"),
        Err(reason) => reason,
    };
    match wish {
        Wish::Cuda(_) => Err(DeviceError::Missing { wish, reason }),
        Wish::Auto | Wish::Cpu => Ok(cpu(reason)),
    }
}

/// How many GPUs libtorch can use, or why none.
fn gpus() -> Result<usize, String> {
    load_cuda()?;
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    if tch::Cuda::is_available() && count > 0 {
        return Ok(count);
    }
    let driver = driver_version().map_or_else(
        || "no NVIDIA driver is loaded".to_owned(),
        |version| format!("the NVIDIA driver is {version}"),
    );
    Err(format!(
        "libtorch's CUDA half is loaded but finds no GPU that it can use: {driver}; libtorch for \
         CUDA 13 needs 580 or newer"
    ))
}

/// Version of the kernel's NVIDIA driver, from its own file.
fn driver_version() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    driver_in(&text)
}

/// The version in the driver's sentence about itself: the first word that is three numbers, or two.
fn driver_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        let mut parts = word.split('.');
        (2..=3).contains(&word.split('.').count())
            && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.split_whitespace().find(is_version).map(str::to_owned)
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
        match unsafe { Library::open(Some(&place), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => {
                std::mem::forget(library);
                return Ok(());
            }
            Err(error) => reason = format!("libtorch's CUDA half cannot be loaded: {error}"),
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
        let compute = start().unwrap();
        assert!(!compute.reason.is_empty());
        let sum = tch::Tensor::ones([4], (tch::Kind::Float, compute.device))
            .sum(tch::Kind::Float)
            .double_value(&[]);
        assert_eq!(sum, 4.0);
        assert_eq!(start().unwrap(), compute, "the first choice is kept");
    }

    #[test]
    fn only_a_wish_that_may_fall_back_falls_back() {
        let none = || Err("no driver".to_owned());
        let auto = decide(Wish::Auto, false, none).unwrap();
        assert_eq!((auto.device, &*auto.reason), (Device::Cpu, "no driver"));
        let error = decide(Wish::Cuda(0), false, none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CEDM_DEVICE=cuda:0: no driver; CEDM_DEVICE=auto takes the first GPU and falls back to the CPU"
        );
        let error = decide(Wish::Cuda(7), false, || Ok(2)).unwrap_err();
        assert!(error.to_string().contains("found 2 GPUs"), "{error}");
        assert_eq!(
            decide(Wish::Auto, false, || Ok(2)).unwrap().device,
            Device::Cuda(0)
        );
        let second = decide(Wish::Cuda(1), true, || Ok(2)).unwrap();
        assert_eq!(second.device, Device::Cuda(1));
        assert_eq!(second.device_name(), "cuda:1");
        assert!(
            second.deterministic && !decide(Wish::Auto, false, || Ok(2)).unwrap().deterministic
        );
        let cpu = decide(Wish::Cpu, false, || panic!("CUDA is not touched")).unwrap();
        assert_eq!(cpu.device_name(), "cpu");
    }

    #[test]
    fn a_device_that_means_nothing_is_an_error() {
        for (text, expected) in [
            ("", Wish::Auto),
            ("auto", Wish::Auto),
            (" cpu ", Wish::Cpu),
            ("cuda", Wish::Cuda(0)),
            ("cuda:3", Wish::Cuda(3)),
        ] {
            assert_eq!(text.parse::<Wish>().unwrap(), expected, "{text}");
        }
        for text in [
            "gpu7", "cuda7", "cuda:", "cuda:-1", "cuda:+1", "CPU", "cuda:0,1",
        ] {
            let error = text.parse::<Wish>().unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("CEDM_DEVICE"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_switch_is_on_or_off() {
        let is_on = |text| is_on("CEDM_DETERMINISTIC", text);
        assert_eq!(
            (is_on(""), is_on("false"), is_on("1")),
            (Ok(false), Ok(false), Ok(true))
        );
        let error = is_on("maybe").unwrap_err().to_string();
        assert!(
            error.contains("`maybe`") && error.contains("CEDM_DETERMINISTIC"),
            "{error}"
        );
    }

    #[test]
    fn threads_are_a_number_from_one() {
        assert_eq!(threads("3"), Ok(3));
        assert!(threads("").unwrap() >= 1);
        for text in ["0", "-2", "many", "1.5"] {
            let error = threads(text).unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("CEDM_THREADS"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_drivers_sentence_holds_its_version() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release \
                    Build\nGCC version: gcc 12.2.0";
        assert_eq!(driver_in(text).as_deref(), Some("580.95.05"));
        assert_eq!(driver_in("nothing of the kind"), None);
    }
}
