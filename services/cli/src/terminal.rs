//! Lines on stdout. Unlike `println!`, whose reader may not go away (`cedm status | head`), this
//! ends the program quietly then.

use std::{fmt, io::Write};

/// Prints a line; ends the program when nobody reads any more.
pub fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// `println!` for a reader that may go away.
#[macro_export]
macro_rules! say {
    () => { $crate::terminal::line(format_args!("")) };
    ($($text:tt)*) => { $crate::terminal::line(format_args!($($text)*)) };
}
