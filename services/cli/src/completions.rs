//! `cedm completions` and `cedm man`: what shells and `man` read.

use crate::args::Cli;
use anyhow::{Context, Result};
use cedm_terminal::{outln, outtext};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::{fs, path::PathBuf};

/// Options of `cedm completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell whose completions are printed
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Options of `cedm man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Folder to which one page per command is written, such as ~/.local/share/man/man1
    pub folder: PathBuf,
}

/// Prints the completions for a shell.
///
/// # Errors
/// When they are not UTF-8, which would be a fault of the generator.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cedm", &mut script);
    outtext!(
        "{}",
        String::from_utf8(script).context("completions are text")?
    );
    Ok(())
}

/// Writes the manual pages: `cedm.1`, `cedm-submit.1`, ….
///
/// # Errors
/// When the folder cannot be written.
pub fn man(args: &ManArgs) -> Result<()> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("make the folder {folder}"))?;
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .with_context(|| format!("write manual pages to {folder}"))?;
    outln!("manual pages are in {folder}; `man -l {folder}/cedm.1` shows the first");
    Ok(())
}
