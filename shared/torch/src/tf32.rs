//! The switch for TF32 in float32 products on GPUs, which tch does not offer.
//!
//! libtorch exports the setters of `at::Context`; they are looked up by their C++ names in the
//! loaded library.

use std::ffi::c_void;

/// `at::globalContext()`: a reference, which the C++ ABI passes as a pointer.
const CONTEXT: &[u8] = b"_ZN2at13globalContextEv\0";
/// `at::Context::setAllowTF32CuBLAS(bool)` and `at::Context::setAllowTF32CuDNN(bool)`.
const SETTERS: [&[u8]; 2] = [
    b"_ZN2at7Context18setAllowTF32CuBLASEb\0",
    b"_ZN2at7Context17setAllowTF32CuDNNEb\0",
];

/// Allows or forbids that matrix products and convolutions of float32 tensors round their inputs to
/// TF32 (10 bits of mantissa) on GPUs; libtorch's own default allows it for convolutions. Without
/// effect on CPUs. Returns whether this libtorch has the switch.
///
/// The switch is libtorch's and holds for the whole process: a worker sets it before each job by
/// the job's precision.
pub fn allow_tf32(allow: bool) -> bool {
    let program = libloading::os::unix::Library::this();
    // SAFETY: the names carry their own C++ signatures: no argument and a reference to the one
    // static context, which lives as long as the process; then `void Context::set…(bool)`, whose
    // `this` is an ordinary first argument on every platform that libtorch is built for.
    unsafe {
        let Ok(context) = program.get::<unsafe extern "C" fn() -> *mut c_void>(CONTEXT) else {
            return false;
        };
        let context = context();
        SETTERS.iter().all(|name| {
            let setter = program.get::<unsafe extern "C" fn(*mut c_void, bool)>(*name);
            setter.map(|set| set(context, allow)).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `at::Context::allowTF32CuDNN(const std::string&)` needs a C++ string; the CuBLAS getter has
    /// no argument.
    fn is_allowed() -> bool {
        let program = libloading::os::unix::Library::this();
        // SAFETY: as above; `bool Context::allowTF32CuBLAS() const`.
        unsafe {
            let context = program
                .get::<unsafe extern "C" fn() -> *mut c_void>(CONTEXT)
                .unwrap();
            let getter = program
                .get::<unsafe extern "C" fn(*mut c_void) -> bool>(
                    b"_ZNK2at7Context15allowTF32CuBLASEv\0",
                )
                .unwrap();
            getter(context())
        }
    }

    #[test]
    fn the_switch_changes_libtorchs_setting() {
        assert!(allow_tf32(true));
        assert!(is_allowed());
        assert!(allow_tf32(false));
        assert!(!is_allowed());
    }
}
