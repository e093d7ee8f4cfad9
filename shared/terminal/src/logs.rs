//! Log lines on standard error.

use crate::{printable, printable_json};
use crate::{secrets::without_secrets, write_message};
use std::io;

/// Writes log records on standard error, one line each, whatever they quote. A record has to come
/// in one call, as the formatters of `tracing-subscriber` write it.
#[derive(Debug, Clone, Copy)]
pub struct LogLines {
    is_json: bool,
}

impl LogLines {
    /// For lines that people read.
    pub fn text() -> Self {
        Self { is_json: false }
    }

    /// For records that are JSON.
    pub fn json() -> Self {
        Self { is_json: true }
    }

    fn line(self, record: &[u8]) -> String {
        let record = String::from_utf8_lossy(record);
        let record = without_secrets(record.strip_suffix('\n').unwrap_or(&record));
        let line = if self.is_json {
            printable_json(&record)
        } else {
            printable(&record)
        };
        format!("{line}\n")
    }
}

impl io::Write for LogLines {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        write_message(&self.line(record));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_quotes() {
        let record = b"INFO got a\nERROR b\x1b[2J from http://key:secret@s3\n";
        assert_eq!(
            LogLines::text().line(record),
            "INFO got a\\nERROR b\\u{1b}[2J from http://\u{2026}@s3\n"
        );
        let record = "{\"message\":\"\u{9b}2J nats://u:p@h\"}\n".as_bytes();
        assert_eq!(
            LogLines::json().line(record),
            "{\"message\":\"\\u009b2J nats://\u{2026}@h\"}\n"
        );
    }
}
