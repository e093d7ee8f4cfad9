//! Parquet files of images, as data sets of the Hugging Face hub come: a column of encoded images
//! and perhaps one of labels.

mod pages;
mod parts;

use super::{Member, Place};
use crate::{
    ImageError, ImportOptions, Skipped,
    decode::{is_image, sniffed_extension},
    guard::guarded,
};
use cedm_tensor_files::open_file;
use parquet::{
    basic::Repetition,
    file::{
        properties::ReaderProperties,
        reader::{FileReader, SerializedFileReader},
        serialized_reader::ReadOptionsBuilder,
    },
    record::{Field, Row, reader::RowIter},
    schema::types::{Type, TypePtr},
};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{BufWriter, Seek, Write},
    path::Path,
};

pub use parts::{check as check_part, files, part_named};

/// The first bytes of a parquet file.
pub const MAGIC: &[u8] = b"PAR1";
/// The column of labels where the options name none.
const LABEL: &str = "label";
/// Rows that are decoded at once: each holds an image.
const BATCH: usize = 16;
/// Rows that a file may have, at least, and beyond one in so many of its bytes: an image takes
/// more.
const ROWS: u64 = 1_000_000;
const BYTES_OF_A_ROW: u64 = 32;
/// Bytes of the texts of all labels, at least and for each byte of the file: they are kept in
/// memory, and one that is given once may stand in every row.
const LABELS: u64 = 128 << 20;
/// Bytes of what the hub's library writes into the metadata, which names classes: its values take
/// some ten times the text in memory.
const CLASS_TEXT: usize = 16 << 20;

/// What a table says of its rows beside the images.
#[derive(Default)]
pub struct Table {
    /// The column of labels that was read; absent where there is none of that name.
    pub column: Option<String>,
    /// The column of images.
    image: Option<String>,
    /// Names of the other columns.
    pub others: BTreeSet<String>,
    /// Label of each member, by name.
    pub labels: HashMap<String, Value>,
    /// Names of the classes, where the file has them.
    pub class_names: Vec<String>,
    /// Rows without an image, with the reason.
    pub left_out: Vec<Skipped>,
}

/// One parquet file of a table.
pub struct TableFile<'a> {
    /// Path of the file.
    pub path: &'a Path,
    /// Its number among the files of the container.
    pub index: u32,
    /// Which columns are read, and within which limits.
    pub options: &'a ImportOptions,
    /// Folder for its images.
    pub scratch: &'a Path,
}

