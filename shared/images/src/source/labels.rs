//! Labels of encoded images: from files beside them, from WebDataset records, or from class
//! folders.
//!
//! Whatever a set has is used in one way or named: a label that is silently not read, or read from
//! the wrong place, harms every network that is trained on it.

mod folders;
mod json;
mod metadata;
mod records;
mod table;

use super::Labels;
use crate::{
    ImageError, ImportOptions,
    container::{Container, Member},
};
use std::collections::BTreeSet;

pub(super) use records::select;

/// A label as it was found, before it becomes the number of a class.
#[derive(Clone, Debug, PartialEq)]
enum RawLabel {
    Number(i64),
    Text(String),
    Vector(Vec<f64>),
}

/// Labels of the named images: from `dataset.json` or `labels.json` if there is one, from the
/// records of WebDataset shards, from `metadata.csv` or `metadata.jsonl`, otherwise from folder
/// names.
pub(super) fn find(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Labels, ImageError> {
    let mut labels = if let Some(found) = table::labels(container, names, options)? {
        found
    } else if let Some(found) = json::dataset(container, names, options)? {
        found
    } else if let Some(found) = json::by_seed(container, names, options)? {
        found
    } else if container.webdataset {
        records::labels(container, names, options)?
    } else if let Some(found) = metadata::labels(container, names, options)? {
        found
    } else {
        folders::labels(&container.wrapper, names)
    };
    labels.notes.extend(unused(container, &labels));
    Ok(labels)
}

/// Files of labels that no rule has read, in one sentence.
fn unused(container: &Container, labels: &Labels) -> Option<String> {
    let of_labels = |name: &str| {
        let base = base_name(name).to_ascii_lowercase();
        let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
        matches!(
            extension,
            "cls" | "csv" | "tsv" | "jsonl" | "parquet" | "mat"
        ) || matches!(extension, "json" | "xml")
            || (extension == "txt" && (container.webdataset || base.contains("label")))
    };
    let found: Vec<&str> = container
        .members
        .iter()
        .map(|member| member.name.as_str())
        .filter(|name| of_labels(name) && !labels.read.contains(*name))
        .filter(|name| {
            // The fields of a record are one kind of file, not many.
            !container.webdataset || !labels.fields.contains(&records::field_of(name))
        })
        .collect();
    (!found.is_empty()).then(|| {
        let count = found.len();
        let (are, files) = if count == 1 {
            ("is", "file")
        } else {
            ("are", "files")
        };
        format!(
            "{count} {files} that may hold labels {are} not used: {}; --label-field names a field \
             or column to be read",
            three(found)
        )
    })
}

/// The part of a name behind the last slash.
fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The class of each image, and the names of the classes where labels were texts.
type Classes = (Vec<i64>, Vec<String>);

/// Classes of raw labels, one for each name: numbers as they are, texts by their place in the
/// alphabet, one-hot vectors by the place of the one.
///
/// # Errors
/// When some images have none, kinds are mixed, a number is negative, or a vector is not one-hot.
fn classes(raw: Vec<Option<RawLabel>>, names: &[&str]) -> Result<Option<Classes>, String> {
    if raw.iter().all(Option::is_none) {
        return Ok(None);
    }
    let missing: Vec<&str> = names
        .iter()
        .zip(&raw)
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
    let raw: Vec<RawLabel> = raw.into_iter().flatten().collect();
    let all_texts = raw.iter().all(|label| matches!(label, RawLabel::Text(_)));
    if all_texts {
        let texts = raw.into_iter().filter_map(|label| match label {
            RawLabel::Text(text) => Some(text),
            RawLabel::Number(_) | RawLabel::Vector(_) => None,
        });
        let texts: Vec<String> = texts.collect();
        let known: BTreeSet<&String> = texts.iter().collect();
        let known: Vec<String> = known.into_iter().cloned().collect();
        let index = |text| {
            known
                .binary_search(text)
                .expect("invariant: every text is known")
        };
        let labels = texts.iter().map(|text| index(text) as i64).collect();
        return Ok(Some((labels, known)));
    }
    let width = match &raw[0] {
        RawLabel::Vector(vector) => vector.len(),
        _ => 0,
    };
    let mut labels = Vec::with_capacity(raw.len());
    for (label, name) in raw.iter().zip(names) {
        labels.push(match label {
            RawLabel::Number(number) if *number >= 0 && width == 0 => *number,
            RawLabel::Vector(vector) if vector.len() == width && width > 0 => one_hot(vector)
                .ok_or_else(|| {
                    format!(
                        "`{name}` has a vector of {width} numbers that is not one-hot, expected \
                         one class: give --ignore-labels to import without"
                    )
                })?,
            other => {
                return Err(format!(
                    "`{name}` has label {}, expected {}",
                    other.shown(),
                    {
                        match &raw[0] {
                            RawLabel::Text(_) => {
                                "the name of a class, as the first image".to_owned()
                            }
                            RawLabel::Vector(_) => {
                                format!("a vector of {width}, as the first image")
                            }
                            RawLabel::Number(_) => "an integer from 0".to_owned(),
                        }
                    }
                ));
            }
        });
    }
    Ok(Some((labels, Vec::new())))
}

/// Labels with the classes that were found, where there are some; `from` says in words where they
/// stood.
fn of_classes(found: Option<Classes>, from: String) -> Labels {
    match found {
        None => Labels::default(),
        Some((fine, class_names)) => Labels {
            fine: Some(fine),
            class_names,
            from: Some(from),
            ..Labels::default()
        },
    }
}

fn one_hot(vector: &[f64]) -> Option<i64> {
    let one = vector.iter().position(|value| *value == 1.0)?;
    let others = vector.iter().enumerate();
    let zero = others
        .filter(|(at, _)| *at != one)
        .all(|(_, value)| *value == 0.0);
    zero.then_some(one as i64)
}

impl RawLabel {
    /// A label written as text: a whole number, or the name of a class.
    fn of_text(text: &str) -> Self {
        let text = text.trim();
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }

    /// A label in a JSON file; `None` for null.
    ///
    /// # Errors
    /// For values that are no label.
    fn of_json(value: &serde_json::Value) -> Result<Option<Self>, String> {
        use serde_json::Value;
        // Some writers make floats of all numbers.
        let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
        let unlike = || {
            let shown: String = value.to_string().chars().take(40).collect();
            format!("label {shown}, expected an integer from 0, the name of a class or a vector")
        };
        Ok(Some(match value {
            Value::Null => return Ok(None),
            Value::Bool(truth) => Self::Number((*truth).into()),
            Value::Number(number) => {
                let number = number.as_i64().or_else(|| whole(number.as_f64()?));
                Self::Number(number.ok_or_else(unlike)?)
            }
            Value::String(text) => Self::of_text(text),
            Value::Array(numbers) => {
                let numbers: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
                Self::Vector(numbers.filter(|all| !all.is_empty()).ok_or_else(unlike)?)
            }
            Value::Object(_) => return Err(unlike()),
        }))
    }

    fn shown(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            Self::Vector(vector) => format!("a vector of {}", vector.len()),
        }
    }
}

