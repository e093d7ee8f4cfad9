//! Every text file that git would commit.

use std::{path::Path, process::Command};

/// A Rust source file of the workspace.
pub struct Source {
    /// Its path below the top of the clone.
    pub path: String,
    /// The text that it holds.
    pub text: String,
}

impl Source {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
    /// Whether it is the root of a library, program or integration test.
    pub fn is_crate_head(&self) -> bool {
        self.path.ends_with("src/lib.rs") || self.path.ends_with("src/main.rs")
    }
    /// Numbers of the lines that hold `needle`.
    pub fn lines_with(&self, needle: &str) -> impl Iterator<Item = usize> {
        self.text
            .lines()
            .enumerate()
            .filter(move |(_, line)| line.contains(needle))
            .map(|(index, _)| index + 1)
    }
}

/// What a program prints that runs at the top of the clone and must succeed.
pub fn printed(command: &mut Command) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = command.current_dir(root).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Tracked files and new ones that are not ignored; files that are not UTF-8 are left out.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut git = Command::new("git");
    let paths = printed(git.args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]));
    let read = |path: &str| {
        Some(Source {
            path: path.to_owned(),
            text: std::fs::read_to_string(root.join(path)).ok()?,
        })
    };
    let sources: Vec<_> = paths.split_terminator('\0').filter_map(read).collect();
    assert!(sources.len() > 50, "found only {} files", sources.len());
    sources
}
