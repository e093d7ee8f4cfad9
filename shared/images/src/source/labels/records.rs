//! WebDataset: members that share a key are one sample, with a field for each of them.
//!
//! The key is the name up to the first dot of its last part, the field is the rest, in which case
//! does not matter: `a/000.left.JPG` is the field `left.jpg` of sample `a/000`.

use super::{
    RawLabel, classes,
    keys::{keys_of, value_at},
    of_classes, three,
};
use crate::{
    ImageError, ImportOptions, Skipped,
    container::{Container, Member, key_and_field},
    decode::is_image_name,
    source::Labels,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The field of class numbers, where the options name none.
const FIELD: &str = "cls";
/// Bound on a field that holds a label.
const FIELD_LIMIT: u64 = 1 << 20;

/// Key and field of a member.
pub(in crate::source) struct Sample<'a> {
    key: &'a str,
    field: String,
}

impl<'a> Sample<'a> {
    pub(in crate::source) fn of(name: &'a str) -> Self {
        let (key, field) = key_and_field(name);
        Self { key, field }
    }
}

/// The field of a member.
pub(super) fn field_of(name: &str) -> String {
    Sample::of(name).field
}

/// Of these members of records the images to import: the field that the options name, or the only
/// image of each sample.
///
/// # Errors
/// When samples have several images and no field is named, or none has the named field.
pub(in crate::source) fn select(
    container: &Container,
    images: Vec<u32>,
    options: &ImportOptions,
) -> Result<Vec<u32>, ImageError> {
    let name = |at: &u32| container.members[*at as usize].name.as_str();
    if let Some(wanted) = &options.image_field {
        let wanted = wanted.to_lowercase();
        // `jpg` is that field; where no sample has it, every field that ends so.
        let is_whole = images.iter().any(|at| field_of(name(at)) == wanted);
        let matches = |at: &u32| {
            let field = field_of(name(at));
            field == wanted || (!is_whole && field.rsplit('.').next() == Some(&wanted))
        };
        let (chosen, rest): (Vec<u32>, Vec<u32>) = images.into_iter().partition(matches);
        if chosen.is_empty() {
            return Err(ImageError::Option {
                option: "image-field",
                reason: format!(
                    "`{wanted}`, expected one of {}",
                    fields(rest.iter().map(name))
                ),
            });
        }
        return one_each(container, chosen);
    }
    one_each(container, images)
}

fn one_each(container: &Container, images: Vec<u32>) -> Result<Vec<u32>, ImageError> {
    let name = |at: &u32| container.members[*at as usize].name.as_str();
    let mut keys = BTreeSet::new();
    let twice = images
        .iter()
        .find(|at| !keys.insert(Sample::of(name(at)).key));
    match twice {
        None => Ok(images),
        Some(at) => Err(ImageError::Option {
            option: "image-field",
            reason: format!(
                "none given, but sample `{}` has several images: give --image-field, one of {}",
                Sample::of(name(at)).key,
                fields(images.iter().map(name))
            ),
        }),
    }
}

/// Files that describe a set, and are no samples of it.
const DOCUMENTS: [&str; 16] = [
    "md", "rst", "html", "pdf", "py", "sh", "log", "toml", "ini", "cfg", "yaml", "yml", "lock",
    "bib", "csv", "tsv",
];
const NAMES: [&str; 8] = [
    "dataset.json",
    "labels.json",
    "metadata.jsonl",
    "license",
    "licence",
    "readme",
    "license.txt",
    "readme.txt",
];

