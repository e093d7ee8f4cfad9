//! Sets that name one thing many times, and sets that unpack into memory.

use super::{IMAGE, Place, archive, header};
use cedm_images::Limits;
use std::{
    fs,
    io::Write,
    os::unix::fs::{FileExt, symlink},
};
use tar::EntryType;

/// An image of 3 MB, which nothing compresses within a tar file or a folder.
fn large() -> Vec<u8> {
    [&b"P6\n1000 1000\n255\n"[..], &vec![0; 3_000_000]].concat()
}

#[test]
fn links_that_repeat_gigabytes_are_refused() {
    let place = Place::new();
    let path = place.path("links.tar");
    let large = large();
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    let first = header(large.len() as u64, EntryType::Regular, "a.ppm", "");
    archive.append(&first, &large[..]).unwrap();
    for index in 0..400 {
        let link = header(0, EntryType::Link, &format!("{index}.ppm"), "a.ppm");
        archive.append(&link, &[][..]).unwrap();
    }
    archive.finish().unwrap();
    place.refuses(&path, "its links repeat more than 1073741824 bytes");

    let folder = place.path("set");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.ppm"), &large).unwrap();
    for index in 0..400 {
        symlink("a.ppm", folder.join(format!("{index}.ppm"))).unwrap();
    }
    place.refuses(
        &folder,
        "links to its files repeat more than 1073741824 bytes",
    );
}

/// A database of one page of values: the first takes a page of its own, and the others say that
/// theirs is the same.
#[test]
fn a_database_whose_values_lie_on_each_other_is_refused() {
    const PAGE: usize = 4096;
    let mut bytes = vec![0; 5 * PAGE];
    let put16 = |bytes: &mut [u8], at: usize, value: u16| {
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    };
    bytes[16..24].copy_from_slice(&[0xde, 0xc0, 0xef, 0xbe, 1, 0, 0, 0]);
    bytes[40..44].copy_from_slice(&(PAGE as u32).to_le_bytes());
    // The root of the main database is page 2.
    bytes[16 + 24 + 48 + 40..][..8].copy_from_slice(&2u64.to_le_bytes());
    let leaf = 2 * PAGE;
    let nodes = 20;
    put16(&mut bytes, leaf + 10, 2);
    put16(&mut bytes, leaf + 12, 16 + 2 * nodes);
    for node in 0..nodes {
        let at = 1000 + usize::from(node) * 32;
        put16(&mut bytes, leaf + 16 + 2 * usize::from(node), at as u16);
        let at = leaf + at;
        // Size, the flag of a value on its own page, the length of the key, the key, the page.
        put16(&mut bytes, at, 4000);
        put16(&mut bytes, at + 4, 1);
        put16(&mut bytes, at + 6, 2);
        bytes[at + 8..at + 10].copy_from_slice(&[b'a', b'a' + node as u8]);
        bytes[at + 10..at + 18].copy_from_slice(&3u64.to_le_bytes());
    }
    let place = Place::new();
    let path = place.path("data.mdb");
    fs::write(&path, bytes).unwrap();
    place.refuses(&path, "some lie on the same bytes");
}

#[test]
fn labels_of_another_number_than_the_images_are_not_unpacked() {
    let place = Place::new();
    let path = place.path("set.npz");
    let array = |count: usize, bytes: usize| {
        let mut text = format!(
            "{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {}), }}",
            if bytes == count { "" } else { "1, 1" }
        )
        .into_bytes();
        text.resize(117, b' ');
        text.push(b'\n');
        let head = [b"\x93NUMPY\x01\x00\x76\x00", &text[..]].concat();
        [head, vec![0; bytes]].concat()
    };
    let images = [&array(5, 0)[..], &[0; 5]].concat();
    archive(
        &path,
        &[
            ("images.npy", &images),
            ("labels.npy", &array(2_000_000, 2_000_000)),
        ],
    );
    place.refuses(&path, "2000000 labels for 5 images");
}

#[test]
fn idx_files_are_unpacked_as_far_as_they_say_and_not_into_memory() {
    let place = Place::new();
    let idx = |count: u32, side: u32, pixels: usize| {
        let axes = [count, side, side].map(u32::to_be_bytes).concat();
        let bytes = [&[0, 0, 8, 3][..], &axes, &vec![7; pixels]].concat();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap()
    };
    let path = place.path("train-images-idx3-ubyte.gz");
    let tight = Limits {
        expanded_bytes: 1 << 20,
        ..Limits::default()
    };
    fs::write(&path, idx(4000, 28, 0)).unwrap();
    let error = place.import(&path, tight).unwrap_err().to_string();
    assert!(
        error.contains("exceeds the limit of 1048576 bytes"),
        "{error}"
    );
    for (count, pixels, expected) in [
        (
            3,
            1000,
            "fewer bytes of pixels than 3 images of 28x28 have, 2352",
        ),
        (
            1,
            1000,
            "more bytes of pixels than 1 images of 28x28 have, 784",
        ),
        (u32::MAX, 1000, "4294967295 images of 28x28 pixels"),
    ] {
        fs::write(&path, idx(count, 28, pixels)).unwrap();
        place.refuses(&path, expected);
    }
    fs::write(&path, idx(3, 28, 3 * 28 * 28)).unwrap();
    assert_eq!(place.import(&path, Limits::default()).unwrap().set.count, 3);
}

