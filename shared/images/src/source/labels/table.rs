//! Labels in a column of a table (parquet).

use super::{RawLabel, classes, of_classes};
use crate::{ImageError, ImportOptions, container::Container, source::Labels};

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
    if found.is_none() {
        let note = format!("column `{column}` holds no value: no image is labelled");
        return Ok(Some(Labels {
            notes: vec![note],
            ..Labels::default()
        }));
    }
    let mut labels = of_classes(found, format!("column `{column}`"));
    if labels.class_names.is_empty() {
        labels.class_names.clone_from(&table.class_names);
    }
    Ok(Some(labels))
}