/// The samples of which no image is imported, with the reason; not those whose images the globs of
/// the options leave out.
pub(in crate::source) fn lost(
    container: &Container,
    kept: &[u32],
    wanted: impl Fn(&str) -> bool,
    options: &ImportOptions,
) -> Vec<Skipped> {
    let kept: BTreeSet<&str> = kept
        .iter()
        .map(|at| key_and_field(&container.members[*at as usize].name).0)
        .collect();
    let mut samples: BTreeMap<&str, (BTreeSet<String>, bool, bool)> = BTreeMap::new();
    for member in &container.members {
        let (key, field) = key_and_field(&member.name);
        let base = super::base_name(&member.name).to_ascii_lowercase();
        let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
        let document = DOCUMENTS.contains(&extension) || NAMES.contains(&base.as_str());
        if kept.contains(key) || document {
            continue;
        }
        let image = is_image_name(&member.name);
        let (fields, images, unwanted) = samples.entry(key).or_default();
        fields.insert(field);
        *images |= image;
        *unwanted |= image && !wanted(&member.name);
    }
    let left = samples.into_iter().filter(|(_, (.., unwanted))| !unwanted);
    let left = left.map(|(key, (fields, images, _))| {
        let fields = three(fields.iter().map(String::as_str).collect());
        let reason = match &options.image_field {
            Some(wanted) if images => {
                format!("a sample without field `{wanted}`, with the fields {fields}")
            }
            _ => format!("no image among the fields {fields}"),
        };
        Skipped {
            name: key.to_owned(),
            reason,
        }
    });
    left.collect()
}

/// The fields of members, for messages.
fn fields<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let fields: BTreeSet<String> = names.map(field_of).collect();
    three(fields.iter().map(String::as_str).collect())
}

/// Labels of the samples of the named images: of the field that the options name (`cls` by
/// default), or of that key in the field `json`; `None` where they have no such field and the
/// options name none.
pub(super) fn labels(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    let wanted = options.label_field.as_deref().unwrap_or(FIELD);
    let lower = wanted.to_lowercase();
    let mut by_field: BTreeMap<String, HashMap<&str, &Member>> = BTreeMap::new();
    for member in &container.members {
        let Sample { key, field } = Sample::of(&member.name);
        if field == lower || field == "json" {
            by_field.entry(field).or_default().insert(key, member);
        }
    }
    let (field, in_json) = if by_field.contains_key(&lower) {
        (lower.as_str(), false)
    } else if options.label_field.is_some() && by_field.contains_key("json") {
        ("json", true)
    } else if let Some(wanted) = &options.label_field {
        let others = container.members.iter().map(|member| member.name.as_str());
        let others = others.filter(|name| !is_image_name(name));
        return Err(ImageError::Option {
            option: "label-field",
            reason: format!(
                "`{wanted}`, but the samples have the fields {}",
                fields(others)
            ),
        });
    } else {
        return Ok(None);
    };
    let members = &by_field[field];
    let mut raw = Vec::with_capacity(names.len());
    let mut keys = BTreeSet::new();
    for name in names {
        let Some(member) = members.get(Sample::of(name).key) else {
            raw.push(None);
            continue;
        };
        let fail = |reason: String| ImageError::Labels {
            what: format!("`{}`", member.name),
            reason,
        };
        let bytes = container.read(member, FIELD_LIMIT)?;
        let text = super::decoded(&bytes).map_err(fail)?;
        raw.push(if in_json {
            let json: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
            let found = value_at(&json, wanted);
            if found.is_none() {
                keys.extend(keys_of(&json, 0));
            }
            found.map_or(Ok(None), RawLabel::of_json).map_err(fail)?
        } else {
            Some(RawLabel::of_text(&text))
        });
        // Words where nobody asked for words are captions, or another program's field.
        if options.label_field.is_none() && !matches!(raw.last(), Some(Some(RawLabel::Number(0..))))
        {
            let shown: String = text.trim().chars().take(40).collect();
            return Err(fail(format!(
                "`{shown}` is not an integer from 0; --label-field {field} takes names of classes"
            )));
        }
    }
    if in_json && raw.iter().all(Option::is_none) {
        return Err(ImageError::Option {
            option: "label-field",
            reason: format!(
                "`{wanted}`, but no sample has such a field, and the keys of field `json` are {}",
                three(keys.iter().map(String::as_str).collect())
            ),
        });
    }
    let found = classes(raw, names).map_err(|reason| ImageError::Labels {
        what: format!("field `{field}` of the samples"),
        reason,
    })?;
    let place = if in_json {
        format!("`{wanted}` in field `json`")
    } else {
        format!("field `{field}`")
    };
    Ok(Some(Labels {
        fields: BTreeSet::from([field.to_owned()]),
        ..of_classes(found, format!("{place} of the samples"))
    }))
}
