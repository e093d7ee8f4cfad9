//! libtorch's settings of the whole process, `at::Context`, which tch offers in part. Its setters
//! are exported; they are looked up by their C++ names in the loaded library.

use std::ffi::c_void;

/// `at::globalContext()`: a reference, which the C++ ABI passes as a pointer.
const GLOBAL: &[u8] = b"_ZN2at13globalContextEv\0";

/// The one context of the process.
pub(crate) struct Context(*mut c_void);

impl Context {
    /// The context; `None` where this libtorch does not export it.
    pub(crate) fn global() -> Option<Self> {
        let program = libloading::os::unix::Library::this();
        // SAFETY: the name carries its own C++ signature: no argument, and a reference to the one
        // static context, which lives as long as the process.
        unsafe {
            let context = program
                .get::<unsafe extern "C" fn() -> *mut c_void>(GLOBAL)
                .ok()?;
            Some(Self(context()))
        }
    }

    /// Calls `void Context::set…(bool)` by its mangled name; `false` where there is none.
    pub(crate) fn set(&self, setter: &[u8], value: bool) -> bool {
        let program = libloading::os::unix::Library::this();
        // SAFETY: the mangled name ends in `Eb`, one bool; `this` is an ordinary first argument on
        // every platform that libtorch is built for.
        unsafe {
            program
                .get::<unsafe extern "C" fn(*mut c_void, bool)>(setter)
                .map(|set| set(self.0, value))
                .is_ok()
        }
    }

    /// The same with two arguments: `void Context::set…(bool, bool)`, mangled as `…Ebb`.
    pub(crate) fn set_two(&self, setter: &[u8], first: bool, second: bool) -> bool {
        let program = libloading::os::unix::Library::this();
        // SAFETY: as in `set`.
        unsafe {
            program
                .get::<unsafe extern "C" fn(*mut c_void, bool, bool)>(setter)
                .map(|set| set(self.0, first, second))
                .is_ok()
        }
    }

    /// Calls `bool Context::…() const`.
    #[cfg(test)]
    pub(crate) fn get(&self, getter: &[u8]) -> Option<bool> {
        let program = libloading::os::unix::Library::this();
        // SAFETY: as in `set`; the mangled name ends in `Ev`, no argument.
        unsafe {
            program
                .get::<unsafe extern "C" fn(*mut c_void) -> bool>(getter)
                .map(|get| get(self.0))
                .ok()
        }
    }
}
