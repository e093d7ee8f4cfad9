//! Labels of encoded images: from files beside them, from WebDataset records, or from class
//! folders.
//!
//! Whatever a set has is used in one way or named: a label that is silently not read, or read from
//! the wrong place, harms every network that is trained on it.

mod folders;
mod json;
mod keys;
mod metadata;
mod records;
mod table;

use super::Labels;
use crate::{
    ImageError, ImportOptions,
    container::{Container, Member},
};
use std::collections::BTreeSet;

pub(super) use records::{lost, select};

/// A label as it was found, before it becomes the number of a class.
#[derive(Clone, Debug, PartialEq)]
enum RawLabel {
    Number(i64),
    Text(String),
    Vector(Vec<f64>),
}

/// Labels of the named images: from `dataset.json` or `labels.json` if there is one, from the
/// records of WebDataset shards, from `metadata.csv` or `metadata.jsonl`, otherwise from folder
/// names. Where the options name a field, from it alone.
pub(super) fn find(
    container: &Container,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Labels, ImageError> {
    let wrapper = wrapper_of(names);
    let parts = folders::parts(&wrapper, names);
    let mut labels = if let Some(found) = table::labels(container, names, options)? {
        found
    } else if let Some(found) = beside(container, &wrapper, names, options)? {
        found
    } else if container.webdataset
        && let Some(found) = records::labels(container, names, options)?
    {
        found
    } else if let Some(found) = metadata::labels(container, names, options)? {
        found
    } else if let Some(wanted) = &options.label_field {
        return Err(ImageError::Option {
            option: "label-field",
            reason: format!(
                "`{wanted}`, but {} has neither samples with fields beside their images nor \
                 metadata.csv or metadata.jsonl, expected one of them or a parquet table",
                container.path.display()
            ),
        });
    } else if container.sharded {
        // The names of shards are no classes.
        let inner = names.iter();
        let inner = inner.map(|name| name.split_once('/').map_or(*name, |(_, inner)| inner));
        let inner: Vec<&str> = inner.collect();
        folders::labels(&wrapper_of(&inner), &inner)
    } else if let Some(part) = first_of(&parts) {
        return Err(ImageError::Option {
            option: "inside",
            reason: format!(
                "none given, but the folders of {} are parts of a set, {}, and would be its \
                 classes: give --inside {part}, or --ignore-labels for all images without labels",
                container.path.display(),
                three(parts.iter().copied().collect())
            ),
        });
    } else {
        folders::labels(&wrapper, names)
    };
    labels.notes.extend(mixed(&parts));
    labels.notes.extend(unused(container, &labels));
    Ok(labels)
}

/// The labels of a set that is imported without.
pub(super) fn none(names: &[&str]) -> Labels {
    let notes = mixed(&folders::parts(&wrapper_of(names), names));
    Labels {
        notes: notes.into_iter().collect(),
        ..Labels::default()
    }
}

/// That images of several parts of a set are imported, in one sentence.
fn mixed(parts: &BTreeSet<&str>) -> Option<String> {
    let part = first_of(parts)?;
    Some(format!(
        "images of several parts are imported together: {}; --inside {part} or --include \
         '{part}/*' takes those of one",
        three(parts.iter().copied().collect())
    ))
}

/// Of parts that for training, where there is one.
fn first_of<'n>(parts: &BTreeSet<&'n str>) -> Option<&'n str> {
    let train = parts.iter().find(|part| part.contains("train"));
    train.or_else(|| parts.first()).copied()
}

/// Labels in one file beside the images, where the options name no other place.
fn beside(
    container: &Container,
    wrapper: &str,
    names: &[&str],
    options: &ImportOptions,
) -> Result<Option<Labels>, ImageError> {
    if options.label_field.is_some() {
        return Ok(None);
    }
    match json::dataset(container, wrapper, names, options)? {
        Some(found) => Ok(Some(found)),
        None => json::by_seed(container, wrapper, names, options),
    }
}

