//! The `cedm` command: starts a local system, brings images in, hands sweeps in, watches, explains
//! and reports.
//!
//! Not a service: it holds no state of its own beside the home of a local system, and everything it
//! shows is read from the store, the broker's buckets and events. Reads `.cedm` or the environment;
//! writes what its subcommands say.

#![forbid(unsafe_code)]

pub mod args;
pub mod cancel;
pub mod client;
pub mod dead;
pub mod demo;
pub mod dry_run;
pub mod env;
pub mod explain;
pub mod export;
pub mod extractors;
pub mod fsck;
pub mod home;
pub mod import;
pub mod keys;
pub mod render;
pub mod report;
pub mod status;
pub mod submit;
pub mod sweeps;
pub mod terminal;
pub mod up;
pub mod watch;

use anyhow::{Context, Result};
use args::{Cli, Command, Output};
use home::Home;
use std::process::ExitCode;

/// Does what the command line says; returns the exit code.
///
/// # Errors
/// Anything, with what it was about; the caller prints it.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let home = Home::at(&cli.home)?;
    let output = cli.output;
    if needs_system(&cli.command) {
        client::find_system(&home)?;
    }
    match cli.command {
        Command::Up(args) => start(&home, &args, output)?,
        Command::Down => stop(&home, output)?,
        Command::Env => env::run(&home, output)?,
        Command::Extractors => extractors::run(output)?,
        Command::Guard(args) => {
            let (program, arguments) = args
                .program
                .split_first()
                .context("guard needs a program")?;
            up::guard::become_program(args.parent, program, arguments)?;
        }
        Command::Demo(args) => return demo::run(&home, &args, output),
        Command::Import(args) => import::run(&home, &args, output)?,
        Command::Export(args) => export::run(&args, output)?,
        Command::Submit(args) => submit::run(&args, output)?,
        Command::Status(args) => status::run(&args, output)?,
        Command::Watch(args) => return watch::run(&args, output),
        Command::Explain(args) => explain::run(&args, output)?,
        Command::Dead(command) => dead::run(&command, output)?,
        Command::Cancel(args) => cancel::run(&args, output)?,
        Command::Report(args) => report::run(&args, output)?,
        Command::Fsck(args) => return fsck::run(&args, output),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a command talks to a system that runs already.
fn needs_system(command: &Command) -> bool {
    match command {
        Command::Up(_)
        | Command::Down
        | Command::Env
        | Command::Extractors
        | Command::Demo(_)
        | Command::Guard(_) => false,
        Command::Explain(args) => !args.kinds,
        Command::Import(_) | Command::Export(_) | Command::Submit(_) | Command::Status(_) => true,
        Command::Watch(_)
        | Command::Dead(_)
        | Command::Cancel(_)
        | Command::Report(_)
        | Command::Fsck(_) => true,
    }
}

fn start(home: &Home, args: &args::UpArgs, output: Output) -> Result<()> {
    if args.own_session {
        nix::unistd::setsid().context("begin a session of its own")?;
    }
    if args.detach {
        let system = up::background(home, &args.wish(), up::Tether::Free)?;
        return up::announce(home, system.came, &system.access, output);
    }
    up::foreground(home, &args.wish(), args.exit_with_parent, |came, access| {
        up::announce(home, came, access, output)
    })
}

fn stop(home: &Home, output: Output) -> Result<()> {
    let stopped = up::down(home)?;
    match output {
        Output::Json => crate::say!("{}", serde_json::json!({"stopped": stopped})),
        Output::Text if stopped => crate::say!("stopped; `cedm up` goes on where it was"),
        Output::Text => crate::say!("nothing runs in {}", home.path().display()),
    }
    Ok(())
}
