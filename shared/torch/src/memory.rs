//! Memory in use by the process and on the GPU.

use std::ffi::c_int;
use tch::Device;

/// Resident memory of this process in bytes; 0 where `/proc` is not available.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

/// Highest resident memory of this process so far in bytes; 0 where `/proc` is not available.
pub fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    })
    .unwrap_or(0)
        * 1024
}

/// Memory of a GPU that is in use by all processes, in bytes; `None` for a CPU. libtorch's
/// allocator does not return memory, so this is also the highest need so far.
pub fn device_bytes(device: Device) -> Option<u64> {
    let Device::Cuda(index) = device else {
        return None;
    };
    let program = libloading::os::unix::Library::this();
    let (mut free, mut total, mut before) = (0usize, 0usize, 0 as c_int);
    // SAFETY: the CUDA runtime's own C functions with its own signatures, looked up in the library
    // that libtorch's CUDA half has loaded: `cudaGetDevice(int*)`, `cudaSetDevice(int)`,
    // `cudaMemGetInfo(size_t*, size_t*)`. They write through valid pointers; the thread's current
    // device is put back.
    let answered = unsafe {
        let get = program
            .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cudaGetDevice\0")
            .ok()?;
        let set = program
            .get::<unsafe extern "C" fn(c_int) -> c_int>(b"cudaSetDevice\0")
            .ok()?;
        let ask = program
            .get::<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int>(b"cudaMemGetInfo\0")
            .ok()?;
        let known = get(&raw mut before) == 0 && set(c_int::try_from(index).ok()?) == 0;
        let asked = known && ask(&raw mut free, &raw mut total) == 0;
        if known {
            set(before);
        }
        asked
    };
    answered.then(|| total.saturating_sub(free) as u64)
}
