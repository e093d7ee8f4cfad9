//! Labels of encoded images: from `dataset.json`, WebDataset records or class folders.

use super::Labels;
use crate::{ImageError, container::Container};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

const FILE: &str = "dataset.json";

/// Labels of the named images: from `dataset.json` if there is one, from the records of WebDataset
/// shards, otherwise from folder names.
pub(super) fn find(
    container: &Container,
    names: &[&str],
    limit: u64,
) -> Result<Labels, ImageError> {
    if let Some(member) = container.find(FILE) {
        let bytes = container.read(member, limit)?;
        return from_json(&bytes, names);
    }
    if container.webdataset {
        return from_records(container, names);
    }
    Ok(from_folders(names))
}

/// `dataset.json` of the EDM tool: pairs of name and integer under `labels`, and perhaps under
/// `coarse_labels` (spec §1.1).
fn from_json(bytes: &[u8], names: &[&str]) -> Result<Labels, ImageError> {
    let fail = |reason: String| ImageError::Labels {
        what: format!("`{FILE}`"),
        reason,
    };
    let json: Value = serde_json::from_slice(bytes).map_err(|error| fail(error.to_string()))?;
    // `null` where a set has no labels, as the EDM tool writes it.
    let fine = column(&json["labels"], names).map_err(fail)?;
    let coarse = column(&json["coarse_labels"], names).map_err(fail)?;
    let class_names = json["class_names"].as_array().map(|list| {
        list.iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    });
    Ok(Labels {
        fine,
        coarse,
        class_names: class_names.unwrap_or_default(),
    })
}

fn column(value: &Value, names: &[&str]) -> Result<Option<Vec<i64>>, String> {
    let pairs = match value {
        Value::Null => return Ok(None),
        Value::Array(pairs) => pairs,
        _ => return Err("`labels` is neither null nor an array of [name, label]".to_owned()),
    };
    let mut by_name = HashMap::with_capacity(pairs.len());
    for pair in pairs {
        let (Some(name), label) = (pair[0].as_str(), &pair[1]) else {
            return Err(format!("`{pair}` is not a pair of name and label"));
        };
        // The EDM tool allows vectors; conditions here are classes.
        if label.is_array() {
            return Err(
                "label vectors are not supported, only integers: give --ignore-labels to \
                 import without"
                    .to_owned(),
            );
        }
        let Some(label) = label.as_i64().filter(|label| *label >= 0) else {
            return Err(format!(
                "`{name}` has label {label}, expected an integer from 0"
            ));
        };
        // The EDM tool on Windows writes backslashes.
        by_name.insert(name.replace('\\', "/"), label);
    }
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let unknown: Vec<&str> = by_name
        .keys()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!(
            "{} names without an image: {}",
            unknown.len(),
            three(unknown)
        ));
    }
    let labels: Vec<Option<i64>> = names
        .iter()
        .map(|name| by_name.get(*name).copied())
        .collect();
    let missing: Vec<&str> = names
        .iter()
        .zip(&labels)
        .filter(|(_, label)| label.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "{} images without a label: {}; give --ignore-labels to import without",
            missing.len(),
            three(missing)
        ));
    }
    Ok(Some(labels.into_iter().flatten().collect()))
}

/// The first three in order, for error messages.
fn three(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    let shown = names
        .iter()
        .take(3)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > 3 {
        format!("{shown}, …")
    } else {
        shown
    }
}

/// The label of an image is the index of its top-level folder among all, sorted by name; without
/// labels unless all images are in folders and there is more than one (spec §1.3).
fn from_folders(names: &[&str]) -> Labels {
    let top = |name: &str| name.split_once('/').map(|(folder, _)| folder.to_owned());
    let folders: BTreeSet<String> = names.iter().filter_map(|name| top(name)).collect();
    if folders.len() < 2
        // Images outside all folders would have no class.
        || names.iter().any(|name| !name.contains('/'))
        // Folders of an EDM archive number blocks of images.
        || folders.iter().all(|name| is_edm_block(name))
    {
        return Labels::default();
    }
    let index: HashMap<&String, i64> = folders
        .iter()
        .enumerate()
        .map(|(index, name)| (name, index as i64))
        .collect();
    let fine = names
        .iter()
        .filter_map(|name| top(name))
        .map(|folder| index[&folder])
        .collect();
    Labels {
        fine: Some(fine),
        coarse: None,
        class_names: folders.into_iter().collect(),
    }
}

/// Whether a folder is a block of a thousand images in an EDM archive (`00012`), and not a class.
fn is_edm_block(name: &str) -> bool {
    name.len() == 5 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// WebDataset: an image's label is the integer in the member of the same stem that ends in `.cls`.
fn from_records(container: &Container, names: &[&str]) -> Result<Labels, ImageError> {
    let mut fine = Vec::with_capacity(names.len());
    for name in names {
        let stem = name.rsplit_once('.').map_or(*name, |(stem, _)| stem);
        let fail = |reason: String| ImageError::Labels {
            what: format!("`{stem}.cls`"),
            reason,
        };
        let Some(member) = container.find(&format!("{stem}.cls")) else {
            // A set without any label is fine, one with some labels missing is not.
            if fine.is_empty() {
                continue;
            }
            return Err(fail("is missing".to_owned()));
        };
        let text = String::from_utf8_lossy(&container.read(member, 64)?)
            .trim()
            .to_owned();
        fine.push(
            text.parse()
                .ok()
                .filter(|label| *label >= 0)
                .ok_or_else(|| fail(format!("`{text}` is not an integer from 0")))?,
        );
    }
    match fine.len() {
        0 => Ok(Labels::default()),
        count if count == names.len() => Ok(Labels {
            fine: Some(fine),
            ..Labels::default()
        }),
        count => Err(ImageError::Labels {
            what: "WebDataset records".to_owned(),
            reason: format!("{count} of {} images have a label", names.len()),
        }),
    }
}
