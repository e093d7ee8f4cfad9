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
            eprintln!("cedm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
