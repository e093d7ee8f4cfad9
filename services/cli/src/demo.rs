//! `cedm demo`: the whole method on handwritten digits, through the same commands that a user would
//! type.

use crate::{
    args::Output,
    client,
    home::Home,
    render,
    up::{
        self, UpOutcome, UpRequest,
        background::{self, Lifetime},
    },
};
use anyhow::{Context, Result};
use cedm_contract::{Service, kinds::report::PAGE};
use cedm_terminal::{errln, outjson, outln};
use clap::Args;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

/// Options of `cedm demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for the report
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    pub out: PathBuf,
    /// Leave the system running when the demo ends
    #[arg(long)]
    pub keep_running: bool,
    /// Sweep file to run instead of the built-in one; the image set is called `digits`
    #[arg(long, value_name = "FILE")]
    pub sweep: Option<PathBuf>,
}

const DIGITS: &[u8] = include_bytes!("../demo/digits-8x8.zip");
const SWEEP: &str = include_str!("../demo/digits.toml");

/// Starts a system in `<home>/demo` unless one is running there, and runs the commands. After an
/// interruption each of them continues where it stopped.
///
/// # Errors
/// When one of the commands fails; its own error is on the terminal already.
pub fn run(home: &Home, args: &DemoArgs, output: Output) -> Result<ExitCode> {
    let started = Instant::now();
    let home = Home::at(&home.path().join("demo"))?;
    home.create()?;
    let archive = home.path().join("digits-8x8.zip");
    write_if_changed(&archive, DIGITS)?;
    let sweep_file = match &args.sweep {
        Some(file) => file.clone(),
        None => {
            let file = home.path().join("digits.toml");
            write_if_changed(&file, SWEEP.as_bytes())?;
            file
        }
    };
    errln!(
        "starting broker, store and services in {} …",
        home.path().display()
    );
    // Training and sampling are most of the work: one process of each per core, at most four.
    let cores = std::thread::available_parallelism()
        .map_or(1, |cores| cores.get() as u32)
        .clamp(1, 4);
    let request = UpRequest {
        workers: [(Service::Trainer, cores), (Service::Sampler, cores)].into(),
        prometheus: false,
        dead_after: None,
    };
    let lifetime = if args.keep_running {
        Lifetime::UntilDown
    } else {
        Lifetime::WithCaller
    };
    let system = background::start(&home, &request, lifetime)?;
    let steps = Steps {
        home: &home,
        output,
        interrupted: watch_interrupts(),
    };
    let outcome = steps.run_all(args, &archive, &sweep_file);
    if system.outcome == UpOutcome::Started && !args.keep_running {
        errln!();
        errln!("stopping the services …");
        up::down(&home)?;
    }
    let Outcome {
        sweep,
        complete,
        headline,
    } = outcome?;
    let (page, took) = (
        args.out.join(PAGE.as_str()),
        render::duration(started.elapsed()),
    );
    match output {
        Output::Json => outjson!(serde_json::json!({
            "complete": complete,
            "headline": headline,
            "report": page,
            "seconds": started.elapsed().as_secs_f64(),
        })),
        Output::Text => {
            let cedm = format!("{} --home {}", command_name()?, text(home.path())?);
            let up = if args.keep_running {
                String::new()
            } else {
                format!("{cedm} up --detach && ")
            };
            let next = format!("{up}{cedm} explain {sweep}");
            outln!(
                "{headline} · report: {} · {took} · next: {next}",
                page.display()
            );
        }
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a user types to start this program: its name where it is on the PATH, else its path.
fn command_name() -> Result<String> {
    let own = std::env::current_exe().context("find this program's own path")?;
    let named = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .any(|folder| fs::canonicalize(folder.join("cedm")).is_ok_and(|found| found == own))
    });
    if named {
        return Ok("cedm".to_owned());
    }
    let here = std::env::current_dir().context("find the current folder")?;
    Ok(text(own.strip_prefix(here).unwrap_or(&own))?.to_owned())
}

/// The result of the demo's commands.
struct Outcome {
    sweep: String,
    complete: bool,
    headline: String,
}

/// A flag that is set by Ctrl-C. The first Ctrl-C interrupts the running command, after which the
/// demo stops its system in order; a second one exits at once.
fn watch_interrupts() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    thread::spawn(move || {
        let result = client::block_on(async move {
            loop {
                tokio::signal::ctrl_c().await?;
                if seen.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
            }
        });
        // Without this handler Ctrl-C ends the demo and its system at once.
        let _: Result<()> = result;
    });
    interrupted
}

/// Runs the commands of the demo as child processes.
struct Steps<'a> {
    home: &'a Home,
    output: Output,
    interrupted: Arc<AtomicBool>,
}

impl Steps<'_> {
    fn run_all(&self, args: &DemoArgs, archive: &Path, sweep_file: &Path) -> Result<Outcome> {
        self.run_checked(&["import", text(archive)?, "--name", "digits"])?;
        let submitted = self.run_json(&["submit", text(sweep_file)?])?;
        let sweep = submitted["sweep"]
            .as_str()
            .context("invariant: submit names its sweep")?
            .to_owned();
        let complete = self.run_shown(&["watch", &sweep])?;
        let report = self.run_json(&["report", &sweep, "--out", text(&args.out)?])?;
        let headline = report["headline"]
            .as_str()
            .unwrap_or("no answer")
            .to_owned();
        Ok(Outcome {
            sweep,
            complete,
            headline,
        })
    }
    fn command(&self, arguments: &[&str], output: Output) -> Result<Command> {
        self.check_interrupt()?;
        errln!();
        errln!("$ cedm {}", arguments.join(" "));
        let mut command =
            Command::new(std::env::current_exe().context("find this program's own path")?);
        command
            .arg("--home")
            .arg(self.home.path())
            .arg("--output")
            .arg(if output == Output::Json {
                "json"
            } else {
                "text"
            })
            .args(arguments);
        // The commands must reach the demo's own system, whatever the environment names.
        for name in up::REMOVED_VARIABLES {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }
    /// Runs a command with its output on the terminal; returns whether it succeeded.
    fn run_shown(&self, arguments: &[&str]) -> Result<bool> {
        let status = self
            .command(arguments, self.output)?
            .status()
            .with_context(|| format!("run cedm {}", arguments[0]))?;
        self.check_interrupt()?;
        Ok(status.success())
    }
    fn check_interrupt(&self) -> Result<()> {
        anyhow::ensure!(
            !self.interrupted.load(Ordering::SeqCst),
            "interrupted; run the same command again to continue"
        );
        Ok(())
    }
    fn run_checked(&self, arguments: &[&str]) -> Result<()> {
        anyhow::ensure!(self.run_shown(arguments)?, "cedm {} failed", arguments[0]);
        Ok(())
    }
    /// Runs a command and parses the JSON that it prints.
    fn run_json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .command(arguments, Output::Json)?
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("run cedm {}", arguments[0]))?;
        self.check_interrupt()?;
        anyhow::ensure!(output.status.success(), "cedm {} failed", arguments[0]);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cedm {} did not print JSON", arguments[0]))
    }
}

/// Writes a file unless it holds these bytes already: an interrupted import continues only when the
/// modification time of its source is unchanged.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