impl TableFile<'_> {
    /// Copies the images one after another into an unnamed file in `scratch`, where they are
    /// members with the number of their row as name.
    ///
    /// # Errors
    /// When it is no such file, is damaged, has no column of images, or expands beyond the limits.
    pub fn open(&self, members: &mut Vec<Member>, table: &mut Table) -> Result<File, ImageError> {
        guarded(|| self.copy(members, table)).unwrap_or_else(|| Err(self.broken("it is damaged")))
    }

    fn broken(&self, reason: impl std::fmt::Display) -> ImageError {
        ImageError::format(self.path, format!("parquet file: {reason}"))
    }

    fn copy(&self, members: &mut Vec<Member>, table: &mut Table) -> Result<File, ImageError> {
        let Self {
            path,
            index,
            options,
            scratch,
        } = *self;
        let library = |error: parquet::errors::ParquetError| self.broken(error);
        let file = open_file(path).map_err(ImageError::io("read", path))?;
        let length = file.metadata().map_err(ImageError::io("read", path))?.len();
        let limit = options.limits.expanded_from(length);
        let again = file.try_clone().map_err(ImageError::io("read", path))?;
        // LZ4 as old writers framed it, or did not; how far it expands is measured below.
        let properties = ReaderProperties::builder().set_backward_compatible_lz4(true);
        let settings = ReadOptionsBuilder::new().with_reader_properties(properties.build());
        let reader = SerializedFileReader::new_with_options(file, settings.build());
        let reader = reader.map_err(library)?;
        pages::check(&again, reader.metadata()).map_err(|reason| self.broken(reason))?;
        if table.class_names.is_empty() {
            let wanted = options.label_field.as_deref().unwrap_or(LABEL);
            table.class_names = class_names(&reader, wanted);
        }
        let out = tempfile::tempfile_in(scratch).map_err(ImageError::io("write", scratch))?;
        let mut writer = BufWriter::new(out);
        let (mut offset, mut read, mut labels) = (0, 0u64, 0u64);
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let schema = reader.metadata().file_metadata().schema();
        let wanted = options.label_field.as_deref().unwrap_or(LABEL);
        let is_label = |field: &&TypePtr| field.name() == wanted;
        if !options.ignore_labels
            && let Some(field) = schema.get_fields().iter().find(is_label)
            && (field.is_group() || repeats(field))
        {
            return Err(self.broken(format!(
                "column `{wanted}` holds lists or structs, expected one integer or text for each \
                 image: --label-field takes another column, --ignore-labels imports without"
            )));
        }
        let hub = hub_column(schema);
        let columns = single_values(schema);
        let columns = columns.ok_or_else(|| self.broken("it has no column of single values"))?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(columns));
        let rows = rows.map_err(library)?.with_batch_size(BATCH);
        // A run of equal rows takes a few bytes, whatever its length.
        let most = ROWS.max(length / BYTES_OF_A_ROW);
        for (number, row) in rows.enumerate() {
            let row = row.map_err(library)?;
            if number as u64 >= most {
                return Err(self.broken(format!(
                    "more than {most} rows in {length} bytes: it expands too far"
                )));
            }
            // A value that is given once may stand in every row, in a column that nobody wants too.
            let values = row.get_column_iter().map(|(_, field)| size_of(field));
            read = read.saturating_add(values.sum());
            if read > limit.saturating_mul(2) {
                return Err(ImageError::too_large(path, limit));
            }
            let of_options = options.image_field.as_deref();
            if of_options.is_none() && table.image.is_none() {
                table.image =
                    image_column(&row, hub.as_deref()).map_err(|reason| self.broken(reason))?;
            }
            let column = of_options.or(table.image.as_deref());
            if let Some(reason) = lacks_image(&row, column) {
                table.left_out.push(Skipped {
                    name: format!("{stem}/{number:08}"),
                    reason,
                });
                continue;
            }
            let Some(image) = image_of(&row, column) else {
                let columns: Vec<&str> = row
                    .get_column_iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                return Err(self.broken(format!(
                    "row {number} has no image: columns {}; --image-field names the column",
                    columns.join(", ")
                )));
            };
            let size = image.len() as u64;
            if offset + size > limit {
                return Err(ImageError::too_large(path, limit));
            }
            writer
                .write_all(image)
                .map_err(ImageError::io("write", scratch))?;
            let name = format!("{stem}/{number:08}.{}", sniffed_extension(image));
            if !options.ignore_labels {
                let text = label_of(&row, &name, wanted, table)
                    .map_err(|reason| self.broken(format!("row {number}: {reason}")))?;
                labels = labels.saturating_add(text);
            }
            let most_labels = LABELS.max(length);
            if labels > most_labels {
                return Err(self.broken(format!(
                    "the texts of column `{wanted}` take more than {most_labels} bytes, expected \
                     names of classes: --ignore-labels imports without"
                )));
            }
            members.push(Member {
                name,
                size,
                place: Place::Stored {
                    file: index,
                    offset,
                    crc: None,
                },
            });
            if members.len() as u64 > options.limits.members {
                return Err(ImageError::too_many(path, &options.limits));
            }
            offset += size;
        }
        let mut out = writer
            .into_inner()
            .map_err(|error| ImageError::io("write", scratch)(error.into_error()))?;
        out.rewind().map_err(ImageError::io("read", scratch))?;
        Ok(out)
    }
}

