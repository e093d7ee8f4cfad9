//! Labels by class folders.

use crate::source::Labels;
use std::collections::{BTreeSet, HashMap};

/// The label of an image is the index of its top-level folder among all, sorted by name; without
/// labels unless all images are in folders and there is more than one (spec §1.3). A folder that
/// holds everything (`wrapper`) is no class.
pub(super) fn labels(wrapper: &str, names: &[&str]) -> Labels {
    let inner = |name: &str| name.strip_prefix(wrapper).unwrap_or(name).to_owned();
    let top = |name: &str| {
        inner(name)
            .split_once('/')
            .map(|(folder, _)| folder.to_owned())
    };
    let folders: BTreeSet<String> = names.iter().filter_map(|name| top(name)).collect();
    if folders.len() < 2 {
        return Labels::default();
    }
    let outside = names.iter().filter(|name| top(name).is_none()).count();
    if outside > 0 {
        // Images outside all folders would have no class.
        let note = format!(
            "class folders are ignored: {outside} of {} images lie outside all {} folders",
            names.len(),
            folders.len()
        );
        return Labels {
            notes: vec![note],
            ..Labels::default()
        };
    }
    if folders.iter().all(|name| is_block(name)) {
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
        from: Some("the names of folders".to_owned()),
        class_names: folders.into_iter().collect(),
        ..Labels::default()
    }
}

/// Whether a folder is a block of consecutive images and not a class: `00012` in an EDM archive,
/// for images 12,000 to 12,999; `012000` or `0050000` beside samples, named by the first seed.
fn is_block(name: &str) -> bool {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    match name.len() {
        5 => digits,
        6 | 7 => digits && name.ends_with("000"),
        _ => false,
    }
}
