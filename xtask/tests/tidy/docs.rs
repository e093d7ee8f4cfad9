//! The documents say what is there: cited sections, links and paths exist, and the picture of the
//! crates is the one that cargo sees.

use crate::{
    imports::Workspace,
    sources::{Source, sources},
};
use std::path::{Component, Path, PathBuf};

/// Folders at the top: a path in backticks that begins with one of them is a path of this clone.
const FOLDERS: &[&str] = &[
    "shared/",
    "services/",
    "deploy/",
    "dashboards/",
    "tests/",
    "xtask/",
    ".ci/",
    ".cargo/",
];

fn document(path: &str) -> Source {
    sources()
        .into_iter()
        .find(|source| source.path == path)
        .unwrap_or_else(|| panic!("{path} is missing"))
}

/// Numbers that follow a section sign: `7.2` of `spec §7.2`, `3` of `§§3–5`; without those of
/// papers, `Caron et al. 2021, §3.1`.
fn cited(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('§').filter_map(|(at, sign)| {
        let before = text[..at]
            .rfind(['\n', ';', '('])
            .map_or("", |from| &text[from..at]);
        let rest = &text[at + sign.len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches('.');
        (!number.is_empty() && !before.contains("et al.")).then_some(number)
    })
}

#[test]
fn every_cited_section_is_in_the_method() {
    let method = document("shared/METHOD.md").text;
    let traps = method
        .split_once("\n## 16.")
        .and_then(|(_, rest)| rest.split_once("\n## "))
        .map_or("", |(traps, _)| traps);
    let exists = |number: &str| {
        let chapter = format!("\n## {number}.");
        let section = format!("\n### {number} ");
        method.contains(&chapter)
            || method.contains(&section)
            // Chapter 16 is a numbered list.
            || number
                .strip_prefix("16.")
                .is_some_and(|trap| traps.contains(&format!("\n{trap}. ")))
    };
    let mut broken = Vec::new();
    for source in sources() {
        if source.is_rust() || source.path == "shared/METHOD.md" {
            broken.extend(
                cited(&source.text)
                    .filter(|number| !exists(number))
                    .map(|number| format!("{}: §{number}", source.path)),
            );
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Targets of links, relative to the document, and paths in backticks, relative to the clone.
fn paths_in(source: &Source) -> Vec<PathBuf> {
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let links = source.text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.contains("://")).then(|| folder.join(target))
    });
    let quoted = source.text.lines().flat_map(|line| {
        line.split('`').skip(1).step_by(2).filter_map(|code| {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder))
                && !code.contains([' ', '<', '*', '…', '$']);
            is_path.then(|| PathBuf::from(code))
        })
    });
    links.chain(quoted).collect()
}

