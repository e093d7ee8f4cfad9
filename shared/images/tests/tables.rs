//! Parquet tables and gzipped idx files: what stands in them becomes the set, or is named.

#![forbid(unsafe_code)]

use cedm_images::{ImportOptions, Imported, import, read_shard};
use parquet::{
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use std::{fs, io::Write, path::Path, sync::Arc};

/// A column of a table: its type and name, and its values.
enum Column {
    Bytes(&'static str, Vec<Vec<u8>>),
    Doubles(&'static str, Vec<f64>),
    Integers(&'static str, Vec<i64>),
    /// Two numbers in each row.
    Lists(&'static str, usize),
}

/// The bytes of a parquet file with these columns.
fn table(compression: Compression, columns: &[Column]) -> Vec<u8> {
    let fields: Vec<String> = columns
        .iter()
        .map(|column| match column {
            Column::Bytes(name, _) => format!("required binary {name};"),
            Column::Doubles(name, _) => format!("required double {name};"),
            Column::Integers(name, _) => format!("required int64 {name};"),
            Column::Lists(name, _) => format!("repeated int64 {name};"),
        })
        .collect();
    let schema = format!("message schema {{ {} }}", fields.join(" "));
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        let mut out = group.next_column().unwrap().unwrap();
        match column {
            Column::Bytes(_, values) => {
                let values: Vec<ByteArray> =
                    values.iter().map(|value| value.clone().into()).collect();
                let out = out.typed::<ByteArrayType>();
                out.write_batch(&values, None, None).unwrap();
            }
            Column::Doubles(_, values) => {
                let out = out.typed::<DoubleType>();
                out.write_batch(values, None, None).unwrap();
            }
            Column::Integers(_, values) => {
                let out = out.typed::<Int64Type>();
                out.write_batch(values, None, None).unwrap();
            }
            Column::Lists(_, rows) => {
                let values: Vec<i64> = (0..2 * *rows as i64).collect();
                let repeats: Vec<i16> = (0..2 * *rows).map(|at| (at % 2) as i16).collect();
                let defined = vec![1; values.len()];
                let out = out.typed::<Int64Type>();
                out.write_batch(&values, Some(&defined), Some(&repeats))
                    .unwrap();
            }
        }
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// Images of one colour each.
fn images(shades: &[u8]) -> Vec<Vec<u8>> {
    let image = |shade: &u8| {
        let mut png = Vec::new();
        let encoder = png::Encoder::new(&mut png, 3, 3);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[*shade; 9]).unwrap();
        writer.finish().unwrap();
        png
    };
    shades.iter().map(image).collect()
}

/// What an import gives: its record, the pixels and the labels.
type Found = (Imported, Vec<u8>, Option<Vec<i64>>);

fn read(source: &Path, options: &ImportOptions) -> Result<Found, String> {
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let imported = import(source, options, &out, &mut |_| {}).map_err(|error| error.to_string())?;
    let shard = read_shard(&out.join(&imported.set.shards[0].object.object)).unwrap();
    Ok((imported, shard.images, shard.labels))
}

/// The import of one file of these bytes.
fn read_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Found, String> {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("train.parquet");
    fs::write(&path, bytes).unwrap();
    read(&path, options)
}

#[test]
fn tables_of_every_compression_are_the_same_set() {
    let columns = [
        Column::Bytes("image", images(&[1, 2, 3])),
        Column::Integers("label", vec![2, 0, 1]),
    ];
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let bytes = table(compression, &columns);
        let (_, pixels, labels) = read_bytes(&bytes, &ImportOptions::default()).unwrap();
        assert_eq!(labels.unwrap(), [2, 0, 1], "{compression:?}");
        let shades: Vec<u8> = pixels.chunks(9).map(|image| image[0]).collect();
        assert_eq!(shades, [1, 2, 3], "{compression:?}");
        // Wherever the file is damaged, it gives these images, fewer, or an error.
        for at in (0..bytes.len()).step_by(53) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let Ok((imported, pixels, _)) = read_bytes(&flipped, &ImportOptions::default()) else {
                continue;
            };
            assert!(
                pixels
                    .chunks(9)
                    .all(|image| image == [image[0]; 9] && image[0] <= 3),
                "{compression:?}, byte {at}"
            );
            assert!(imported.set.count <= 3);
        }
    }
}

/// A page says what it expands to, and the library believes what comes out of the decoder.
#[test]
fn pages_that_expand_further_than_they_say_are_refused() {
    for compression in [
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let honest = table(
            compression,
            &[Column::Bytes("image", vec![vec![0; 100_000]])],
        );
        // The size before compression, 100,004 bytes, as a zigzag number of three bytes.
        let says = [0xc8, 0x9a, 0x0c];
        let at = honest
            .windows(3)
            .position(|window| window == says)
            .expect("the header says what the page expands to");
        let mut lying = honest.clone();
        lying[at + 2] = 0x01;
        let error = read_bytes(&lying, &ImportOptions::default()).unwrap_err();
        assert!(error.contains("expands to more than"), "{error}");
    }
}

/// A field as Thrift's compact protocol writes it behind the field before it: its type, then a
/// number of at least 0.
fn thrift(kind: u8, number: usize) -> Vec<u8> {
    let mut rest = 2 * number;
    let mut bytes = vec![0x10 | kind];
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let found = bytes[at..].starts_with(old);
        out.extend_from_slice(if found { new } else { &bytes[at..=at] });
        at += if found { old.len() } else { 1 };
    }
    out
}

/// A table of these images whose one page is compressed with LZ4; `pack` makes the bytes of the
/// page from those of its values, in place of what the writer has made.
fn lz4(images: Vec<Vec<u8>>, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let values: Vec<u8> = images
        .iter()
        .flat_map(|image| [&(image.len() as u32).to_le_bytes()[..], image].concat())
        .collect();
    let honest = table(Compression::LZ4, &[Column::Bytes("image", images)]);
    // Hadoop's lengths before the compressed bytes: of the values, and of those.
    let lengths = (values.len() as u32).to_be_bytes();
    let start = honest
        .windows(4)
        .position(|window| window == lengths)
        .expect("the page begins with the length of its values");
    let compressed = honest[start + 4..start + 8].try_into().unwrap();
    let stored = 8 + u32::from_be_bytes(compressed) as usize;
    let page = pack(&values);
    let header = replaced(
        &honest[4..start],
        &thrift(5, stored),
        &thrift(5, page.len()),
    );
    let footer = &honest[start + stored..honest.len() - 8];
    let sizes = [start - 4 + stored, header.len() + page.len()].map(|size| thrift(6, size));
    let footer = replaced(footer, &sizes[0], &sizes[1]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", &header[..], &page, &footer, &length, b"PAR1"].concat()
}

#[test]
fn lz4_of_old_writers_is_read_within_the_size_that_pages_say() {
    let framed = |values: &[u8]| {
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(values).unwrap();
        frame.finish().unwrap()
    };
    let raw = |values: &[u8]| lz4_flex::block::compress(values);
    for bytes in [lz4(images(&[1, 2]), framed), lz4(images(&[1, 2]), raw)] {
        let (_, pixels, _) = read_bytes(&bytes, &ImportOptions::default()).unwrap();
        assert_eq!((pixels[0], pixels[9]), (1, 2));
    }
    let lying = lz4(images(&[1, 2]), |values| {
        framed(&[values, &[0; 9]].concat())
    });
    let error = read_bytes(&lying, &ImportOptions::default()).unwrap_err();
    assert!(error.contains("expands to more than"), "{error}");
}

#[test]
fn rows_without_an_image_are_listed() {
    let schema = "message schema { optional group image { optional binary bytes; optional binary \
                  path (UTF8); } required int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    // No pair, a path alone, an image, no pair, an image.
    let levels: [&[i16]; 2] = [&[0, 1, 2, 0, 2], &[0, 2, 1, 0, 1]];
    let texts = [images(&[1, 2]), vec![b"x/b.png".to_vec()]];
    for (levels, values) in levels.iter().zip(texts) {
        let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
        let mut out = group.next_column().unwrap().unwrap();
        let column = out.typed::<ByteArrayType>();
        column.write_batch(&values, Some(levels), None).unwrap();
        out.close().unwrap();
    }
    let mut out = group.next_column().unwrap().unwrap();
    let column = out.typed::<Int64Type>();
    column.write_batch(&[4, 3, 2, 1, 0], None, None).unwrap();
    out.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let (imported, pixels, labels) = read_bytes(&bytes, &ImportOptions::default()).unwrap();
    assert_eq!((pixels[0], pixels[9], labels), (1, 2, Some(vec![2, 0])));
    let field = ImportOptions {
        label_field: Some("image.path".to_owned()),
        ..ImportOptions::default()
    };
    // A value inside a struct; these two rows have none.
    let (imported_with, _, labels) = read_bytes(&bytes, &field).unwrap();
    assert_eq!(labels, None);
    let notes = imported_with.summary.notes.join(" ");
    assert!(
        notes.contains("column `image.path` holds no value"),
        "{notes}"
    );
    let left: Vec<(&str, &str)> = imported
        .skipped
        .iter()
        .map(|left| (left.name.as_str(), left.reason.as_str()))
        .collect();
    let null = "column `image` is null in this row";
    let path = "column `image` holds no bytes in this row, its path is `x/b.png`";
    assert_eq!(
        left,
        [
            ("train/00000000", null),
            ("train/00000001", path),
            ("train/00000003", null)
        ]
    );
}

#[test]
fn labels_of_every_type_are_classes_or_named() {
    let of = |label: Column| {
        let columns = [Column::Bytes("image", images(&[1, 2])), label];
        read_bytes(
            &table(Compression::UNCOMPRESSED, &columns),
            &ImportOptions::default(),
        )
    };
    let (_, _, labels) = of(Column::Doubles("label", vec![3.0, 0.0])).unwrap();
    assert_eq!(labels.unwrap(), [3, 0]);
    let text = |text: &str| text.as_bytes().to_vec();
    let (imported, _, labels) = of(Column::Bytes("label", vec![text("y"), text("x")])).unwrap();
    assert_eq!(labels.unwrap(), [1, 0]);
    assert_eq!(imported.set.class_names, ["x", "y"]);
    for (label, expected) in [
        (
            Column::Doubles("label", vec![0.5, 1.0]),
            "label 0.5, expected an integer",
        ),
        (
            Column::Lists("label", 2),
            "column `label` holds lists or structs",
        ),
        (
            Column::Bytes("label", vec![vec![0xff], vec![0xfe]]),
            "row 0: column `label` holds bytes that are no text",
        ),
    ] {
        let error = of(label).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn of_two_columns_of_images_one_is_named() {
    let columns = [
        Column::Bytes("mask", images(&[7, 8])),
        Column::Bytes("image", images(&[1, 2])),
    ];
    let bytes = table(Compression::UNCOMPRESSED, &columns);
    let error = read_bytes(&bytes, &ImportOptions::default()).unwrap_err();
    assert!(
        error.contains("columns mask, image hold images: --image-field names the one"),
        "{error}"
    );
    let options = ImportOptions {
        image_field: Some("image".to_owned()),
        ..ImportOptions::default()
    };
    let (_, pixels, _) = read_bytes(&bytes, &options).unwrap();
    assert_eq!((pixels[0], pixels[9]), (1, 2));
}

#[test]
fn a_file_of_no_part_beside_the_wanted_one_is_listed() {
    let work = tempfile::tempdir().unwrap();
    for (name, shade) in [("train", 1), ("cifar10-test", 2), ("extra", 3)] {
        let columns = [Column::Bytes("image", images(&[shade]))];
        let bytes = table(Compression::UNCOMPRESSED, &columns);
        fs::write(work.path().join(format!("{name}.parquet")), bytes).unwrap();
    }
    let (imported, pixels, _) = read(work.path(), &ImportOptions::default()).unwrap();
    assert_eq!(pixels[0], 1);
    let skipped: Vec<&str> = imported
        .skipped
        .iter()
        .map(|skipped| skipped.name.as_str())
        .collect();
    assert_eq!(skipped, ["extra.parquet"]);
    let options = ImportOptions {
        split: cedm_images::Split::Test,
        ..ImportOptions::default()
    };
    assert_eq!(read(work.path(), &options).unwrap().1[0], 2);
    let error = read(&work.path().join("train.parquet"), &options).unwrap_err();
    assert!(error.contains("is the part `train`"), "{error}");
}

/// Stored blocks have no other check than the checksum at the end.
#[test]
fn the_checksum_of_gzipped_idx_files_is_compared() {
    let work = tempfile::tempdir().unwrap();
    let gzip = |bytes: &[u8]| {
        let level = flate2::Compression::none();
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let images: Vec<u8> = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4][..],
        &[9; 32],
    ]
    .concat();
    let (images, labels) = (gzip(&images), gzip(&[0, 0, 8, 1, 0, 0, 0, 2, 5, 6]));
    let check = |images: &[u8], labels: &[u8]| {
        let images_file = work.path().join("train-images-idx3-ubyte.gz");
        fs::write(&images_file, images).unwrap();
        fs::write(work.path().join("train-labels-idx1-ubyte.gz"), labels).unwrap();
        let options = ImportOptions::default();
        let folder = read(work.path(), &options);
        let file = read(&images_file, &options);
        assert_eq!(folder.is_err(), file.is_err());
        file.map(|(_, _, labels)| labels.unwrap())
    };
    assert_eq!(check(&images, &labels).unwrap(), [5, 6]);
    let flipped = |bytes: &[u8], from_end: usize| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() - from_end;
        bytes[at] ^= 4;
        bytes
    };
    // A pixel, the checksum, the length; a label and its checksum.
    for from_end in [9, 8, 4] {
        let error = check(&flipped(&images, from_end), &labels).unwrap_err();
        assert!(error.contains("train-images-idx3-ubyte.gz"), "{error}");
        let error = check(&images, &flipped(&labels, from_end)).unwrap_err();
        assert!(error.contains("train-labels-idx1-ubyte.gz"), "{error}");
    }
}
