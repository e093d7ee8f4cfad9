//! Named places where a test can kill the process: the rows of the crash matrix.

use std::{fs::OpenOptions, path::Path};

/// Dies here, as if by SIGKILL, when `CEDM_FAILPOINT` is `<name>` or `<name>:<file>` and the file does not exist yet (it is
/// created, so that a restarted process passes).
pub(crate) fn failpoint(name: &str) {
    let Ok(wanted) = std::env::var("CEDM_FAILPOINT") else { return };
    let (place, marker) = wanted
        .split_once(':')
        .map_or((wanted.as_str(), None), |(place, marker)| (place, Some(marker)));
    if place != name {
        return;
    }
    let is_first = marker.is_none_or(|marker| OpenOptions::new().write(true).create_new(true).open(Path::new(marker)).is_ok());
    if is_first {
        std::process::abort();
    }
}
