//! `cargo xtask bench`: each benchmark is one Python script that runs our programs and their peers side by side.

use crate::{build, setup, shell};
use std::process::Command;

/// Runs `tests/bench/<name>.py`, with the folder of our programs in `CEDM_BIN_DIR`.
pub fn run(args: &[String]) -> Result<(), String> {
    let folder = shell::root().join("tests/bench");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|error| format!("could not list {}: {error}", folder.display()))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".py").map(str::to_owned))
        .filter(|name| !name.starts_with('_'))
        .collect();
    names.sort();
    let Some((name, rest)) = args.split_first() else {
        println!("{}", names.join("\n"));
        return Ok(());
    };
    if !names.contains(name) {
        return Err(format!("no benchmark {name:?}; there are: {}", names.join(", ")));
    }
    setup::run(false)?;
    build::programs()?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command
        .arg(folder.join(format!("{name}.py")))
        .args(rest)
        .current_dir(shell::root())
        .env("CEDM_BIN_DIR", shell::programs_folder());
    shell::hand_over(&mut command)
}
