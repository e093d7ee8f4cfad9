//! `cargo xtask bench`: each benchmark is one Python script that runs our programs and their peers
//! side by side.

use crate::{build, commands, setup};
use std::process::Command;

/// Benchmarks of a library rather than of our programs: (script, package, example). The script gets
/// the built example as its first argument.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("control-plane", "cedm-planner", "control-plane"),
    ("evaluation", "cedm-maths", "evaluation"),
];

/// Runs `tests/bench/<name>.py`, with the folder of our programs in `CEDM_BIN_DIR`.
pub fn run(args: &[String]) -> Result<(), String> {
    let folder = commands::root().join("tests/bench");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|error| format!("could not list {}: {error}", folder.display()))?
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix(".py")
                .map(str::to_owned)
        })
        .filter(|name| !name.starts_with('_'))
        .collect();
    names.sort();
    let Some((name, rest)) = args.split_first() else {
        println!("{}", names.join("\n"));
        return Ok(());
    };
    if !names.contains(name) {
        return Err(format!(
            "no benchmark {name:?}; there are: {}",
            names.join(", ")
        ));
    }
    setup::run(false)?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg(folder.join(format!("{name}.py")));
    match EXAMPLES.iter().find(|(script, ..)| script == name) {
        Some((_, package, example)) => {
            commands::run(commands::cargo().args([
                "build",
                "--package",
                package,
                "--example",
                example,
            ]))?;
            command.arg(commands::programs_folder().join("examples").join(example));
        }
        None => build::programs()?,
    }
    commands::exec_into(
        command
            .args(rest)
            .current_dir(commands::root())
            .env("CEDM_BIN_DIR", commands::programs_folder()),
    )
}
