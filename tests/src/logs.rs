//! Warnings in the logs of a walk: none may be there unless it is listed here with its reason.

use crate::System;
use anyhow::{Context, Result};
use std::fs;

/// Text of a harmless warning, and why it is harmless.
const LISTED: &[(&str, &str)] = &[
    (
        "Plaintext passwords detected",
        "the password of a local nats-server is generated, and its file is for its owner alone",
    ),
    (
        "the stream or its consumer does not exist",
        "a worker may be there before the coordinator has created its consumers; it asks again",
    ),
    (
        "took too long",
        "nats-server says so of a machine that is busy; nothing is lost by it",
    ),
    (
        "Readloop processing time",
        "nats-server says so of a machine that is busy; nothing is lost by it",
    ),
    (
        "no sign of life could be sent",
        "the broker did not take one in time on a busy machine; the next one makes it good",
    ),
];

/// Every warning or error in the logs of all children that is not listed.
///
/// # Errors
/// When a log cannot be read.
pub fn unlisted_warnings(system: &System) -> Result<Vec<String>> {
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
        let alarming = text.lines().filter(|line| {
            is_alarming(line) && !LISTED.iter().any(|(listed, _)| line.contains(listed))
        });
        found.extend(alarming.map(|line| format!("{name}: {line}")));
    }
    Ok(found)
}

/// nats-server writes `[WRN]` and `[ERR]`, our services JSON lines with a level; a panic writes
/// neither.
fn is_alarming(line: &str) -> bool {
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
    fn alarming_lines() {
        assert!(is_alarming(
            r#"{"timestamp":"…","level":"WARN","fields":{}}"#
        ));
        assert!(is_alarming(
            "[24805] 2026/11/23 08:35:04.462216 [WRN] something"
        ));
        assert!(is_alarming("thread 'compute' panicked at src/worker.rs"));
        assert!(!is_alarming(
            r#"{"timestamp":"…","level":"INFO","fields":{"message":"no warning"}}"#
        ));
    }
}