/// The folders that lie around all images, with a slash at the end: archives are often made of one
/// folder, which says nothing about the images in it. What lies beside it is no image.
fn wrapper_of(names: &[&str]) -> String {
    let Some(first) = names.first() else {
        return String::new();
    };
    let mut wrapper = String::new();
    // The last part is the name of the file.
    let folders = first
        .split_inclusive('/')
        .filter(|part| part.ends_with('/'));
    for part in folders {
        let longer = format!("{wrapper}{part}");
        if !names.iter().all(|name| name.starts_with(&longer)) {
            break;
        }
        wrapper = longer;
    }
    wrapper
}

/// Whether an array or a file has, without its extension, a name of labels.
pub(super) fn is_label_name(stem: &str) -> bool {
    let lower = stem.to_lowercase();
    let words = ["label", "class", "target", "categor", "annot"];
    words.iter().any(|word| lower.contains(word))
        || lower == "y"
        || lower.starts_with("y_")
        || lower.ends_with("_y")
}

/// Files of labels that no rule has read, in one sentence.
fn unused(container: &Container, labels: &Labels) -> Option<String> {
    let about = [
        "readme",
        "license",
        "licence",
        "requirements",
        "notice",
        "copying",
    ];
    let of_labels = |name: &str| {
        let base = base_name(name).to_ascii_lowercase();
        let (stem, extension) = base.rsplit_once('.').unwrap_or((&base, ""));
        match extension {
            "cls" | "csv" | "tsv" | "json" | "jsonl" | "xml" | "parquet" | "mat" | "pkl"
            | "pickle" | "h5" | "hdf5" => true,
            "npy" | "npz" | "pt" | "pth" => is_label_name(stem),
            "txt" => !about.iter().any(|word| stem.starts_with(word)),
            _ => false,
        }
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

/// A name that a file in `folder` gives, as the container has it: Windows' programs write
/// backslashes, and others begin with `./`.
fn within(folder: &str, name: &str) -> String {
    let name = name.replace('\\', "/");
    let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    format!("{folder}{}", parts.collect::<Vec<_>>().join("/"))
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
        // Tables write whole numbers as floats where one of the column is missing.
        let whole = match text.split_once('.') {
            Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
            _ => text,
        };
        whole
            .parse()
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
pub(super) fn three(mut names: Vec<&str>) -> String {
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

/// The text of a file of labels: UTF-8, UTF-16 or UTF-32, with or without a byte order mark, as
/// Windows' programs write it and Python's `json` reads it.
///
/// # Errors
/// When it is none of them.
fn decoded(bytes: &[u8]) -> Result<String, String> {
    let wide = |bytes: &[u8], join: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2);
        let units = units.map(|pair| join([pair[0], pair[1]]));
        String::from_utf16(&units.collect::<Vec<u16>>()).map_err(|error| error.to_string())
    };
    let wider = |bytes: &[u8], join: fn([u8; 4]) -> u32| {
        let units = bytes.chunks_exact(4);
        let units = units.map(|unit| char::from_u32(join([unit[0], unit[1], unit[2], unit[3]])));
        let text: Option<String> = units.collect();
        text.ok_or_else(|| "a number that is no character of UTF-32".to_owned())
    };
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => wider(rest, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, rest @ ..] => wider(rest, u32::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => text(rest),
        // Without a mark the zeros of the first character tell: it is one of ASCII.
        [1..=127, 0, 0, 0, ..] => wider(bytes, u32::from_le_bytes),
        [0, 0, 0, 1..=127, ..] => wider(bytes, u32::from_be_bytes),
        [1..=127, 0, ..] => wide(bytes, u16::from_le_bytes),
        [0, 1..=127, ..] => wide(bytes, u16::from_be_bytes),
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|error| format!("neither UTF-8 nor UTF-16: {error}"))
}
