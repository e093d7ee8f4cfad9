//! Programs from the distribution that a few tests look through: a browser for the report, a
//! Prometheus for the dashboards.
//!
//! Nothing but those tests needs them. On a person's machine they are installed when asked for
//! (`cargo xtask tools`), in CI before the tests, because a skipped test fails CI.

use crate::commands;
use std::process::{Command, Stdio};

/// A program that tests use.
struct Tool {
    /// Names under which it may be installed.
    programs: &'static [&'static str],
    /// Its package in Debian and what derives from it.
    package: &'static str,
    /// What is skipped without it.
    tests: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        programs: &[
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ],
        package: "chromium",
        tests: "the report in a browser",
    },
    Tool {
        programs: &["prometheus"],
        package: "prometheus",
        tests: "the dashboards' expressions",
    },
];

/// Installs what is missing with apt, as root or through sudo. Does nothing when all is there.
///
/// # Errors
/// Where apt is not, or does not succeed; the sentence names the packages.
pub fn install() -> Result<(), String> {
    let packages: Vec<&str> = missing().map(|tool| tool.package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    if !answers("apt-get") {
        return Err(format!(
            "no apt-get here: install {wanted} by the system's own means"
        ));
    }
    eprintln!("tools: {wanted}");
    let apt = |arguments: &[&str]| {
        let as_root = answers_with("id", &["-u"]).is_some_and(|id| id.trim() == "0");
        let mut command = Command::new(if as_root { "apt-get" } else { "sudo" });
        if !as_root {
            command.arg("apt-get");
        }
        commands::run(
            command
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null()),
        )
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Says which tests will be skipped, and what would change that.
pub fn warn_of_missing() {
    for tool in missing() {
        eprintln!(
            "without {}, {} will be skipped; `cargo xtask tools` installs it",
            tool.package, tool.tests
        );
    }
}

fn missing() -> impl Iterator<Item = &'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| !tool.programs.iter().any(|name| answers(name)))
}

fn answers(program: &str) -> bool {
    answers_with(program, &["--version"]).is_some()
}

/// What a program prints, when it starts and succeeds.
fn answers_with(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
