//! Other programs: cargo, Python, our own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The clone's top folder.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The cargo that runs us, in the clone.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Of `cargo run`: they would reach build scripts and make them run again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// Folder of the built programs: where this one lies, because cargo built both.
pub fn programs_folder() -> PathBuf {
    let built = || {
        std::env::current_exe()
            .ok()?
            .parent()
            .map(Path::to_path_buf)
    };
    built().unwrap_or_else(|| root().join("target/debug"))
}

/// One of our programs.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(programs_folder().join(name));
    command.current_dir(root());
    command
}

/// Runs to the end; an error names the command.
pub fn run(command: &mut Command) -> Result<(), String> {
    let shown = display(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("could not start `{shown}`: {error}")),
    }
}

/// Becomes the other program, so that signals and the exit status are its own.
pub fn exec_into(command: &mut Command) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let shown = display(command);
    Err(format!("could not start `{shown}`: {}", command.exec()))
}

/// A command as a person would type it.
pub fn display(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
