//! `cedm demo`: the whole method on handwritten digits, by the commands that anybody would type.

use crate::{
    args::{DemoArgs, Output},
    client,
    home::Home,
    render,
    up::{self, Came, Tether, Wish},
};
use anyhow::{Context, Result};
use cedm_contract::{Service, kinds::report::PAGE};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

const DIGITS: &[u8] = include_bytes!("../demo/digits-8x8.zip");
const SWEEP: &str = include_str!("../demo/digits.toml");

/// Starts a system in `<home>/demo` unless one is up there, and goes through the commands; every
/// one of them goes on where it was when the demo was stopped before.
///
/// # Errors
/// When one of the commands fails; its own words are on the terminal already.
pub fn run(home: &Home, args: &DemoArgs, output: Output) -> Result<ExitCode> {
    let began = Instant::now();
    let home = Home::at(&home.path().join("demo"))?;
    home.create()?;
    let archive = home.path().join("digits-8x8.zip");
    keep(&archive, DIGITS)?;
    let sweep_file = match &args.sweep {
        Some(file) => file.clone(),
        None => {
            let file = home.path().join("digits.toml");
            keep(&file, SWEEP.as_bytes())?;
            file
        }
    };
    eprintln!(
        "starting broker, store and services in {} …",
        home.path().display()
    );
    // Training and sampling are most of the work: one process of each per core, at most four.
    let cores = std::thread::available_parallelism()
        .map_or(1, |cores| cores.get() as u32)
        .clamp(1, 4);
    let wish = Wish {
        workers: [(Service::Trainer, cores), (Service::Sampler, cores)].into(),
        prometheus: false,
    };
    let tether = if args.keep_running {
        Tether::Free
    } else {
        Tether::Held
    };
    let system = up::background(&home, &wish, tether)?;
    let steps = Steps {
        home: &home,
        output,
        interrupted: watch_interrupts(),
    };
    let came = steps.all(args, &archive, &sweep_file);
    if system.came == Came::Started && !args.keep_running {
        eprintln!("\nstopping the services …");
        up::down(&home)?;
    }
    let Outcome {
        sweep,
        complete,
        headline,
    } = came?;
    let (page, took) = (args.out.join(PAGE), render::duration(began.elapsed()));
    match output {
        Output::Json => crate::say!(
            "{}",
            serde_json::json!({"complete": complete, "headline": headline, "report": page, "seconds": began.elapsed().as_secs_f64()})
        ),
        Output::Text => {
            let cedm = format!("{} --home {}", as_typed()?, text(home.path())?);
            let up = if args.keep_running {
                String::new()
            } else {
                format!("{cedm} up --detach && ")
            };
            let next = format!("{up}{cedm} explain {sweep}");
            crate::say!(
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

/// How a person starts this program from here: by its name where that is on the PATH, else by its
/// place.
fn as_typed() -> Result<String> {
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

/// What the demo came to.
struct Outcome {
    sweep: String,
    complete: bool,
    headline: String,
}

/// Whether Ctrl-C was pressed: it ends the command that runs, and the demo then stops its system in
/// order. A second one ends the demo at once.
fn watch_interrupts() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    thread::spawn(move || {
        let listen = client::block_on(async move {
            loop {
                tokio::signal::ctrl_c().await?;
                if seen.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
            }
        });
        let _: Result<()> = listen; // without the handler Ctrl-C ends the demo at once, and its system with it
    });
    interrupted
}

/// The commands of the demo, run as a user would run them.
struct Steps<'a> {
    home: &'a Home,
    output: Output,
    interrupted: Arc<AtomicBool>,
}

impl Steps<'_> {
    fn all(&self, args: &DemoArgs, archive: &Path, sweep_file: &Path) -> Result<Outcome> {
        self.show(&["import", text(archive)?, "--name", "digits"])?;
        let submitted = self.ask(&["submit", text(sweep_file)?])?;
        let sweep = submitted["sweep"]
            .as_str()
            .context("invariant: submit names its sweep")?
            .to_owned();
        let complete = self.show_whatever(&["watch", &sweep])?;
        let report = self.ask(&["report", &sweep, "--out", text(&args.out)?])?;
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
        eprintln!("\n$ cedm {}", arguments.join(" "));
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
        // The demo's own system, whatever else the environment names.
        for name in up::FOREIGN {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }
    /// Lets the command speak for itself; returns whether it succeeded.
    fn show_whatever(&self, arguments: &[&str]) -> Result<bool> {
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
            "stopped; the same command goes on where it was"
        );
        Ok(())
    }
    fn show(&self, arguments: &[&str]) -> Result<()> {
        anyhow::ensure!(
            self.show_whatever(arguments)?,
            "cedm {} failed",
            arguments[0]
        );
        Ok(())
    }
    /// What the command answers, as JSON.
    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .command(arguments, Output::Json)?
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("run cedm {}", arguments[0]))?;
        self.check_interrupt()?;
        anyhow::ensure!(output.status.success(), "cedm {} failed", arguments[0]);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cedm {} printed no JSON", arguments[0]))
    }
}

/// Writes a file unless it is there with these bytes already: an import goes on when its source is
/// unchanged.
fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
