//! The switch for TF32 in float32 products on GPUs, which tch does not offer.

use crate::context::Context;

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
    Context::global().is_some_and(|context| SETTERS.iter().all(|name| context.set(name, allow)))
}

/// TF32 as a computation needs it, forbidden again when this is dropped: the switch is the
/// process's, and what comes next may need float32 precision.
#[derive(Debug)]
#[must_use = "TF32 is forbidden again when this is dropped"]
pub struct Tf32(());

impl Tf32 {
    /// Allows or forbids TF32 until the value is dropped, which forbids it.
    pub fn set(allow: bool) -> Self {
        allow_tf32(allow);
        Self(())
    }
}

impl Drop for Tf32 {
    fn drop(&mut self) {
        allow_tf32(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The getter for cuDNN takes a C++ object; that for cuBLAS has no argument.
    fn is_allowed() -> bool {
        let context = Context::global().unwrap();
        context
            .get(b"_ZNK2at7Context15allowTF32CuBLASEv\0")
            .unwrap()
    }

    #[test]
    fn the_switch_changes_libtorchs_setting() {
        assert!(allow_tf32(true));
        assert!(is_allowed());
        assert!(allow_tf32(false));
        assert!(!is_allowed());
        let allowed = Tf32::set(true);
        assert!(is_allowed());
        drop(allowed);
        assert!(!is_allowed());
    }
}