#[test]
fn batches_of_cifar_that_fill_the_memory_are_refused() {
    let place = Place::new();
    let path = place.path("cifar.zip");
    // 32 MB of zeros, which take 32 kB in the archive, in each of ten files of one name.
    let batch = vec![0; 3073 * 20_000];
    let names: Vec<String> = (1..=5)
        .map(|number| format!("data_batch_{number}.bin"))
        .collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &batch[..])).collect();
    archive(&path, &members);
    place.refuses(
        &path,
        "`data_batch_5.bin`: with it the images take more than 268435456 bytes",
    );
}

#[test]
fn a_size_that_is_no_number_is_an_error_of_the_archive() {
    let place = Place::new();
    for (value, expected) in [
        (
            "eleven",
            "an attribute `size` of `eleven`, expected 12, the size of its entry",
        ),
        ("-5", "an attribute `size` of `-5`"),
        (
            "99999999999999999999",
            "an attribute `size` of `99999999999999999999`",
        ),
    ] {
        let path = place.path("pax.tar");
        let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
        archive
            .append_pax_extensions([("size", value.as_bytes())])
            .unwrap();
        let image = header(IMAGE.len() as u64, EntryType::Regular, "a.pgm", "");
        archive.append(&image, IMAGE).unwrap();
        archive.finish().unwrap();
        place.refuses(&path, expected);
    }
}

/// Files that say they have a terabyte of images, or gigabytes that memory would hold, and take no
/// disk.
#[test]
fn holes_of_a_file_are_not_copied() {
    let place = Place::new();
    let hollow = |name: &str, start: &[u8], length: u64| {
        let path = place.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(&path).unwrap();
        file.write_all_at(start, 0).unwrap();
        file.set_len(length).unwrap();
        path
    };
    let axes = [1u32 << 30, 32, 32].map(u32::to_be_bytes).concat();
    let idx = [&[0, 0, 8, 3][..], &axes].concat();
    let shape = "(9000000, 32, 32, 3), }";
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}");
    let npy = [
        &b"\x93NUMPY\x01\x00"[..],
        &(header.len() as u16).to_le_bytes(),
        header.as_bytes(),
    ]
    .concat();
    for (name, start, length) in [
        ("train-images-idx3-ubyte", &idx[..], 16 + (1 << 40)),
        ("images.npy", &npy, 9_000_000 * 3072 + 1000),
        ("set.tar", &[b'a'; 600], 2 << 30),
        ("set.zip", b"PK\x03\x04", 2 << 30),
        ("set.parquet", b"PAR1", 2 << 30),
    ] {
        place.refuses(&hollow(name, start, length), "the others are holes");
    }
    // In a folder too.
    hollow("cifar/data_batch_1.bin", &[], 3073 * 60_000);
    let cifar = place.path("cifar");
    place.refuses(&cifar, "the others are holes");
}

/// One row of a table may hold a list of any length, in a column that nobody wants.
#[test]
fn lists_of_a_table_are_not_read() {
    use parquet::{
        data_type::{ByteArray, ByteArrayType, Int64Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };
    let place = Place::new();
    let path = place.path("set.parquet");
    let table = |columns: &str| {
        let schema = parse_message_type(&format!("message m {{ {columns} }}")).unwrap();
        let file = fs::File::create(&path).unwrap();
        let properties = WriterProperties::builder().build();
        let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut first = true;
        while let Some(mut column) = group.next_column().unwrap() {
            if columns.contains("repeated binary") {
                let values = vec![ByteArray::from(IMAGE.to_vec()); 3];
                let column = column.typed::<ByteArrayType>();
                column
                    .write_batch(&values, Some(&[1; 3]), Some(&[0, 1, 1]))
                    .unwrap();
            } else if std::mem::take(&mut first) {
                let values = [ByteArray::from(IMAGE.to_vec())];
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)
                    .unwrap();
            } else {
                let column = column.typed::<Int64Type>();
                column
                    .write_batch(&[7; 3], Some(&[1; 3]), Some(&[0, 1, 1]))
                    .unwrap();
            }
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    };
    table("repeated binary images;");
    place.refuses(&path, "it has no column of single values");
    table("required binary image; repeated int64 numbers;");
    assert_eq!(place.import(&path, Limits::default()).unwrap().set.count, 1);
}
