//! Errors of a sweep file: what is wrong, at which line and column, with the line itself.

use crate::suggest::did_you_mean;
use std::{fmt, ops::Range};
use toml::{Spanned, de::DeValue};

/// Most characters of a line that are shown with its error, and of the error's own sentence. A file
/// of one line of a megabyte has as many errors as any other.
const SHOWN_CHARS: usize = 160;
/// Most errors that are written out; the others are counted.
const SHOWN_FINDINGS: usize = 20;

/// One error in a sweep file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Number of the line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what was expected.
    pub message: String,
    /// Text of that line; of a long one the part around the error.
    pub text: String,
    /// Column in `text`, from 1: equal to `column` unless the line is long.
    pub text_column: usize,
    /// Number of characters to underline from `text_column` on.
    pub width: usize,
}

impl Finding {
    /// A finding at a byte range of `source`.
    pub(super) fn at(source: &str, span: Range<usize>, message: String) -> Self {
        let start = floor_boundary(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |at| start + at);
        let end = floor_boundary(source, span.end).clamp(start, line_end);
        let column = source[line_start..start].chars().count() + 1;
        let width = source[start..end].chars().count().max(1);
        let line = source[line_start..line_end].trim_end_matches('\r');
        let (text, text_column) = part_of(line, column);
        Self {
            line: source[..start].matches('\n').count() + 1,
            column,
            message: shortened(message),
            width: width.min(text.chars().count().saturating_sub(text_column - 1).max(1)),
            text,
            text_column,
        }
    }
}

/// The part of a line that is shown with an error at `column`, and the error's column in it.
fn part_of(line: &str, column: usize) -> (String, usize) {
    if line.chars().nth(SHOWN_CHARS).is_none() {
        return (line.to_owned(), column);
    }
    // A third of what is shown stands before the error.
    let first = (column - 1).saturating_sub(SHOWN_CHARS / 3);
    let mut text = String::new();
    if first > 0 {
        text.push('…');
    }
    let mut rest = line.chars().skip(first);
    text.extend(rest.by_ref().take(SHOWN_CHARS));
    if rest.next().is_some() {
        text.push('…');
    }
    (text, column - first + usize::from(first > 0))
}

/// A sentence without the middle of what it quotes, where that is long.
fn shortened(message: String) -> String {
    let length = message.chars().count();
    if length <= 4 * SHOWN_CHARS {
        return message;
    }
    let head: String = message.chars().take(SHOWN_CHARS).collect();
    let tail: String = message.chars().skip(length - SHOWN_CHARS).collect();
    format!("{head} … {tail}")
}

fn floor_boundary(source: &str, at: usize) -> usize {
    let at = at.min(source.len());
    (0..=at)
        .rev()
        .find(|i| source.is_char_boundary(*i))
        .unwrap_or(0)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        writeln!(f, " {number} | {}", self.text)?;
        write!(
            f,
            " {margin} | {}{}",
            " ".repeat(self.text_column - 1),
            "^".repeat(self.width)
        )
    }
}

/// An invalid sweep file, with every error that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepFileError {
    /// The errors in the order of the file; never empty.
    pub findings: Vec<Finding>,
}

impl fmt::Display for SweepFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().take(SHOWN_FINDINGS).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        match self.findings.len().checked_sub(SHOWN_FINDINGS) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\nand {more} more errors"),
        }
    }
}
impl std::error::Error for SweepFileError {}

/// Errors collected while a file is checked, by path (`clustering.1.temi.heads`).
#[derive(Default)]
pub(super) struct Findings(Vec<(String, String)>);

impl Findings {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push((path.into(), message.into()));
    }

    /// Adds an error unless `fine`.
    pub(super) fn check(
        &mut self,
        fine: bool,
        path: impl Into<String>,
        message: impl Into<String>,
    ) {
        if !fine {
            self.add(path, message);
        }
    }

    /// The errors without their places, where there is no file.
    pub(super) fn into_messages(self) -> Vec<String> {
        self.0.into_iter().map(|(_, message)| message).collect()
    }

    /// Ok without errors; otherwise looks up the line and column of every path.
    pub(super) fn into_result(self, source: &str) -> Result<(), SweepFileError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let table = toml::de::DeTable::parse(source).ok();
        let whole =
            table.map(|table| Spanned::new(table.span(), DeValue::Table(table.into_inner())));
        let mut findings: Vec<Finding> = self
            .0
            .into_iter()
            .map(|(path, message)| {
                Finding::at(
                    source,
                    whole.as_ref().map_or(0..0, |value| locate(value, &path)),
                    message,
                )
            })
            .collect();
        findings.sort_by_key(|finding| (finding.line, finding.column));
        Err(SweepFileError { findings })
    }
}

/// The byte range of the value at `path`, or of the longest part of the path that exists.
fn locate(whole: &Spanned<DeValue<'_>>, path: &str) -> Range<usize> {
    let mut at = whole;
    let mut span = 0..0;
    for segment in path.split('.') {
        let next = match (at.get_ref(), segment.parse::<usize>()) {
            (DeValue::Array(items), Ok(index)) => items.get(index),
            // `[evaluation]` is also accepted in place of `[[evaluation]]`.
            (DeValue::Table(_), Ok(0)) => Some(at),
            (DeValue::Table(table), _) => table.get(segment),
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
        span = at.span();
    }
    span
}

/// The error of the TOML parser or of serde as a finding.
pub(super) fn from_toml(source: &str, error: &toml::de::Error) -> SweepFileError {
    let span = error.span().unwrap_or(0..0);
    SweepFileError {
        findings: vec![Finding::at(source, span, readable(error.message()))],
    }
}

/// Serde's message in terms of a sweep file: keys instead of fields, and a suggestion for a
/// misspelt name.
fn readable(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = ["field", "variant"]
        .into_iter()
        .find(|what| message.starts_with(&format!("unknown {what} ")));
    if let (Some(what), [found, known @ ..]) = (unknown, &quoted[..]) {
        let noun = if what == "field" { "key" } else { "value" };
        let close = if found.len() <= SHOWN_CHARS {
            did_you_mean(found, known.iter().copied())
        } else {
            None // nobody means such a key, and comparing takes its length
        };
        return match close {
            Some(close) => format!("unknown {noun} `{found}`; did you mean `{close}`?"),
            None => format!("unknown {noun} `{found}`; known are {}", known.join(", ")),
        };
    }
    message
        .trim()
        .replace("missing field", "missing key")
        .replace("duplicate field", "duplicate key")
        .replace(
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        )
        .replace("expected u64", "expected a whole number of at least 0")
        .replace("expected f64", "expected a number")
        .replace("expected a boolean", "expected true or false")
        .replace('\n', "; ")
}
