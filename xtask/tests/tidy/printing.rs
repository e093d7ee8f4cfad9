//! What programs print goes through one crate, which escapes text of strangers.

use crate::sources::{Source, sources};

/// Whatever writes on a standard stream. Written apart, so that this file keeps its own rule.
const PRINTS: &[&str] = &[
    concat!("print", "ln!("),
    concat!("print", "!("),
    concat!("db", "g!("),
    concat!("stdout", "()"),
    concat!("stderr", "()"),
    concat!("::stdout", ")"),
    concat!("::stderr", ")"),
];

/// The lines of a program or library that print, without those of its tests.
fn printing(source: &Source) -> Vec<usize> {
    let is_program = ["services/", "shared/"]
        .iter()
        .any(|folder| source.path.starts_with(folder));
    let is_test = source.path.contains("/tests/")
        || source.path.ends_with("/tests.rs")
        || source.path.contains("/examples/");
    if !source.is_rust() || !is_program || is_test {
        return Vec::new();
    }
    let program = source.text.split("#[cfg(test)]\nmod ").next();
    let lines = program.unwrap_or_default().lines().enumerate();
    let printing = lines.filter(|(_, line)| {
        let code = line.trim_start();
        // Whether a stream is a terminal may be asked anywhere.
        !code.starts_with("//")
            && !code.contains(".is_terminal()")
            && PRINTS.iter().any(|print| code.contains(print))
    });
    printing.map(|(index, _)| index + 1).collect()
}

#[test]
fn only_one_crate_prints() {
    let others = |source: &&Source| !source.path.starts_with("shared/terminal/src/");
    let broken: Vec<String> = sources()
        .iter()
        .filter(others)
        .flat_map(|source| {
            let lines = printing(source).into_iter();
            lines.map(|line| format!("{}:{line}: print through cedm_terminal", source.path))
        })
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn printing_is_detected() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let code = format!(
        "//! X.\n// {p}\nfn a() {{ {p}\"\"); }}\nfn b() {{ e{p}\"\") }}\nlet t = stderr().is_terminal();\n\
         let w = std::io::{o};\n#[cfg(test)]\nmod tests {{ {p}\"\") }}",
        p = PRINTS[0],
        o = PRINTS[3],
    );
    assert_eq!(printing(&source("services/x/src/a.rs", &code)), [3, 4, 6]);
    assert_eq!(printing(&source("shared/x/src/a.rs", &code)), [3, 4, 6]);
    for path in ["xtask/src/a.rs", "services/x/tests/a.rs", "shared/x/a.md"] {
        assert!(printing(&source(path, &code)).is_empty(), "{path}");
    }
}
