//! Memory in use by the process and on the GPU.

use std::ffi::c_int;
use tch::Device;

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

/// Makes a GPU the current one of the calling thread, so that what asks for "the current device"
/// (the memory in use, see [`device_bytes`]) never touches another GPU: the first call that touches
/// a GPU creates a context there, which costs hundreds of megabytes.
pub(crate) fn use_device(device: Device) {
    let Device::Cuda(index) = device else { return };
    let (Some(set), Ok(index)) = (
        symbol::<SetDevice>(b"cudaSetDevice\0"),
        c_int::try_from(index),
    ) else {
        return;
    };
    // SAFETY: the CUDA runtime's `cudaSetDevice(int)`, with its own signature.
    unsafe {
        set(index);
    }
}

type SetDevice = unsafe extern "C" fn(c_int) -> c_int;
type GetDevice = unsafe extern "C" fn(*mut c_int) -> c_int;
type MemGetInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;

/// A C function of the CUDA runtime, looked up in the library that libtorch's CUDA half has loaded.
fn symbol<T: Copy>(name: &[u8]) -> Option<T> {
    let program = libloading::os::unix::Library::this();
    // SAFETY: callers name the function's own signature; it stays loaded as long as the process.
    unsafe { program.get::<T>(name).ok().map(|found| *found) }
}

/// Memory of a GPU that is in use by all processes, in bytes; `None` for a CPU. libtorch's
/// allocator does not return memory, so this is also the highest need so far.
pub fn device_bytes(device: Device) -> Option<u64> {
    let Device::Cuda(index) = device else {
        return None;
    };
    let get: GetDevice = symbol(b"cudaGetDevice\0")?;
    let set: SetDevice = symbol(b"cudaSetDevice\0")?;
    let ask: MemGetInfo = symbol(b"cudaMemGetInfo\0")?;
    let (mut free, mut total, mut current) = (0usize, 0usize, 0 as c_int);
    let wanted = c_int::try_from(index).ok()?;
    // SAFETY: the CUDA runtime's own C functions with their own signatures; they write through
    // valid pointers. A thread's current device is left at the one that the process computes on: to
    // go back to the default, GPU 0, would create a context there.
    let answered = unsafe {
        let is_current = get(&raw mut current) == 0 && current == wanted;
        (is_current || set(wanted) == 0) && ask(&raw mut free, &raw mut total) == 0
    };
    answered.then(|| total.saturating_sub(free) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured() {
        assert!(peak_resident_bytes() > 1 << 20);
        assert_eq!(device_bytes(Device::Cpu), None);
    }
}
