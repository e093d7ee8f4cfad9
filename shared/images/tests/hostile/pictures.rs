//! Image files whose headers ask for more than they hold: memory, or rounds over the pixels.

use super::{Place, archive};
use cedm_images::{ImportOptions, Limits, decode, import};
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
use std::{fs, io::Cursor};

fn jpeg() -> Vec<u8> {
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg)
        .write_image(&[7; 64 * 64 * 3], 64, 64, ExtendedColorType::Rgb8)
        .unwrap();
    jpeg
}

fn refusal(bytes: &[u8], limits: &Limits) -> String {
    decode("a.jpg", bytes, limits).unwrap_err().to_string()
}

/// The header of a JPEG file, with another size and marked as progressive.
fn lying(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg();
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 1] = 0xc2;
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

#[test]
fn what_a_decoder_keeps_counts_as_memory() {
    // 363 MB of pixels, and twice as much of coefficients.
    let error = refusal(&lying(11_000, 11_000), &Limits::default());
    assert!(
        error.contains("bytes of memory, more than the allowed 805306368"),
        "{error}"
    );
    // A picture that is turned is there twice.
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 12_000, 12_000);
    encoder.set_color(png::ColorType::Rgb);
    drop(encoder.write_header().unwrap());
    // Orientation 6, in a chunk before the pixels.
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let body = [&b"eXIf"[..], exif].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&body);
    let chunk = [
        &(exif.len() as u32).to_be_bytes()[..],
        &body,
        &sum.sum().to_be_bytes(),
    ]
    .concat();
    let mut whole = [&png[..33], &chunk].concat();
    let pixels = [0, 0, 0, 0, b'I', b'D', b'A', b'T', 0x35, 0xaf, 0x06, 0x1e];
    whole.extend_from_slice(&pixels);
    let roomy = Limits {
        decoded_bytes: 600 << 20,
        ..Limits::default()
    };
    let error = refusal(&whole, &roomy);
    assert!(error.contains("takes 864"), "{error}");
}

#[test]
fn scans_over_a_large_image_are_counted() {
    let jpeg = lying(8000, 8000);
    let scan = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xda])
        .unwrap();
    let scans = jpeg[scan..jpeg.len() - 2].repeat(60);
    let many = [&jpeg[..scan], &scans, b"\xff\xd9"].concat();
    let error = refusal(&many, &Limits::default());
    assert!(
        error.contains("8000x8000 pixels in 60 scans, more than the allowed 16"),
        "{error}"
    );
}

/// The sum is known from the headers, before most of the images are decoded.
#[test]
fn a_set_of_images_of_one_colour_is_refused_by_its_headers() {
    let place = Place::new();
    let path = place.path("flat.zip");
    let mut png = Vec::new();
    image::GrayImage::new(9000, 9000)
        .write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    let names: Vec<String> = (0..5).map(|index| format!("{index}.png")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &png[..])).collect();
    archive(&path, &members);
    let options = ImportOptions {
        resolution: Some((1, 1)),
        limits: Limits {
            all_decoded_bytes: 128 << 20,
            decoded_expansion: 1,
            ..Limits::default()
        },
        ..ImportOptions::default()
    };
    let mut done = 0;
    let out = place.path("out");
    let error = import(&path, &options, &out, &mut |progress| done = progress.done).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the size of the decoded images of"), "{text}");
    assert!(done <= 1, "{done} images were decoded before");
    assert!(!out.exists());
}

#[test]
fn what_is_left_out_is_counted_by_reason_and_not_listed_whole() {
    let place = Place::new();
    let folder = place.path("set");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.pgm"), super::IMAGE).unwrap();
    for index in 0..300 {
        fs::write(folder.join(format!("{index}.png")), b"").unwrap();
    }
    for index in 0..40 {
        fs::write(folder.join(format!("x.kind{index}")), b"").unwrap();
    }
    let imported = place.import(&folder, Limits::default()).unwrap();
    assert_eq!(imported.skipped.len(), 340);
    assert_eq!(imported.first_skipped().len(), 100);
    let reasons = imported.skipped_by_reason();
    assert_eq!(reasons["the file is empty"], 300);
    assert_eq!((reasons.len(), reasons["other reasons"]), (21, 21));
    let lines = imported.lines();
    assert!(lines.len() < 40, "{lines:?}");
    assert!(
        lines.contains(&"    300: the file is empty".to_owned()),
        "{lines:?}"
    );
}

/// Names of classes and members may have any length; what is printed of them has not.
#[test]
fn long_names_of_classes_are_cut_in_summaries_and_members_are_named_with_their_archive() {
    let place = Place::new();
    let path = place.path("set.zip");
    let long = "x".repeat(1 << 20);
    let table = format!("file_name,label\na.pgm,{long}\n");
    archive(
        &path,
        &[("a.pgm", super::IMAGE), ("metadata.csv", table.as_bytes())],
    );
    let imported = place.import(&path, Limits::default()).unwrap();
    assert_eq!(imported.set.class_names, [long]);
    let lines = imported.lines();
    assert!(lines.iter().all(|line| line.len() < 2000), "{lines:?}");

    let names = vec![b'\n'; 2 << 20];
    let batch = vec![0; 3073];
    let batches: Vec<String> = (1..=5)
        .map(|number| format!("data_batch_{number}.bin"))
        .collect();
    let mut members: Vec<(&str, &[u8])> =
        batches.iter().map(|name| (&name[..], &batch[..])).collect();
    members.push(("batches.meta.txt", &names));
    archive(&path, &members);
    place.refuses(
        &path,
        "`batches.meta.txt`: 2097152 bytes are more than the allowed 1048576",
    );
}
