//! Warnings in the logs of an undisturbed run: only those listed here are accepted.

use crate::System;
use anyhow::{Context, Result};
use std::fs;

/// Text of an accepted warning, and why it is harmless.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "Plaintext passwords detected",
        "the password of a local nats-server is generated, and its file is for its owner alone",
    ),
    (
        "the stream or its consumer does not exist",
        "a worker may start before the coordinator has created its consumers; it retries",
    ),
    (
        "took too long",
        "nats-server logs this on a busy machine; nothing is lost",
    ),
    (
        "Readloop processing time",
        "nats-server logs this on a busy machine; nothing is lost",
    ),
    (
        "progress acknowledgement not sent",
        "on a busy machine the broker may be late; the next heartbeat follows",
    ),
];

/// Every warning or error in the logs of all children that is not accepted.
///
/// # Errors
/// When a log cannot be read.
pub fn unexpected_warnings(system: &System) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(system.home().join("logs")).context("list the logs")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = String::from_utf8_lossy(
            &fs::read(&path).with_context(|| format!("read {}", path.display()))?,
        )
        .into_owned();
        let warnings = text.lines().filter(|line| {
            is_warning(line) && !ACCEPTED.iter().any(|(text, _)| line.contains(text))
        });
        found.extend(warnings.map(|line| format!("{name}: {line}")));
    }
    Ok(found)
}

/// Whether a line of a log is a warning or an error. nats-server writes `[WRN]` and `[ERR]`, the
/// services write JSON lines with a level, a panic writes neither.
fn is_warning(line: &str) -> bool {
    [
        "[WRN]",
        "[ERR]",
        "[FTL]",
        "\"level\":\"WARN\"",
        "\"level\":\"ERROR\"",
        " WARN ",
        " ERROR ",
        "panicked at",
    ]
    .iter()
    .any(|mark| line.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_errors_are_recognised() {
        assert!(is_warning(
            r#"{"timestamp":"…","level":"WARN","fields":{}}"#
        ));
        assert!(is_warning(
            "[24805] 2026/11/23 08:35:04.462216 [WRN] something"
        ));
        assert!(is_warning("thread 'compute' panicked at src/worker.rs"));
        assert!(!is_warning(
            r#"{"timestamp":"…","level":"INFO","fields":{"message":"no warning"}}"#
        ));
    }
}
