//! What an accelerator's error means for the process that met it, by its text: libtorch says it in
//! words alone.

/// What an error of an accelerator means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// An allocation failed: the same work fits in smaller pieces, and other work as it is.
    OutOfMemory,
    /// The context of the process is broken. CUDA repeats such an error for every later call of the
    /// same process; only a new process can compute.
    Lost,
}

/// The ways in which the CPU allocator, the CUDA allocator, cuBLAS and cuDNN say that an allocation
/// failed. cuDNN that finds no engine has found none whose workspace fits.
const OUT_OF_MEMORY: [&str; 7] = [
    "out of memory",
    "can't allocate memory",
    "defaultcpuallocator",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "unable to find an engine",
    "no execution plans support the graph",
];

/// Errors of CUDA's runtime begin with the first; the libraries have their own names for a kernel
/// that did not end well.
const LOST: [&str; 6] = [
    "cuda error: ",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "nccl error",
];

/// What a message of libtorch says about the device; `None` when it is about something else.
pub fn device_fault(message: &str) -> Option<DeviceFault> {
    let message = message.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&OUT_OF_MEMORY) {
        Some(DeviceFault::OutOfMemory)
    } else if says(&LOST) {
        Some(DeviceFault::Lost)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        for text in [
            "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 79.11 GiB total capacity)",
            "CUDA error: out of memory",
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "GET was unable to find an engine to execute this computation",
        ] {
            assert_eq!(device_fault(text), Some(DeviceFault::OutOfMemory), "{text}");
        }
        for text in [
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA error: unspecified launch failure",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        ] {
            assert_eq!(device_fault(text), Some(DeviceFault::Lost), "{text}");
        }
        for text in [
            "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
            "CUDA is not available",
            "",
        ] {
            assert_eq!(device_fault(text), None, "{text}");
        }
    }
}