#[test]
fn links_and_paths_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut broken = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.path.ends_with(".md"))
    {
        for path in paths_in(source) {
            let leaves = path
                .components()
                .scan(0, |depth, part| {
                    *depth += if part == Component::ParentDir { -1 } else { 1 };
                    Some(*depth)
                })
                .any(|depth| depth < 0);
            if leaves || !root.join(&path).exists() {
                broken.push(format!("{}: {}", source.path, path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_environment_variable_is_documented() {
    let operations = document("deploy/README.md").text;
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        for name in names(&source.text, concat!("\"CE", "DM_")) {
            let name = format!("CEDM_{name}");
            if !operations.contains(&name) {
                broken.push(format!(
                    "{}: {name} is not in deploy/README.md",
                    source.path
                ));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Names in `text` that begin with `open`, which is left out of them.
fn names<'a>(text: &'a str, open: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn crates_import_only_from_lines_below_their_own() {
    let text = document("shared/README.md").text;
    let picture = text
        .split_once("<!-- layers -->")
        .and_then(|(_, rest)| rest.split_once("<!-- end -->"))
        .expect("shared/README.md has the picture of the crates")
        .0;
    let line_of = |name: &str| {
        picture
            .lines()
            .position(|line| line.split_whitespace().skip(1).any(|word| word == name))
    };
    let workspace = Workspace::read();
    let mut broken = Vec::new();
    for name in workspace.members() {
        let Some(line) = line_of(name) else {
            broken.push(format!("{name} is not in the picture"));
            continue;
        };
        for other in workspace.members() {
            if workspace.imports(name, other) && line_of(other).is_none_or(|below| below <= line) {
                broken.push(format!("{name} imports {other}, which is not below it"));
            }
        }
    }
    for name in picture
        .lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split_whitespace().skip(1))
    {
        if !workspace.members().contains(&name) {
            broken.push(format!("{name} is no crate of this workspace"));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_arrows_between_crates_are_current() {
    let workspace = Workspace::read();
    let mut arrows = String::from("```\n");
    for name in workspace.members() {
        let imported: Vec<&str> = workspace
            .members()
            .into_iter()
            .filter(|other| workspace.imports(name, other))
            .map(|other| other.trim_start_matches("cedm-"))
            .collect();
        if !imported.is_empty() {
            let name = name.trim_start_matches("cedm-");
            arrows += &format!("{name:<13}→ {}\n", imported.join(", "));
        }
    }
    arrows += "```\n";
    let found = document("shared/README.md").text;
    let (before, rest) = found.split_once("<!-- arrows -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{before}<!-- arrows -->\n{arrows}<!-- end -->{after}");
    if std::env::var_os("CEDM_BLESS").is_some() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::fs::write(root.join("shared/README.md"), &expected).unwrap();
    } else {
        assert!(
            found == expected,
            "shared/README.md is out of date: run this test with CEDM_BLESS=1"
        );
    }
}

/// Messages quoted in the first column of the table of troubleshooting: code with a blank in it
/// that is no command.
fn quoted_messages(operations: &str) -> Vec<&str> {
    let (_, table) = operations.split_once("\n## Troubleshooting\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix('|'));
    let symptoms = rows.filter_map(|row| row.split('|').next());
    let quotes = symptoms.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quotes
        .filter(|quote| quote.contains(' ') && !quote.starts_with("cedm "))
        .collect()
}

/// Whether a text has these pieces, in their order and close to each other: `…` in a quote stands
/// for what the program fills in.
fn has_message(code: &str, quote: &str) -> bool {
    let mut pieces = quote
        .split('…')
        .map(str::trim)
        .filter(|piece| !piece.is_empty());
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<&str> = pieces.collect();
    code.match_indices(first).any(|(at, _)| {
        let end = code.ceil_char_boundary(code.len().min(at + 400));
        let mut left = &code[at + first.len()..end];
        rest.iter().all(|piece| {
            let found = left.find(piece);
            found.is_some_and(|at| {
                left = &left[at + piece.len()..];
                true
            })
        })
    })
}

#[test]
fn troubleshooting_quotes_messages_that_the_programs_print() {
    let operations = document("deploy/README.md").text;
    let quotes = quoted_messages(&operations);
    assert!(quotes.len() > 25, "{quotes:?}");
    // A message may go on in the next line of the source.
    let joined = |text: &str| {
        let mut lines = text.split("\\\n");
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |text, line| text + line.trim_start())
    };
    let code = sources().into_iter().filter(|source| {
        source.is_rust() && source.path.contains("/src/") && !source.path.starts_with("tests/")
    });
    let code: Vec<String> = code.map(|source| joined(&source.text)).collect();
    let is_printed = |quote: &&str| code.iter().any(|code| has_message(code, quote));
    let unknown: Vec<&str> = quotes
        .into_iter()
        .filter(|quote| !is_printed(quote))
        .collect();
    assert!(unknown.is_empty(), "no program prints: {unknown:#?}");
    assert!(has_message("a {b} c; d", "a … c") && !has_message("a {b} c", "c … a"));
}

#[test]
fn citations_are_found() {
    assert_eq!(
        cited("(spec §7.2, §10.) and §§3–5 (He et al. 2016, §4.2; spec §2)").collect::<Vec<_>>(),
        ["7.2", "10", "3", "2"]
    );
}
