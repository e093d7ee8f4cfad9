//! The reference of the sweep file in `services/README.md`, made from the code.
//!
//! `CEDM_BLESS=1 cargo test -p cedm-sweep` writes it anew.

mod accepted;
mod keys;

use crate::{Preset, SweepSpec, file::SweepFile, method::METHODS, preset, preset_names};
use accepted::accepted_keys;
use keys::{Default, Key, Section, sections};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

/// Every section and no key that has a default: the defaults are read from what it parses to.
const SPARSE: &str = include_str!("../tests/sparse_sweep.toml");

/// The resolved form of [`SPARSE`].
fn sparse_sweep() -> Value {
    let spec = SweepSpec::parse(SPARSE).unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(spec).unwrap()
}

/// Places in the resolved sweep where a section's keys may be.
fn places(section: &str) -> Vec<String> {
    let known: &[(&str, &[&str])] = &[
        ("clustering", &["/clusterings/0"]),
        ("evaluation", &["/evaluations/0"]),
        ("bound", &["/bound/params", "/bound"]),
    ];
    match known.iter().find(|(path, _)| *path == section) {
        Some((_, places)) => places.iter().map(|place| (*place).to_owned()).collect(),
        None if section.is_empty() => vec![String::new()],
        None if section.starts_with("clustering.") => {
            let method = &section["clustering.".len()..];
            let place = |index| format!("/clusterings/{index}/method/{method}");
            (0..METHODS.len()).map(place).collect()
        }
        None => vec![format!("/{}", section.replace('.', "/"))],
    }
}

/// A key's default as the reference shows it.
fn default_of(section: &Section, key: &Key, sparse: &Value) -> String {
    let shown = |value: &Value| format!("`{}`", value.to_string().replace(',', ", "));
    let found = match key.default {
        Default::Required => return "required".to_owned(),
        Default::Preset => return "the preset's".to_owned(),
        Default::Depends(words) => return words.to_owned(),
        Default::At(place) => sparse.pointer(place),
        Default::FromCode => places(section.path)
            .iter()
            .find_map(|place| sparse.pointer(&format!("{place}/{}", key.name))),
    };
    shown(found.unwrap_or_else(|| panic!(
            "the resolved sweep has no `{}` in [{}]: write its default in words, or as a JSON pointer",
            key.name, section.path
        )))
}

fn path_of(section: &Section, key: &Key) -> String {
    if section.path.is_empty() {
        key.name.to_owned()
    } else {
        format!("{}.{}", section.path, key.name)
    }
}

/// The tables of all sections.
fn keys_as_markdown() -> String {
    let (sparse, types) = (sparse_sweep(), accepted_keys::<SweepFile>());
    let mut text = String::new();
    for section in &sections() {
        let heading = match section.path {
            "" => "Top of the file".to_owned(),
            "clustering" => "`[[clustering]]`".to_owned(),
            path => format!("`[{path}]`"),
        };
        writeln!(text, "#### {heading}\n\n{}\n", section.about).unwrap();
        writeln!(text, "| key | type | default | allowed | meaning |").unwrap();
        writeln!(text, "|---|---|---|---|---|").unwrap();
        for key in &section.keys {
            let path = path_of(section, key);
            let kind = types.get(&path).map_or("", String::as_str);
            let kind = if kind == "table" {
                "text or table"
            } else {
                kind
            };
            let default = default_of(section, key, &sparse);
            writeln!(
                text,
                "| `{}` | {kind} | {default} | {} | {} |",
                key.name, key.allowed, key.about
            )
            .unwrap();
        }
        text.push('\n');
    }
    text
}

/// Presets: a list, then the values in which they differ.
fn presets_as_markdown() -> String {
    let presets: Vec<_> = preset_names().into_iter().filter_map(preset).collect();
    let mut text = String::new();
    for preset in &presets {
        let Preset {
            name,
            summary,
            sources,
            ..
        } = preset;
        writeln!(text, "- `{name}`: {summary}. Sources: {sources}.").unwrap();
    }
    let names: Vec<&str> = presets.iter().map(|preset| preset.name).collect();
    writeln!(
        text,
        "\n| key of `[training]` | `{}` |",
        names.join("` | `")
    )
    .unwrap();
    writeln!(text, "|---|{}", "---|".repeat(presets.len())).unwrap();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for preset in &presets {
        let parts = [
            ("network.", serde_json::to_value(&preset.network)),
            ("optimiser.", serde_json::to_value(&preset.optimiser)),
            ("augment.", serde_json::to_value(&preset.augment)),
            (
                "",
                Ok(
                    serde_json::json!({"budget_kimg": preset.budget_kimg, "precision": preset.precision,
                    "sampler steps": preset.sampler_steps}),
                ),
            ),
        ];
        for (prefix, part) in parts {
            for (name, value) in part.unwrap().as_object().unwrap() {
                let name = format!("{prefix}{name}");
                let row = rows.iter().position(|(known, _)| *known == name);
                let row = row.unwrap_or_else(|| {
                    rows.push((name, Vec::new()));
                    rows.len() - 1
                });
                let column = presets.iter().position(|p| p.name == preset.name).unwrap();
                rows[row].1.resize(column, "–".to_owned());
                rows[row]
                    .1
                    .push(value.to_string().trim_matches('"').replace(',', ", "));
            }
        }
    }
    // Filled in by the image set, the clustering and the augmentation.
    let resolved_later = [
        "network.channels",
        "network.label_dim",
        "network.augment_dim",
    ];
    let mut common = Vec::new();
    for (name, mut values) in rows {
        values.resize(presets.len(), "–".to_owned());
        if resolved_later.contains(&name.as_str()) {
            continue;
        }
        if values.iter().all(|value| *value == values[0]) {
            common.push(format!("`{name}` {}", values[0]));
        } else {
            writeln!(text, "| `{name}` | {} |", values.join(" | ")).unwrap();
        }
    }
    writeln!(text, "\nEqual in all presets: {}.", common.join(", ")).unwrap();
    text
}

