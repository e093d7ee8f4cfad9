//! Equal bits on a GPU: libtorch takes kernels whose sums have one order, and refuses operations
//! that have no such kernel.

use crate::{context::Context, device::DeviceError};

/// What cuBLAS reads when CUDA starts: fixed buffers, without which its sums over several streams
/// have no fixed order (cuBLAS documentation, "Results reproducibility").
pub(crate) const WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";

/// Before CUDA is loaded. A process cannot safely change its own environment once it has threads,
/// so whoever starts it has to.
///
/// # Errors
/// [`DeviceError::Value`] unless the workspace of cuBLAS is one of the two with fixed order.
pub(crate) fn check_workspace(found: &str) -> Result<(), DeviceError> {
    match found {
        ":4096:8" | ":16:8" => Ok(()),
        _ => Err(DeviceError::Value {
            variable: WORKSPACE,
            found: found.to_owned(),
            expected: ":4096:8 or :16:8 where CEDM_DETERMINISTIC asks for equal bits on a GPU",
        }),
    }
}

/// Once CUDA is loaded: deterministic kernels of cuDNN and of libtorch itself; an operation without
/// one is an error of its job from now on.
///
/// # Errors
/// [`DeviceError::NoSwitch`] for a libtorch without these switches.
pub(crate) fn demand() -> Result<(), DeviceError> {
    let context = Context::global().ok_or(DeviceError::NoSwitch("at::globalContext"))?;
    let cudnn = context.set(b"_ZN2at7Context21setDeterministicCuDNNEb\0", true);
    let all = context.set_two(
        b"_ZN2at7Context26setDeterministicAlgorithmsEbb\0",
        true,
        false,
    );
    match (cudnn, all) {
        (true, true) => Ok(()),
        (false, _) => Err(DeviceError::NoSwitch("setDeterministicCuDNN")),
        (_, false) => Err(DeviceError::NoSwitch("setDeterministicAlgorithms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_without_fixed_order_is_named() {
        assert_eq!(check_workspace(":4096:8"), Ok(()));
        let error = check_workspace("").unwrap_err().to_string();
        assert!(
            error.contains("CUBLAS_WORKSPACE_CONFIG: found ``"),
            "{error}"
        );
    }

    /// The switches are libtorch's and work without a GPU too; on the CPU they change no operation
    /// that this workspace uses.
    #[test]
    fn this_libtorch_has_the_switches() {
        assert_eq!(demand(), Ok(()));
        let context = Context::global().unwrap();
        assert!(context.set_two(
            b"_ZN2at7Context26setDeterministicAlgorithmsEbb\0",
            false,
            false
        ));
        assert!(
            !context.set(b"_ZN2at7Context4noneEb\0", false),
            "an unknown switch is told"
        );
    }
}
