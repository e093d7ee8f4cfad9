//! The one place that prints: results on standard output, messages and errors on standard error.
//!
//! Names of files and classes, messages of workers, letters and heartbeats come from outside and
//! may hold anything. What is printed here can neither move the cursor nor look like a line of its
//! own:
//!
//! - [`outln!`] and [`errln!`] print one line, with line breaks and control characters escaped;
//! - [`outtext!`] prints text of several lines, whose breaks are the program's own;
//! - [`outjson!`] prints JSON with the same characters escaped as JSON escapes them, so that every
//!   string reads back as it was;
//! - [`LogLines`] writes records of the log;
//! - [`finish`] prints the error of a program, without the passwords of URLs;
//! - [`arguments`] reads a command line, whose errors and help are printed in the same way.
//!
//! It reads nothing and writes to nothing but the two standard streams.

#![forbid(unsafe_code)]

mod logs;
mod printable;
mod secrets;

pub use logs::LogLines;
pub use printable::{printable, printable_json, printable_lines};
pub use secrets::without_secrets;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// Prints one line on standard output: `println!` for text of strangers. Ends the program when it
/// cannot be written, see [`print_line`].
#[macro_export]
macro_rules! outln {
    () => { $crate::print_line(format_args!("")) };
    ($($text:tt)*) => { $crate::print_line(format_args!($($text)*)) };
}

/// Prints text of several lines on standard output, whose breaks are the program's own: strangers'
/// text inside goes through [`printable()`] first.
#[macro_export]
macro_rules! outtext {
    ($($text:tt)*) => { $crate::print_text(format_args!($($text)*)) };
}

/// Prints JSON on standard output, given as a value or text that displays as JSON.
#[macro_export]
macro_rules! outjson {
    ($json:expr) => {
        $crate::print_json(&$json)
    };
}

/// Prints one line on standard error: `eprintln!` for text of strangers.
#[macro_export]
macro_rules! errln {
    () => { $crate::print_message(format_args!("")) };
    ($($text:tt)*) => { $crate::print_message(format_args!($($text)*)) };
}

/// Prints one line on standard output. Ends the program when it cannot be written: with success
/// when the reader has closed the pipe (`cedm status | head`), else with an error.
pub fn print_line(text: fmt::Arguments<'_>) {
    write_or_exit(&printable(&text.to_string()));
}

/// Prints text of several lines on standard output; ends the program as [`print_line`] does.
pub fn print_text(text: fmt::Arguments<'_>) {
    write_or_exit(&printable_lines(&text.to_string()));
}

/// Prints JSON on standard output; ends the program as [`print_line`] does.
pub fn print_json(json: &dyn fmt::Display) {
    write_or_exit(&printable_json(&json.to_string()));
}

/// Prints one line on standard error, without passwords of URLs. A closed standard error concerns
/// nobody.
pub fn print_message(text: fmt::Arguments<'_>) {
    let text = shortened(text.to_string());
    write_message(&format!("{}\n", printable(&without_secrets(&text))));
}

/// Draws a line over the present one of standard error, for progress: without a break at its end
/// unless it `is_last`.
pub fn redraw_message(text: &str, is_last: bool) {
    let end = if is_last { "\n" } else { "" };
    write_message(&format!("\r{}{end}", printable(&without_secrets(text))));
}

/// The exit code of a program. Its error is printed on standard error, after the program's name.
///
/// ```
/// use std::process::ExitCode;
///
/// let outcome = Err::<(), _>("no such file: a\u{1b}[2J");
/// let code = cedm_terminal::finish("cedm", outcome.map(|()| ExitCode::SUCCESS));
/// assert_eq!(code, ExitCode::FAILURE);
/// ```
pub fn finish<E: fmt::Display>(program: &str, outcome: Result<ExitCode, E>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        write_message(&format!("{program}: {}\n", error_text(&error)));
        ExitCode::FAILURE
    })
}

/// The arguments of this program. Wrong ones end it with code 2, and help and version with success,
/// as clap does it itself; but what was given is printed as text of strangers is: file names in
/// scripts are made by others.
pub fn arguments<A: clap::Parser>() -> A {
    A::try_parse().unwrap_or_else(|told| {
        if told.use_stderr() {
            write_message(&usage_error(&told));
        } else {
            // Values of environment variables stand in help.
            let help = told.to_string();
            print_text(format_args!("{}", without_secrets(help.trim_end())));
        }
        std::process::exit(told.exit_code())
    })
}

/// clap's message with its lines indented behind the first, so that none of them can be forged.
fn usage_error(error: &clap::Error) -> String {
    let text = error_text(error);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n").trim_end())
}

/// An error with its causes, as [`finish`] prints it: all lines but the first are indented, so that
/// none of them looks like a line of the program's.
pub fn error_text(error: &dyn fmt::Display) -> String {
    let text = shortened(format!("{error:#}"));
    printable_lines(&without_secrets(&text)).replace('\n', "\n  ")
}

/// Longest message in bytes: files of strangers may have names of megabytes.
const MAX_MESSAGE: usize = 4096;

/// A message without its middle where it is too long: it begins with the file, and ends with the
/// cause.
fn shortened(text: String) -> String {
    if text.len() <= MAX_MESSAGE {
        return text;
    }
    let start = text.floor_char_boundary(MAX_MESSAGE / 2);
    let end = text.ceil_char_boundary(text.len() - MAX_MESSAGE / 4);
    let left_out = end - start;
    format!("{} … [{left_out} bytes] … {}", &text[..start], &text[end..])
}

fn write_message(text: &str) {
    let mut err = io::stderr().lock();
    // One write for a line, so that lines of several processes do not mix.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn write_or_exit(text: &str) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            write_message(&format!("standard output cannot be written: {error}\n"));
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_start_and_its_end() {
        let long = format!("a.zip: member `{}`: it ends early", "ü".repeat(1 << 20));
        let text = error_text(&long);
        assert!(
            text.len() < 4096 && text.starts_with("a.zip: member `ü"),
            "{text}"
        );
        assert!(
            text.ends_with("ü`: it ends early") && text.contains("bytes]"),
            "{text}"
        );
    }

    #[test]
    fn wrong_arguments_forge_no_line_and_show_no_password() {
        #[derive(clap::Parser, Debug)]
        struct Args {
            #[arg(long)]
            count: u8,
        }
        let given = |words: &[&str]| <Args as clap::Parser>::try_parse_from(words).unwrap_err();
        for word in [
            "--x\u{1b}[2J\ncedm: all is well",
            "nats://user:secret@host\u{1b}[2J",
        ] {
            for error in [given(&["cedm", word]), given(&["cedm", "--count", word])] {
                let text = usage_error(&error);
                assert!(text.starts_with("error: "), "{text}");
                assert!(
                    !text.contains(['\u{1b}']) && !text.contains("secret"),
                    "{text}"
                );
                assert!(!text.contains("\ncedm"), "{text}");
            }
        }
    }

    #[test]
    fn an_error_of_several_lines_forges_none() {
        let forged = "letter\ncedm: all is well\u{1b}[A, at nats://user:secret@host:4222";
        assert_eq!(
            error_text(&forged),
            "letter\n  cedm: all is well\\u{1b}[A, at nats://…@host:4222"
        );
    }
}
