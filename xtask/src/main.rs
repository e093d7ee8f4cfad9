//! `cargo xtask`: what a fresh clone needs before plain cargo commands work, and the commands that
//! string cargo commands together.
//!
//! Builds in seconds and without libtorch, because it is what fetches libtorch. It knows cargo,
//! Python and the clone's own folders; it knows nothing of jobs, messages or tensors.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod commands;
mod counts;
mod setup;
mod suite;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
    cargo xtask <command>

  setup [--cuda]     fetch the pinned libtorch and nats-server into .deps (per-user cache; nothing to do when they are there)
  demo [args]        setup, build, `cedm demo [args]`: the whole pipeline on handwritten digits, ending in a report
  test [--only S]    setup, then format, clippy, doc, build, every test, parity; the last line says how many ran
                     steps: format clippy doc build tests parity
  tools              install what a few tests look through (chromium, prometheus), with apt
  parity [DIR]       check every fixture below DIR (default: $CEDM_PARITY_DIR, else ../shared/parity, else tests/parity)
  bench [NAME] [..]  run tests/bench/NAME.py beside freshly built programs; without NAME: list them
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args
        .split_first()
        .map_or(("help", &[][..]), |(command, rest)| {
            (command.as_str(), rest)
        });
    let outcome = match command {
        "setup" => setup_command(rest),
        "demo" => demo(rest),
        "test" => test::run(rest),
        "tools" => tools::install(),
        "parity" => parity(rest),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!(
            "no command {other:?}; the commands are setup, demo, test, tools, parity, bench"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask {command}: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn setup_command(args: &[String]) -> Result<(), String> {
    let cuda = match args {
        [] => false,
        [flag] if flag == "--cuda" => true,
        _ => return Err(format!("takes --cuda or nothing, found {}", args.join(" "))),
    };
    setup::run(cuda)
}

fn demo(args: &[String]) -> Result<(), String> {
    setup::run(false)?;
    build::programs()?;
    commands::exec_into(commands::program("cedm").arg("demo").args(args))
}

fn parity(args: &[String]) -> Result<(), String> {
    setup::run(false)?;
    commands::run(commands::cargo().args(["build", "--package", "cedm-parity"]))?;
    commands::exec_into(commands::program("cedm-parity").args(args))
}