/// The columns that hold one value in a row. Lists and maps are no images and no labels, and one of
/// a hundred million zeros takes a few bytes in the file; `None` where there is no other column.
fn single_values(schema: &Type) -> Option<Type> {
    let fields = schema.get_fields().iter();
    let fields: Vec<_> = fields.filter(|field| !repeats(field)).cloned().collect();
    if fields.is_empty() {
        return None;
    }
    let kept = Type::group_type_builder(schema.name()).with_fields(fields);
    kept.build().ok()
}

/// Whether a column holds any number of values in a row.
fn repeats(field: &Type) -> bool {
    let info = field.get_basic_info();
    let repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    repeated || (field.is_group() && field.get_fields().iter().any(|inner| repeats(inner)))
}

/// Bytes of the texts and the bytes of a value.
fn size_of(field: &Field) -> u64 {
    match field {
        Field::Bytes(bytes) => bytes.len() as u64,
        Field::Str(text) => text.len() as u64,
        Field::Group(row) => row.get_column_iter().map(|(_, field)| size_of(field)).sum(),
        Field::ListInternal(list) => list.elements().iter().map(size_of).sum(),
        _ => 16,
    }
}

/// The bytes of a value that may be an image.
fn bytes_of(field: &Field) -> Option<&[u8]> {
    match field {
        Field::Bytes(bytes) => Some(bytes.data()),
        // The hub's images are pairs of bytes and path.
        Field::Group(pair) => pair
            .get_column_iter()
            .find_map(|(name, field)| match field {
                Field::Bytes(bytes) if name == "bytes" => Some(bytes.data()),
                _ => None,
            }),
        _ => None,
    }
}

/// The only column of pairs of bytes and path, as the hub's images are.
fn hub_column(schema: &Type) -> Option<String> {
    let is_pair = |field: &&TypePtr| {
        field.is_group()
            && field
                .get_fields()
                .iter()
                .any(|inner| inner.name() == "bytes")
    };
    let mut pairs = schema.get_fields().iter().filter(is_pair);
    pairs
        .next()
        .filter(|_| pairs.next().is_none())
        .map(|field| field.name().to_owned())
}

/// The column whose value in this row is an image, or else `hub`, or the first that holds bytes.
///
/// # Errors
/// When two columns hold images: masks, say, and what they are masks of.
fn image_column(row: &Row, hub: Option<&str>) -> Result<Option<String>, String> {
    let columns = || {
        row.get_column_iter()
            .filter_map(|(name, field)| Some((name, bytes_of(field)?)))
    };
    let images: Vec<&str> = columns()
        .filter(|(_, bytes)| is_image(bytes))
        .map(|(name, _)| name.as_str())
        .collect();
    match images.as_slice() {
        [] => Ok(hub
            .or_else(|| columns().next().map(|(name, _)| name.as_str()))
            .map(str::to_owned)),
        [one] => Ok(Some((*one).to_owned())),
        several => Err(format!(
            "columns {} hold images: --image-field names the one to be imported",
            several.join(", ")
        )),
    }
}

/// The bytes of the image in a row, where the column is there and holds bytes.
fn image_of<'r>(row: &'r Row, column: Option<&str>) -> Option<&'r [u8]> {
    row.get_column_iter()
        .find(|(name, _)| Some(name.as_str()) == column)
        .and_then(|(_, field)| bytes_of(field))
}

/// Why a row has no image though it has the column of images: hub's sets have rows of which only
/// the address is left.
fn lacks_image(row: &Row, column: Option<&str>) -> Option<String> {
    let mut columns = row.get_column_iter();
    let (name, field) = columns.find(|(name, _)| Some(name.as_str()) == column)?;
    match field {
        Field::Null => Some(format!("column `{name}` is null in this row")),
        Field::Group(pair) => {
            let value = |wanted: &str| {
                let mut fields = pair.get_column_iter();
                fields.find(|(name, _)| name.as_str() == wanted)
            };
            let (_, bytes) = value("bytes")?;
            let path = match value("path") {
                Some((_, Field::Str(path))) => {
                    let shown: String = path.chars().take(80).collect();
                    format!(", its path is `{shown}`")
                }
                _ => String::new(),
            };
            matches!(bytes, Field::Null)
                .then(|| format!("column `{name}` holds no bytes in this row{path}"))
        }
        _ => None,
    }
}

