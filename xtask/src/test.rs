//! `cargo xtask test`: everything that must hold before a change goes in.

use crate::{commands, counts::TestCounts, setup, tools};
use std::{
    io::{BufRead, BufReader, IsTerminal},
    process::{Command, Stdio},
    time::Instant,
};

/// A step of the suite; the tidy rules are among the tests.
struct Step {
    name: &'static str,
    run: fn(&mut TestCounts) -> Result<(), String>,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        run: |_| commands::run(commands::cargo().args(["fmt", "--all", "--check"])),
    },
    Step {
        name: "clippy",
        run: |_| {
            commands::run(commands::cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        },
    },
    Step {
        name: "doc",
        run: |_| {
            commands::run(
                commands::cargo()
                    .args(["doc", "--workspace", "--no-deps", "--quiet"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )
        },
    },
    Step {
        name: "build",
        run: |_| commands::run(commands::cargo().args(["build", "--workspace", "--bins"])),
    },
    Step {
        name: "tests",
        run: tests,
    },
    Step {
        name: "parity",
        run: |counts| counted(commands::program("cedm-parity").arg("--quiet"), counts),
    },
];

/// Runs every step, or the one named by `--only`. The last line says how many tests ran.
pub fn run(args: &[String]) -> Result<(), String> {
    let only = match args {
        [] => None,
        [flag, name] if flag == "--only" && STEPS.iter().any(|step| step.name == name) => {
            Some(name)
        }
        _ => {
            return Err(format!(
                "takes nothing, or --only and one of {}",
                STEPS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
            ));
        }
    };
    setup::run(false)?;
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    if in_ci {
        tools::install()?;
    } else {
        tools::warn_of_missing();
    }
    let (mut counts, mut broken) = (TestCounts::default(), Vec::new());
    for step in STEPS
        .iter()
        .filter(|step| only.is_none_or(|only| only == step.name))
    {
        let began = Instant::now();
        eprintln!("── {}", step.name);
        let outcome = (step.run)(&mut counts);
        if let Err(sentence) = &outcome {
            eprintln!("{}: {sentence}", step.name);
            broken.push(step.name);
        }
        eprintln!(
            "── {} {} after {:.0} s",
            step.name,
            if outcome.is_ok() { "done" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        if step.name == "build" && outcome.is_err() {
            break; // nothing later can say more than the compiler did
        }
    }
    if in_ci && counts.skipped > 0 {
        broken.push("skipped tests (CI=true)");
    }
    if !broken.is_empty() || counts.failed > 0 {
        println!(
            "broken: {}",
            if broken.is_empty() {
                "tests".to_owned()
            } else {
                broken.join(", ")
            }
        );
    }
    println!("{counts}");
    // Its own line is the last one: no sentence follows it.
    if broken.is_empty() && counts.failed == 0 {
        Ok(())
    } else {
        std::process::exit(1)
    }
}

fn tests(counts: &mut TestCounts) -> Result<(), String> {
    counted(
        commands::cargo().args([
            "test",
            "--workspace",
            "--no-fail-fast",
            "--",
            "--show-output",
        ]),
        counts,
    )
}

/// Runs a command, counts what its output says, and passes on what a person wants to see: what
/// passing tests print is left out, but never a skip.
fn counted(command: &mut Command, counts: &mut TestCounts) -> Result<(), String> {
    let shown = commands::display(command);
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("could not start `{shown}`: {error}"))?;
    let output = child.stdout.take().expect("invariant: stdout is piped");
    let mut in_successes = false;
    for line in BufReader::new(output).split(b'\n') {
        let line =
            line.map_err(|error| format!("could not read the output of `{shown}`: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        counts.read(&line);
        match line.as_ref() {
            "successes:" => in_successes = true,
            "failures:" => in_successes = false,
            other if other.starts_with("test result:") => in_successes = false,
            _ => {}
        }
        if !in_successes || line.trim_start().starts_with("SKIPPED:") {
            println!("{line}");
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("`{shown}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` ended with {status}"))
    }
}
