//! Lines on stdout. `println!` panics when the reader has closed the pipe (`cedm status | head`);
//! [`outln!`](crate::outln) ends the program quietly instead.

use cedm_contract::printable_lines;
use std::{fmt, io::Write};

/// Prints a line, or several; ends the program with success when stdout is closed. Control characters
/// are escaped here, for whatever is printed: names, messages and letters may be a stranger's.
pub fn print_line(text: fmt::Arguments<'_>) {
    let text = printable_lines(&text.to_string());
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// `println!` that ends the program when stdout is closed.
#[macro_export]
macro_rules! outln {
    () => { $crate::terminal::print_line(format_args!("")) };
    ($($text:tt)*) => { $crate::terminal::print_line(format_args!($($text)*)) };
}
