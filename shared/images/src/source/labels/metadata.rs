//! `metadata.csv` and `metadata.jsonl` of Hugging Face image folders.

use super::{RawLabel, base_name, classes, keys::value_at, of_classes, read_text, three, within};
use crate::{
    ImageError, ImportOptions,
    container::{Container, Member},
    source::Labels,
};
use std::collections::{BTreeSet, HashMap};

/// The column of labels where the options name none.
const COLUMN: &str = "label";

/// Labels from the column of every metadata file, one of which may lie in each folder; its
/// `file_name` is relative to it. `None` where there is no such file, or none has the column.
pub(super) fn labels(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    let is_metadata =
        |member: &&Member| matches!(base_name(&member.name), "metadata.csv" | "metadata.jsonl");
    let column = options.label_field.as_deref().unwrap_or(COLUMN);
    let mut by_name = HashMap::new();
    let mut read = BTreeSet::new();
    for member in container.members.iter().filter(is_metadata) {
        let fail = |reason: String| ImageError::Labels {
            what: format!("`{}`", member.name),
            reason,
        };
        let text = read_text(container, member, names.len(), options)?;
        let folder = &member.name[..member.name.len() - base_name(&member.name).len()];
        let rows = if member.name.ends_with(".csv") {
            csv_rows(&text, column)
        } else {
            json_rows(&text, column)
        };
        let Some(rows) = rows.map_err(fail)? else {
            if options.label_field.is_some() {
                return Err(fail(format!("no column `{column}` beside `file_name`")));
            }
            continue;
        };
        read.insert(member.name.clone());
        for (name, label) in rows {
            let full = within(folder, &name);
            let before = by_name.insert(full, label.clone());
            if before.is_some_and(|before| before != label) {
                return Err(fail(format!(
                    "`{name}` stands there twice, with different labels"
                )));
            }
        }
    }
    if read.is_empty() {
        return Ok(None);
    }
    let what = read.iter().cloned().collect::<Vec<_>>().join(", ");
    if by_name.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|name| by_name.contains_key(*name)) {
        return Err(ImageError::Labels {
            what: format!("`{what}`"),
            reason: format!(
                "none of its {} names is that of an image, the first {}; give --ignore-labels to \
                 import without",
                by_name.len(),
                three(by_name.keys().map(String::as_str).collect())
            ),
        });
    }
    let raw = names
        .iter()
        .map(|name| by_name.get(*name).cloned().flatten());
    let found = classes(raw.collect(), names).map_err(|reason| ImageError::Labels {
        what: format!("`{what}`"),
        reason,
    })?;
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let lost = by_name
        .keys()
        .filter(|name| !known.contains(name.as_str()))
        .count();
    let notes = (lost > 0).then(|| format!("{lost} rows of {what} name no image and are ignored"));
    Ok(Some(Labels {
        notes: notes.into_iter().collect(),
        read,
        ..of_classes(found, format!("column `{column}` of {what}"))
    }))
}

type Rows = Option<Vec<(String, Option<RawLabel>)>>;

fn csv_rows(text: &str, column: &str) -> Result<Rows, String> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(false)
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| error.to_string())?.clone();
    let place = |wanted: &str| headers.iter().position(|header| header.trim() == wanted);
    let twice = headers
        .iter()
        .filter(|header| header.trim() == column)
        .count()
        > 1;
    if twice {
        return Err(format!("two columns `{column}`"));
    }
    let Some(name) = place("file_name") else {
        return Err("no column `file_name`".to_owned());
    };
    let Some(label) = place(column) else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let (name, label) = (&record[name], &record[label]);
        let label = (!label.trim().is_empty()).then(|| RawLabel::of_text(label));
        rows.push((name.to_owned(), label));
    }
    Ok(Some(rows))
}

fn json_rows(text: &str, column: &str) -> Result<Rows, String> {
    let (mut rows, mut found) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = |reason: String| format!("line {}: {reason}", index + 1);
        let row: serde_json::Value =
            serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
        let name = row["file_name"].as_str();
        let name = name.ok_or_else(|| at("no text `file_name`".to_owned()))?;
        let label = value_at(&row, column);
        found |= label.is_some();
        let label = label.map_or(Ok(None), RawLabel::of_json).map_err(at)?;
        rows.push((name.to_owned(), label));
    }
    Ok(found.then_some(rows))
}
