//! Labels in a column of a table (parquet).

use super::{RawLabel, classes};
use crate::{ImageError, ImportOptions, container::Container, source::Labels};
use std::collections::BTreeSet;

/// Labels of the images of a table; `None` where the container is none.
pub(super) fn labels(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    let Some(table) = &container.table else {
        return Ok(None);
    };
    let others: Vec<&str> = table.others.iter().map(String::as_str).collect();
    let Some(column) = &table.column else {
        if let Some(wanted) = &options.label_field {
            return Err(ImageError::Option {
                option: "label-field",
                reason: format!("`{wanted}`, but the columns are {}", others.join(", ")),
            });
        }
        let note = (!others.is_empty()).then(|| {
            format!(
                "no column `label`; --label-field takes one of {}",
                others.join(", ")
            )
        });
        return Ok(Some(Labels {
            notes: note.into_iter().collect(),
            ..Labels::default()
        }));
    };
    let fail = |reason: String| ImageError::Labels {
        what: format!("column `{column}`"),
        reason,
    };
    let raw: Result<Vec<_>, String> = names
        .iter()
        .map(|name| RawLabel::of_json(table.labels.get(*name).unwrap_or(&serde_json::Value::Null)))
        .collect();
    let found = raw.and_then(|raw| classes(raw, names)).map_err(fail)?;
    let (fine, texts) = found.map_or((None, Vec::new()), |(fine, texts)| (Some(fine), texts));
    Ok(Some(Labels {
        from: fine.is_some().then(|| format!("column `{column}`")),
        fine,
        class_names: if texts.is_empty() {
            table.class_names.clone()
        } else {
            texts
        },
        read: BTreeSet::new(),
        ..Labels::default()
    }))
}
