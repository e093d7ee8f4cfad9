//! `dataset.json` of the EDM tool, and `labels.json` beside samples.

use super::{RawLabel, classes, of_classes, read_text, three};
use crate::{
    ImageError, ImportOptions,
    container::{Container, Member},
    source::{Labels, VECTORS},
};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// A JSON file at the top of the container, or of the folder around everything in it.
fn read<'a>(
    container: &'a Container,
    file: &str,
    images: usize,
    options: &ImportOptions,
) -> Result<Option<(&'a Member, Value)>, ImageError> {
    let wrapped = format!("{}{file}", container.wrapper);
    let Some(member) = container.find(&wrapped).or_else(|| container.find(file)) else {
        return Ok(None);
    };
    let text = read_text(container, member, images, options)?;
    let json = serde_json::from_str(&text).map_err(|error| fail(member, error.to_string()))?;
    Ok(Some((member, json)))
}

fn fail(member: &Member, reason: String) -> ImageError {
    ImageError::Labels {
        what: format!("`{}`", member.name),
        reason,
    }
}

/// `dataset.json`: pairs of name and label under `labels`, and perhaps under `coarse_labels`
/// (spec §1.1).
pub(super) fn dataset(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    let Some((member, json)) = read(container, "dataset.json", names.len(), options)? else {
        return Ok(None);
    };
    if json.get("labels").is_none() {
        let reason = "no key `labels`, expected null or a list of [name, label]; give \
            --ignore-labels to import without";
        return Err(fail(member, reason.to_owned()));
    }
    // Names in the file are relative to its own folder.
    let folder = member.name.strip_suffix("dataset.json").unwrap_or("");
    let mut notes = Vec::new();
    let mut column = |key: &str| {
        column(&json[key], folder, names, &mut notes).map_err(|reason| fail(member, reason))
    };
    // `null` where a set has no labels, as the EDM tool writes it.
    let fine = column("labels")?;
    if let Some(Column::Vectors(vectors)) = fine {
        let width = vectors.first().map_or(0, Vec::len);
        notes.push(format!(
            "`labels` are vectors of {width} numbers, no classes: `cedm-extractor import --out \
             FOLDER` keeps them in FOLDER/{VECTORS}, for `cedm-trainer run --vectors`; `cedm \
             import` has no place for them and stores the images without labels"
        ));
        return Ok(Some(Labels {
            vectors: Some(vectors),
            notes,
            read: BTreeSet::from([member.name.clone()]),
            ..Labels::default()
        }));
    }
    let coarse = match column("coarse_labels")? {
        Some(Column::Classes((labels, _))) => Some(labels),
        Some(Column::Vectors(_)) | None => None,
    };
    let listed = json["class_names"].as_array().map(|list| {
        list.iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    });
    let found = match fine {
        Some(Column::Classes(classes)) => Some(classes),
        Some(Column::Vectors(_)) | None => None,
    };
    let labels = of_classes(found, member.name.clone());
    Ok(Some(Labels {
        coarse,
        class_names: listed.unwrap_or(labels.class_names),
        notes,
        read: BTreeSet::from([member.name.clone()]),
        ..labels
    }))
}

/// The labels of all images.
enum Column {
    Classes(super::Classes),
    /// One vector for each image, all of one width, that are no classes.
    Vectors(Vec<Vec<f32>>),
}

fn column(
    value: &Value,
    folder: &str,
    names: &[&str],
    notes: &mut Vec<String>,
) -> Result<Option<Column>, String> {
    let pairs = match value {
        Value::Null => return Ok(None),
        Value::Array(pairs) => pairs,
        _ => return Err("`labels` is neither null nor an array of [name, label]".to_owned()),
    };
    let mut by_name = HashMap::with_capacity(pairs.len());
    for pair in pairs {
        let (Some(name), Some(label)) = (pair[0].as_str(), pair.get(1)) else {
            let shown: String = pair.to_string().chars().take(80).collect();
            return Err(format!("`{shown}` is not a pair of name and label"));
        };
        let label = RawLabel::of_json(label).map_err(|error| format!("`{name}` has {error}"))?;
        // The EDM tool on Windows writes backslashes.
        let full = format!("{folder}{}", name.replace('\\', "/"));
        let before = by_name.insert(full, label.clone());
        if before.is_some_and(|before| before != label) {
            return Err(format!(
                "`{name}` stands there twice, with different labels"
            ));
        }
    }
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let mut unknown = by_name.keys().map(String::as_str);
    let unknown: Vec<&str> = unknown
        .by_ref()
        .filter(|name| !known.contains(name))
        .collect();
    if !unknown.is_empty() {
        // Whoever removes images from a set seldom edits its list.
        notes.push(format!(
            "labels of {} images that are not there are ignored: {}",
            unknown.len(),
            three(unknown)
        ));
    }
    let labels: Vec<Option<RawLabel>> = names
        .iter()
        .map(|name| by_name.get(*name).cloned().flatten())
        .collect();
    if let Some(vectors) = vectors(&labels) {
        return Ok(Some(Column::Vectors(vectors)));
    }
    match classes(labels, names)?.map(Column::Classes) {
        None if !pairs.is_empty() => Err(format!(
            "none of its {} names is that of an image; give --ignore-labels to import without",
            pairs.len()
        )),
        found => Ok(found),
    }
}

/// Labels that are vectors of one width, of which some is not one-hot; `None` for all others.
fn vectors(labels: &[Option<RawLabel>]) -> Option<Vec<Vec<f32>>> {
    let all: Option<Vec<&Vec<f64>>> = labels
        .iter()
        .map(|label| match label {
            Some(RawLabel::Vector(vector)) => Some(vector),
            _ => None,
        })
        .collect();
    let all = all?;
    let width = all.first()?.len();
    let fits = all
        .iter()
        .all(|vector| vector.len() == width && width <= MAX_WIDTH);
    if !fits || all.iter().all(|vector| super::one_hot(vector).is_some()) {
        return None;
    }
    let narrow = |vector: &&Vec<f64>| vector.iter().map(|value| *value as f32).collect();
    Some(all.iter().map(narrow).collect())
}

/// Widest vector of an image.
const MAX_WIDTH: usize = 65_536;

/// `labels.json` that `cedm-sampler run` writes beside its images: an object from seed to label;
/// the name of an image is its seed (spec §9).
pub(super) fn by_seed(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    let Some((member, json)) = read(container, "labels.json", names.len(), options)? else {
        return Ok(None);
    };
    let seed = |name: &str| {
        let stem = super::base_name(name).split('.').next().unwrap_or("");
        stem.parse::<u64>().ok()
    };
    let (Value::Object(by_seed), Some(seeds)) = (
        json,
        names
            .iter()
            .map(|name| seed(name))
            .collect::<Option<Vec<u64>>>(),
    ) else {
        // Another program's file of this name: it is named as not used.
        return Ok(None);
    };
    let raw: Result<Vec<_>, String> = seeds
        .iter()
        .map(|seed| RawLabel::of_json(by_seed.get(&seed.to_string()).unwrap_or(&Value::Null)))
        .collect();
    let found = raw.and_then(|raw| classes(raw, names));
    let found = found.map_err(|reason| fail(member, reason))?;
    Ok(found.map(|found| Labels {
        read: BTreeSet::from([member.name.clone()]),
        ..of_classes(Some(found), member.name.clone())
    }))
}