/// Reads a file of labels of `images` images. One that is too large for so few is refused unread:
/// its values take some hundred times their text in memory.
///
/// # Errors
/// When it cannot be read, is no text, or is too large.
fn read_text(
    container: &Container,
    member: &Member,
    images: usize,
    options: &ImportOptions,
) -> Result<String, ImageError> {
    let fail = |reason: String| ImageError::Labels {
        what: format!("`{}`", member.name),
        reason,
    };
    let limit = (images as u64).saturating_mul(BYTES_FOR_EACH).max(BYTES);
    let limit = limit.min(options.limits.label_bytes);
    if member.size > limit {
        return Err(fail(format!(
            "{} bytes for {images} images, expected at most {limit}",
            member.size
        )));
    }
    let text = decoded(&container.read(member, limit)?).map_err(fail)?;
    let limit = (images as u64).saturating_mul(MEMORY_FOR_EACH).max(MEMORY);
    let weight = weight(&text);
    if weight > limit {
        return Err(fail(format!(
            "its values take some {weight} bytes of memory for {images} images, expected at most \
             {limit}"
        )));
    }
    Ok(text)
}

/// Bytes of a file of labels, at least and for each image.
const BYTES: u64 = 64 << 20;
const BYTES_FOR_EACH: u64 = 16 << 10;
/// Bytes of memory for its values, at least and for each image.
const MEMORY: u64 = 384 << 20;
const MEMORY_FOR_EACH: u64 = 32 << 10;

/// Roughly the memory of the values of a text: of JSON, or of a table.
fn weight(text: &str) -> u64 {
    let of = |byte: u8| match byte {
        b'{' => 640,
        b'[' => 160,
        b',' | b'"' | b'\n' => 32,
        _ => 0,
    };
    text.bytes().map(of).sum()
}

/// The first three in order, for messages.
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

/// The text of a file of labels: UTF-8 or UTF-16, with or without a byte order mark, as Windows'
/// programs write it.
///
/// # Errors
/// When it is neither.
fn decoded(bytes: &[u8]) -> Result<String, String> {
    let wide = |join: fn([u8; 2]) -> u16| {
        let units = bytes[2..]
            .chunks_exact(2)
            .map(|pair| join([pair[0], pair[1]]));
        String::from_utf16(&units.collect::<Vec<u16>>()).map_err(|error| error.to_string())
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => text(rest),
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|error| format!("neither UTF-8 nor UTF-16: {error}"))
}