/// Takes the label of a row into the table; the bytes of its text.
///
/// # Errors
/// When the value is of a type that no class has.
fn label_of(row: &Row, member: &str, wanted: &str, table: &mut Table) -> Result<u64, String> {
    let mut bytes = 0;
    for (name, field) in row.get_column_iter() {
        let inner = wanted.strip_prefix(name.as_str());
        let inner = inner.and_then(|rest| value_in(field, rest.strip_prefix('.')?));
        if table.image.as_deref() == Some(name) && inner.is_none() {
            continue;
        }
        let of_label = name == wanted || inner.is_some();
        let field = inner.unwrap_or(field);
        let mut text = |text: &str| {
            bytes += text.len() as u64;
            Value::from(text)
        };
        let value = match field {
            Field::Null => Value::Null,
            Field::Bool(truth) => Value::from(*truth),
            Field::Byte(number) => Value::from(*number),
            Field::Short(number) => Value::from(*number),
            Field::Int(number) => Value::from(*number),
            Field::Long(number) => Value::from(*number),
            Field::UByte(number) => Value::from(*number),
            Field::UShort(number) => Value::from(*number),
            Field::UInt(number) => Value::from(*number),
            Field::ULong(number) => Value::from(*number),
            // Whole ones are integers; the reader of labels refuses the others.
            Field::Float16(number) => Value::from(number.to_f32()),
            Field::Float(number) => Value::from(*number),
            Field::Double(number) => Value::from(*number),
            Field::Str(label) if of_label => text(label),
            Field::Bytes(label) if of_label => {
                let label = std::str::from_utf8(label.data());
                text(label.map_err(|_| {
                    format!("column `{wanted}` holds bytes that are no text, {EXPECTED}")
                })?)
            }
            Field::Str(_) | Field::Bytes(_) => Value::Null,
            _ if of_label => {
                return Err(format!("column `{wanted}` holds {field}, {EXPECTED}"));
            }
            _ => continue,
        };
        if of_label {
            table.column = Some(wanted.to_owned());
            table.labels.insert(member.to_owned(), value);
        } else if !table.others.contains(name) && !matches!(field, Field::Null | Field::Bytes(_)) {
            table.others.insert(name.clone());
        }
    }
    Ok(bytes)
}

/// The value inside a struct, by names with dots between them.
fn value_in<'f>(field: &'f Field, path: &str) -> Option<&'f Field> {
    let Field::Group(row) = field else {
        return None;
    };
    row.get_column_iter().find_map(|(name, inner)| {
        let rest = path.strip_prefix(name.as_str())?;
        if rest.is_empty() {
            return Some(inner);
        }
        value_in(inner, rest.strip_prefix('.')?)
    })
}

/// What a column of labels may hold.
const EXPECTED: &str = "expected integers or texts: --label-field takes another column, --ignore-labels imports without";

/// Names of the classes of a column, which the hub's library writes into the file's metadata.
fn class_names(reader: &SerializedFileReader<File>, column: &str) -> Vec<String> {
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let text = metadata
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface");
    let json: Option<Value> = text
        .and_then(|pair| pair.value.as_deref())
        .filter(|text| text.len() <= CLASS_TEXT)
        .and_then(|text| serde_json::from_str(text).ok());
    let names = json.map(|json| json["info"]["features"][column]["names"].clone());
    let names = names
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let names: Option<Vec<String>> = names
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect();
    names.unwrap_or_default()
}
