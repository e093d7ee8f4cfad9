//! Calls of other people's decoders, whose panics become errors.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `call` returns; `None` where it panics. Decoders check less than a file of a stranger
/// needs, and a damaged file is no reason to end or to print anything but its error.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                others(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    // Whatever the call was changing is dropped with it.
    let outcome = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_of_a_decoder_is_no_result() {
        let bytes: &[u8] = &[];
        assert_eq!(guarded(|| bytes.len()), Some(0));
        assert_eq!(guarded(|| bytes[bytes.len()]), None);
        assert_eq!(guarded(|| bytes.len()), Some(0));
    }
}
