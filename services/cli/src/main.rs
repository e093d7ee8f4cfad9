//! `cedm`: the command through which people and scripts use the system.

#![forbid(unsafe_code)]

use cedm_cli::args::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cedm_terminal::finish("cedm", cedm_cli::run(cedm_terminal::arguments::<Cli>()))
}
