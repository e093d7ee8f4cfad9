//! Every test of the workspace, several test programs at once: most of their time passes in waiting
//! for processes, brokers and clocks, not in computing.

use crate::{commands, counts::TestCounts};
use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Test programs that take longest, longest first: they begin first, so that none of them is left
/// over at the end. Only the order depends on this list.
const LONGEST: &[&str] = &[
    "protocol",
    "sweep_lifecycle",
    "cases",
    "stopping",
    "setup",
    "store_faults",
    "run",
];

/// A built test program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// Name of its target: of the crate, or of the file below `tests`.
    name: String,
    /// The package that it belongs to.
    package: String,
    /// Version of that package.
    version: String,
    /// The package's folder, in which cargo runs it.
    folder: PathBuf,
    executable: PathBuf,
}

/// Builds and runs all tests, those in documentation too.
///
/// # Errors
/// When something does not build, or a test fails; the sentence names the programs.
pub fn run(counts: &mut TestCounts) -> Result<(), String> {
    let mut programs = build()?;
    let rank = |program: &Program| LONGEST.iter().position(|name| *name == program.name);
    programs.sort_by_key(|program| rank(program).unwrap_or(LONGEST.len()));
    // Tests within one program run beside each other as well.
    let at_once = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    let queue = Mutex::new(VecDeque::from(programs));
    // A function of its own, so that the queue is free while a program runs.
    let next = || locked(&queue).pop_front();
    let (shared, failed) = (Mutex::new(*counts), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(program) = next() {
                    let begun = Instant::now();
                    let (lines, outcome) = captured(&mut command(&program));
                    let mut counts = locked(&shared);
                    print(&program, begun, &lines, &mut counts);
                    if let Err(sentence) = outcome {
                        println!("{sentence}");
                        locked(&failed).push(format!("{} of {}", program.name, program.package));
                    }
                }
            });
        }
    });
    *counts = *locked(&shared);
    let mut documentation = commands::cargo();
    documentation.args(["test", "--workspace", "--doc", "--no-fail-fast"]);
    documentation.args(["--", "--show-output"]);
    let (lines, outcome) = captured(&mut documentation);
    show(&lines, counts);
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if outcome.is_err() {
        failed.push("the examples in documentation".to_owned());
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", failed.join(", "))),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds the test programs, and what cargo builds for them: examples, and services as they run in
/// tests of their own package.
fn build() -> Result<Vec<Program>, String> {
    let mut command = commands::cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format"]);
    command.arg("json-render-diagnostics");
    let shown = commands::display(&command);
    let output = command
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not start `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` ended with {}", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let programs: Vec<Program> = messages.lines().filter_map(program).collect();
    match programs.is_empty() {
        true => Err(format!("`{shown}` named no test program")),
        false => Ok(programs),
    }
}

/// The test program that a message of cargo announces, if it announces one.
fn program(message: &str) -> Option<Program> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    // `path+file:///…/shared/images#cedm-images@0.1.0`, or `…/images#0.1.0` where folder and name
    // are the same.
    let id = message["package_id"].as_str()?;
    let (path, rest) = id.split_once('#')?;
    let (package, version) = rest
        .split_once('@')
        .unwrap_or((path.rsplit('/').next()?, rest));
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        package: package.to_owned(),
        version: version.to_owned(),
        folder: Path::new(message["manifest_path"].as_str()?)
            .parent()?
            .to_owned(),
        executable: message["executable"].as_str()?.into(),
    })
}

/// As cargo runs it: in the folder of its package, with cargo's variables.
fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.executable);
    command
        .arg("--show-output")
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .env("CARGO_PKG_NAME", &program.package)
        .env("CARGO_PKG_VERSION", &program.version);
    command
}

/// What a command prints, and whether it ends well.
fn captured(command: &mut Command) -> (Vec<String>, Result<(), String>) {
    let shown = commands::display(command);
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            return (
                Vec::new(),
                Err(format!("could not start `{shown}`: {error}")),
            );
        }
    };
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (mut lines, mut complaints) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| complaints = errors.map(lines_of).unwrap_or_default());
        lines = output.map(lines_of).unwrap_or_default();
    });
    let outcome = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}`: {error}")),
    };
    if outcome.is_err() {
        // What the processes of a test say is worth reading when the test fails.
        lines.extend(complaints);
    }
    (lines, outcome)
}

fn lines_of(stream: impl std::io::Read) -> Vec<String> {
    let lines = BufReader::new(stream).split(b'\n');
    lines
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

fn print(program: &Program, begun: Instant, lines: &[String], counts: &mut TestCounts) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("── {} of {}, {seconds:.0} s", program.name, program.package);
    show(lines, counts);
}

/// Counts what the output of tests says, and prints what a person wants to see: what passing tests
/// print is left out, but never a skip.
fn show(lines: &[String], counts: &mut TestCounts) {
    let mut in_successes = false;
    for line in lines {
        counts.read(line);
        match line.as_str() {
            "successes:" => in_successes = true,
            "failures:" => in_successes = false,
            other if other.starts_with("test result:") => in_successes = false,
            _ => {}
        }
        if !in_successes || line.trim_start().starts_with("SKIPPED:") {
            println!("{line}");
        }
    }
}

/// Runs a command that counts its own tests.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn counted(command: &mut Command, counts: &mut TestCounts) -> Result<(), String> {
    let (lines, outcome) = captured(command);
    show(&lines, counts);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_the_messages_of_cargo() {
        let message = |kind: &str, id: &str, test: bool| {
            format!(
                r#"{{"reason":"{kind}","package_id":"{id}","manifest_path":"/w/shared/images/Cargo.toml",
                "target":{{"name":"hostile"}},"profile":{{"test":{test}}},"executable":"/t/hostile-1"}}"#
            )
        };
        let id = "path+file:///w/shared/images#cedm-images@0.1.0";
        let found = program(&message("compiler-artifact", id, true)).unwrap();
        assert_eq!(
            (&*found.name, &*found.package, &*found.version),
            ("hostile", "cedm-images", "0.1.0")
        );
        assert_eq!(found.folder, Path::new("/w/shared/images"));
        let found = program(&message(
            "compiler-artifact",
            "path+file:///w/xtask#0.1.0",
            true,
        ));
        assert_eq!(found.unwrap().package, "xtask");
        assert_eq!(program(&message("compiler-artifact", id, false)), None);
        assert_eq!(program(&message("build-script-executed", id, true)), None);
        assert_eq!(program("warning: no message"), None);
    }

    #[test]
    fn the_output_of_a_command_is_captured_with_its_end() {
        let sh = |script: &str| captured(Command::new("sh").args(["-c", script]));
        assert_eq!(sh("echo a; echo b >&2"), (vec!["a".to_owned()], Ok(())));
        let (lines, outcome) = sh("echo a; echo b >&2; exit 3");
        assert_eq!(lines, ["a", "b"]);
        assert!(outcome.unwrap_err().contains("exit status: 3"));
    }
}