/// The text with everything between the marks of `section` replaced.
fn filled(text: &str, section: &str, content: &str) -> String {
    let open = format!("<!-- {section} -->\n");
    let start = text
        .find(&open)
        .unwrap_or_else(|| panic!("services/README.md has no {open:?}"))
        + open.len();
    let end = start + text[start..].find("<!-- end -->").expect("an end mark");
    format!("{}\n{}\n\n{}", &text[..start], content.trim(), &text[end..])
}

#[test]
fn the_reference_in_the_readme_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/README.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let expected = filled(&found, "sweep keys", &keys_as_markdown());
    let expected = filled(&expected, "presets", &presets_as_markdown());
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    } else {
        assert!(
            found == expected,
            "services/README.md is out of date: run this test with CEDM_BLESS=1"
        );
    }
}

#[test]
fn every_accepted_key_is_documented_and_every_documented_key_is_accepted() {
    let mut accepted: BTreeMap<String, String> = accepted_keys::<SweepFile>();
    // A table in [evaluation] takes the keys of [extractor].
    let inner = |keys: &BTreeMap<String, String>, prefix: &str| -> BTreeSet<String> {
        let below = |path: &String| path.strip_prefix(prefix).map(str::to_owned);
        keys.keys().filter_map(below).collect()
    };
    assert_eq!(
        inner(&accepted, "evaluation.extractor."),
        inner(&accepted, "extractor.")
    );
    accepted.retain(|path, _| !path.starts_with("evaluation.extractor."));
    let mut documented: BTreeSet<String> = BTreeSet::new();
    for section in &sections() {
        documented.insert(section.path.to_owned());
        documented.extend(section.keys.iter().map(|key| path_of(section, key)));
    }
    let accepted: BTreeSet<String> = accepted.into_keys().collect();
    let missing: Vec<_> = accepted.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&accepted).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "reference/keys.txt lacks {missing:?} and has {unknown:?}, which the sweep file does not accept"
    );
}

/// [`SPARSE`] with one more key, or another value of a required one.
fn with(section: &str, key: &str, value: &str) -> String {
    let headings = [format!("[{section}]"), format!("[[{section}]]")];
    let mut lines: Vec<String> = SPARSE.lines().map(str::to_owned).collect();
    let first = match section {
        "" => 0,
        _ => {
            let heading = lines.iter().position(|line| headings.contains(line));
            heading.unwrap_or_else(|| panic!("the sparse sweep has no [{section}]")) + 1
        }
    };
    let is_heading = |line: &String| line.starts_with('[');
    let end = lines[first..].iter().position(is_heading);
    let end = end.map_or(lines.len(), |end| first + end);
    lines.splice(first..end, {
        let given = format!("{key} = ");
        let mut kept: Vec<String> = lines[first..end]
            .iter()
            .filter(|line| !line.starts_with(&given))
            .cloned()
            .collect();
        kept.insert(0, format!("{key} = {value}"));
        kept
    });
    lines.join("\n")
}

#[test]
fn values_outside_the_documented_ranges_are_refused() {
    let mut accepted = Vec::new();
    for section in &sections() {
        for key in &section.keys {
            for value in &key.refused {
                let text = with(section.path, key.name, value);
                match SweepSpec::parse(&text) {
                    Ok(_) => accepted.push(format!("{} = {value}", path_of(section, key))),
                    Err(error) => assert!(
                        [key.name, value]
                            .iter()
                            .any(|part| error.to_string().contains(part)),
                        "{} = {value}: {error}",
                        path_of(section, key)
                    ),
                }
            }
        }
    }
    assert!(accepted.is_empty(), "accepted: {accepted:#?}");
}
