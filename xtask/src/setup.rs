//! `cargo xtask setup`: libtorch and nats-server into `.deps`, by `xtask/setup` (Python, because
//! pip knows the user's index).
//!
//! When the stamp in `.deps` agrees with the pins and every file has its size, nothing is started
//! and nothing is printed.

use crate::commands;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Brings `.deps` to what the pins say. Errors are one sentence for the person at the keyboard.
pub fn run(cuda: bool) -> Result<(), String> {
    let root = commands::root();
    let (deps, pins) = (root.join(".deps"), root.join("xtask/setup/pins.json"));
    compiler()?;
    if complete(&deps, &pins, cuda) {
        return Ok(());
    }
    let (python, cache) = (python()?, cache_folder()?);
    eprintln!(
        "setup: libtorch{} and nats-server into .deps (cache: {})",
        if cuda { " with CUDA" } else { "" },
        cache.display()
    );
    let mut command = Command::new(python);
    command
        .arg(root.join("xtask/setup"))
        .arg("--pins")
        .arg(pins)
        .arg("--deps")
        .arg(deps)
        .arg("--cache")
        .arg(cache);
    if cuda {
        command.arg("--cuda");
    }
    // The last line on stderr is the sentence; it has been shown already.
    match command
        .stdin(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if status.code() == Some(1) => {
            Err("not finished, for the reason above".to_owned())
        }
        Ok(status) => Err(format!(
            "Python ended with {status}; run setup again, it continues where it stopped"
        )),
        Err(error) => Err(format!("could not start Python: {error}")),
    }
}

/// Whether the stamp fits the pins and every stamped file is there in its size.
fn complete(deps: &Path, pins: &Path, cuda: bool) -> bool {
    let read = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
    let (Some(stamp), Some(pins)) = (read(&deps.join("stamp.json")), read(pins)) else {
        return false;
    };
    let has_part = |part: &str| {
        stamp["parts"]
            .as_array()
            .is_some_and(|parts| parts.iter().any(|found| found == part))
    };
    let in_place = |entry: &Value| {
        let (Some(place), Some(size)) = (entry[0].as_str(), entry[1].as_u64()) else {
            return false;
        };
        std::fs::metadata(deps.join(place)).is_ok_and(|file| file.len() == size)
    };
    stamp["pins"] == pins
        && (has_part("cuda") || !cuda)
        && stamp["files"]
            .as_array()
            .is_some_and(|files| !files.is_empty() && files.iter().all(in_place))
}

/// The per-user cache: `$XDG_CACHE_HOME/cedm`, else `~/.cache/cedm`.
fn cache_folder() -> Result<PathBuf, String> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .map(|folder| folder.join("cedm"))
        .ok_or_else(|| {
            "no place for the cache: set HOME or XDG_CACHE_HOME to an absolute folder".to_owned()
        })
}

/// A Python that has pip, by name.
fn python() -> Result<String, String> {
    let chosen = std::env::var("PYTHON").ok().filter(|name| !name.is_empty());
    let names = chosen.map_or_else(
        || vec!["python3".to_owned(), "python".to_owned()],
        |name| vec![name],
    );
    let answers = |name: &str, args: &[&str]| {
        Command::new(name)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let Some(python) = names.iter().find(|name| {
        answers(
            name,
            &["-c", "import sys; sys.exit(sys.version_info < (3, 9))"],
        )
    }) else {
        return Err(format!(
            "needs Python 3.9 or newer to fetch libtorch, and found none as {}; install it \
             (Debian: `apt install python3 python3-pip`) \
             or name one in PYTHON, then run it again",
            names.join(" or ")
        ));
    };
    if !answers(python, &["-m", "pip", "--version"]) {
        return Err(format!(
            "needs pip to fetch libtorch, and {python} has none; install it (Debian: `apt install \
             python3-pip`, else `{python} -m ensurepip`), \
             then run it again"
        ));
    }
    Ok(python.clone())
}

/// The C++ compiler that libtorch's bindings are built with.
fn compiler() -> Result<(), String> {
    let name = std::env::var("CXX")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "c++".to_owned());
    let mut words = name.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("c++"));
    match command
        .args(words)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!(
            "needs a C++ compiler for libtorch's bindings, and `{name}` does not run; install one \
             (Debian: `apt install g++`) or name one in CXX, \
             then run it again"
        )),
    }
}
