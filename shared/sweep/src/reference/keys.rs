//! What every key of the sweep file means: reads `keys.txt`.
//!
//! Types come from the deserialisers, and defaults from a parsed sweep; a test compares the table
//! with both, so that no key can be missing or left over.

/// A table of the sweep file.
pub(super) struct Section {
    /// Its path: `clustering.temi`; empty for the top of the file.
    pub(super) path: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) keys: Vec<Key>,
}

/// A key that is not itself a section.
pub(super) struct Key {
    /// Its name within the section.
    pub(super) name: &'static str,
    /// Where its default comes from.
    pub(super) default: Default,
    /// Allowed values beyond the type, in words; may be empty.
    pub(super) allowed: &'static str,
    /// Values just outside, which the sweep file's checks must refuse.
    pub(super) refused: Vec<&'static str>,
    /// Its meaning in one sentence.
    pub(super) about: &'static str,
}

/// Where a key's default comes from.
pub(super) enum Default {
    /// There is none: the key must be given.
    Required,
    /// The value in a resolved sweep whose file does not give the key.
    FromCode,
    /// As `FromCode`, at this JSON pointer.
    At(&'static str),
    /// That of the preset.
    Preset,
    /// It depends on other keys, as these words say.
    Depends(&'static str),
}

/// Every section, in the order of a sweep file.
pub(super) fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in include_str!("keys.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (path, about) = rest.split_once("] ").expect("`[path] about`");
            sections.push(Section {
                path,
                about,
                keys: Vec::new(),
            });
        } else {
            let section = sections.last_mut().expect("a section before its keys");
            section.keys.push(key(line));
        }
    }
    sections
}

fn key(line: &'static str) -> Key {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, default, allowed, refused, about] = columns[..] else {
        panic!("expected 5 columns: {line}")
    };
    Key {
        name,
        default: match default {
            "=" => Default::FromCode,
            "required" => Default::Required,
            "preset" => Default::Preset,
            place if place.starts_with('/') => Default::At(place),
            words => Default::Depends(words),
        },
        allowed,
        refused: refused
            .split(';')
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .collect(),
        about,
    }
}
