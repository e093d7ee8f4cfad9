//! The `cedm` command: starts a local system, imports images, submits sweeps, and shows their
//! progress and results.
//!
//! It is not a service and keeps no state of its own except the home of a local system (`.cedm`).
//! Everything it shows is read from the store, the broker's buckets and the event stream. One
//! module per subcommand; [`args`] is the command line, [`run`] dispatches.

#![forbid(unsafe_code)]

pub mod args;
pub mod cancel;
pub mod client;
pub mod completions;
pub mod dead;
pub mod demo;
pub mod doctor;
pub mod dry_run;
pub mod env;
pub mod explain;
pub mod export;
pub mod extractors;
pub mod fleet;
pub mod fsck;
pub mod gc;
pub mod home;
pub mod import;
pub mod keys;
pub mod new;
pub mod pause;
pub mod presets;
pub mod render;
pub mod report;
pub mod retry;
pub mod rm;
pub mod sets;
pub mod status;
pub mod submit;
pub mod sweeps;
pub mod top;
pub mod up;
pub mod watch;

use anyhow::{Context, Result};
use args::{Cli, Command, Output};
use cedm_terminal::{outjson, outln};
use home::Home;
use std::process::ExitCode;

/// Runs a command; returns the exit code.
///
/// # Errors
/// Whatever the command fails with; the caller prints it.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let home = Home::at(&cli.home)?;
    let output = cli.output;
    if needs_system(&cli.command) {
        client::ensure_system(&home)?;
    }
    match cli.command {
        Command::Up(args) => start(&home, &args, output)?,
        Command::Down => stop(&home, output)?,
        Command::Env => env::run(&home, output)?,
        Command::Extractors => extractors::run(output)?,
        Command::Presets => presets::run(output)?,
        Command::Completions(args) => completions::completions(&args)?,
        Command::Man(args) => completions::man(&args)?,
        Command::Guard(args) => {
            let (program, arguments) = args.program.split_first().context("no program given")?;
            up::guard::become_program(args.parent, program, arguments)?;
        }
        Command::Demo(args) => return demo::run(&home, &args, output),
        Command::Import(args) => import::run(&home, &args, output)?,
        Command::Export(args) => export::run(&args, output)?,
        Command::Sets(command) => sets::run(&command, output)?,
        Command::New(args) => new::run(&args, output)?,
        Command::Submit(args) => submit::run(&args, output)?,
        Command::Status(args) => status::run(&args, output)?,
        Command::Watch(args) => return watch::run(&args, output),
        Command::Explain(args) => explain::run(&args, output)?,
        Command::Top(args) => top::run(&args, output)?,
        Command::Doctor => return doctor::run(&home, output),
        Command::Pause(args) => pause::pause(&args, output)?,
        Command::Resume(args) => pause::resume(&args, output)?,
        Command::Retry(args) => retry::run(&args, output)?,
        Command::Rm(args) => rm::run(&args, output)?,
        Command::Gc(args) => gc::run(&args, output)?,
        Command::Dead(command) => dead::run(&command, output)?,
        Command::Cancel(args) => cancel::run(&args, output)?,
        Command::Report(args) => report::run(&args, output)?,
        Command::Fsck(args) => return fsck::run(&args, output),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a command needs the address of a running system.
fn needs_system(command: &Command) -> bool {
    match command {
        Command::Up(_)
        | Command::Down
        | Command::Env
        | Command::Extractors
        | Command::Presets
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Demo(_)
        | Command::Guard(_) => false,
        Command::Explain(args) => !args.kinds,
        Command::Import(_) | Command::Export(_) | Command::Submit(_) | Command::Status(_) => true,
        Command::Sets(_)
        | Command::New(_)
        | Command::Top(_)
        | Command::Doctor
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Retry(_)
        | Command::Rm(_)
        | Command::Gc(_)
        | Command::Watch(_)
        | Command::Dead(_)
        | Command::Cancel(_)
        | Command::Report(_)
        | Command::Fsck(_) => true,
    }
}

fn start(home: &Home, args: &up::args::UpArgs, output: Output) -> Result<()> {
    if args.own_session {
        nix::unistd::setsid().context("start a new session")?;
    }
    if args.detach {
        let system =
            up::background::start(home, &args.request(), up::background::Lifetime::UntilDown)?;
        return up::print_endpoints(home, system.outcome, &system.endpoints, output);
    }
    up::foreground(
        home,
        &args.request(),
        args.exit_with_parent,
        |outcome, endpoints| up::print_endpoints(home, outcome, endpoints, output),
    )
}

fn stop(home: &Home, output: Output) -> Result<()> {
    let stopped = up::down(home)?;
    match output {
        Output::Json => outjson!(serde_json::json!({"stopped": stopped})),
        Output::Text if stopped => outln!("stopped; `cedm up` continues where it left off"),
        Output::Text => outln!("no system is running in {}", home.path().display()),
    }
    Ok(())
}
