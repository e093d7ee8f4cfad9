//! `cedm`: the command through which people and scripts use the system.

#![forbid(unsafe_code)]

use cedm_cli::args::Cli;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cedm_cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            // Errors quote files and messages of strangers.
            eprintln!(
                "cedm: {}",
                cedm_contract::printable_lines(&format!("{error:#}"))
            );
            ExitCode::FAILURE
        }
    }
}
