//! `cargo xtask test`: everything that must hold before a change goes in.

use crate::{commands, counts::TestCounts, setup, suite, tools};
use std::time::Instant;

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
        run: suite::run,
    },
    Step {
        name: "parity",
        run: |counts| suite::counted(commands::program("cedm-parity").arg("--quiet"), counts),
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
