//! Whether an array fits into the memory of this machine, before it is read.

use std::fs;

/// Refuses what would fill the memory: a file of a few bytes on disk may have terabytes of holes,
/// and the system ends programs, not always the right one, when there is nothing left.
///
/// # Errors
/// When `bytes` are more than are free now; nothing is known without `/proc`.
pub fn check_memory(bytes: u64) -> Result<(), String> {
    match available() {
        Some(free) if bytes > free => Err(format!(
            "{bytes} bytes of numbers, more than the {free} bytes of memory that are free"
        )),
        _ => Ok(()),
    }
}

/// Bytes that programs can take without swapping.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::check_memory;

    #[test]
    fn what_no_machine_has_is_refused() {
        assert_eq!(check_memory(1), Ok(()));
        let error = check_memory(1 << 60).unwrap_err();
        assert!(error.contains("bytes of memory that are free"), "{error}");
    }
}
