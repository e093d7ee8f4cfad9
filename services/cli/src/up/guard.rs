//! `cedm guard`: becomes another program that ends when its parent does, even when the parent is
//! killed.
//!
//! Our own services watch their stdin. A program that cannot (nats-server, Prometheus) is started
//! through this: the process asks the kernel for a signal at its parent's death and then replaces
//! itself by the program (`exec`), so no intermediate process is left that could be killed. A
//! process that still escapes is stopped by the next `cedm up`, which knows its process id and
//! start time.

use anyhow::{Context, Result};
use clap::Args;
use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

/// Options of `cedm guard`.
#[derive(Args, Debug)]
pub struct GuardArgs {
    /// The process whose end is this program's end
    #[arg(long)]
    pub parent: i32,
    /// The program to run, then its arguments
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}

/// Turns this process into `program`; returns only on failure.
///
/// # Errors
/// When the parent is gone already or the program cannot be started.
pub fn become_program(
    parent: i32,
    program: &OsString,
    arguments: &[OsString],
) -> Result<std::convert::Infallible> {
    // SIGTERM lets nats-server close its files; the next `up` kills what ignores it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .context("ask for a signal at the parent's death")?;
    // The parent may have died before the line above took effect.
    let now = nix::unistd::getppid().as_raw();
    anyhow::ensure!(now == parent, "the supervisor, process {parent}, is gone");
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("start {}", program.display()))
}
