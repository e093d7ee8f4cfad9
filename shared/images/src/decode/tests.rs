//! Pictures of every format, and files that are damaged.

use super::*;
use image::{ExtendedColorType, ImageEncoder, codecs};

fn png(bytes: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    codecs::png::PngEncoder::new(&mut out)
        .write_image(bytes, width, height, color)
        .unwrap();
    out
}
fn decoded(bytes: &[u8]) -> Picture {
    decode("x", bytes, &Limits::default()).unwrap()
}

#[test]
fn grey_stays_grey_and_alpha_is_dropped() {
    let grey = decoded(&png(&[1, 2, 3, 4], 2, 2, ExtendedColorType::L8));
    assert_eq!((grey.channels, grey.pixels), (1, vec![1, 2, 3, 4]));
    let rgba = decoded(&png(&[9, 8, 7, 0], 1, 1, ExtendedColorType::Rgba8));
    assert_eq!((rgba.channels, rgba.pixels), (3, vec![9, 8, 7]));
    let grey_alpha = decoded(&png(&[77, 3], 1, 1, ExtendedColorType::La8));
    assert_eq!((grey_alpha.channels, grey_alpha.pixels), (1, vec![77]));
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let samples: Vec<u8> = [0u16, 128, 129, 65535]
        .iter()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    assert_eq!(
        decoded(&png(&samples, 4, 1, ExtendedColorType::L16)).pixels,
        vec![0, 0, 1, 255]
    );
}

#[test]
fn palettes_become_rgb() {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 3, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(vec![10, 20, 30, 40, 50, 60]);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[1, 0, 1])
        .unwrap();
    assert_eq!(
        decoded(&out).pixels,
        vec![40, 50, 60, 10, 20, 30, 40, 50, 60]
    );
}

#[test]
fn bmp_tiff_and_webp_keep_every_pixel() {
    let pixels: Vec<u8> = (0..5 * 3 * 3).map(|v| (v * 5) as u8).collect();
    let (mut bmp, mut tiff, mut webp) = (Vec::new(), Cursor::new(Vec::new()), Vec::new());
    codecs::bmp::BmpEncoder::new(&mut bmp)
        .write_image(&pixels, 5, 3, ExtendedColorType::Rgb8)
        .unwrap();
    codecs::tiff::TiffEncoder::new(&mut tiff)
        .write_image(&pixels, 5, 3, ExtendedColorType::Rgb8)
        .unwrap();
    codecs::webp::WebPEncoder::new_lossless(&mut webp)
        .write_image(&pixels, 5, 3, ExtendedColorType::Rgb8)
        .unwrap();
    for bytes in [&bmp, tiff.get_ref(), &webp] {
        assert_eq!(decoded(bytes).pixels, pixels);
    }
}

/// Middle pixels of six patches of 8×8, as Pillow 13 converts the same files to RGB.
fn check_patches(bytes: &[u8], expect: [[u8; 3]; 6], tolerance: u8) {
    let found = decoded(bytes);
    assert_eq!((found.width, found.height, found.channels), (48, 8, 3));
    for (patch, expect) in expect.iter().enumerate() {
        let at = (4 * 48 + 8 * patch + 4) * 3;
        let pixel = &found.pixels[at..at + 3];
        let near = pixel
            .iter()
            .zip(expect)
            .all(|(a, b)| a.abs_diff(*b) <= tolerance);
        assert!(near, "patch {patch}: {pixel:?} instead of {expect:?}");
    }
}

#[test]
fn cmyk_becomes_rgb_as_pillow_does_it() {
    let white = [255, 255, 255];
    let inks = [
        white,
        [0, 255, 255],
        [255, 0, 255],
        [255, 255, 0],
        [0, 0, 0],
        [190, 119, 49],
    ];
    check_patches(include_bytes!("cmyk.tif"), inks, 1);
    let jpeg = include_bytes!("cmyk.jpg");
    check_patches(jpeg, inks, 2);
    // The same numbers read as luminance, two colours and black: the Adobe block's last byte
    // says so.
    let mut ycck = jpeg.to_vec();
    let adobe = ycck
        .windows(5)
        .position(|window| window == b"Adobe")
        .unwrap();
    ycck[adobe + 11] = 2;
    let expect = [
        [0, 134, 0],
        [77, 255, 30],
        [0, 47, 227],
        [179, 0, 0],
        [0, 0, 0],
        [125, 0, 25],
    ];
    check_patches(&ycck, expect, 3);
}

#[test]
fn exif_orientation_is_applied() {
    // A JPEG of 16x8 pixels, dark left and bright right, with an APP1 block that says "rotate
    // 90° clockwise" (orientation 6).
    let pixels: Vec<u8> = (0..8)
        .flat_map(|_| (0..16).map(|x| if x < 8 { 0 } else { 255 }))
        .collect();
    let mut jpeg = Vec::new();
    codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95)
        .write_image(&pixels, 16, 8, ExtendedColorType::L8)
        .unwrap();
    let tiff =
        [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".as_slice()].concat();
    let body = [b"Exif\0\0".as_slice(), &tiff].concat();
    let block = [
        &[0xff, 0xe1],
        ((body.len() + 2) as u16).to_be_bytes().as_slice(),
        &body,
    ]
    .concat();
    let turned = decoded(&[&jpeg[..2], &block, &jpeg[2..]].concat());
    assert_eq!((turned.width, turned.height), (8, 16));
    assert!(
        turned.pixels[0] < 50 && turned.pixels[8 * 16 - 1] > 200,
        "left became top"
    );
}

#[test]
fn gif_and_netpbm_are_read_and_other_formats_are_named() {
    let pixels: Vec<u8> = (0..5 * 3 * 3).map(|v| (v * 5) as u8).collect();
    let mut gif = Vec::new();
    codecs::gif::GifEncoder::new(&mut gif)
        .encode(&pixels, 5, 3, ExtendedColorType::Rgb8)
        .unwrap();
    assert_eq!(decoded(&gif).pixels, pixels);
    let ppm = [b"P6\n5 3\n255\n", &pixels[..]].concat();
    assert_eq!(decoded(&ppm).pixels, pixels);
    let grey = decoded(b"P2\n2 1\n255\n7 250\n");
    assert_eq!((grey.channels, grey.pixels), (1, vec![7, 250]));
    for (bytes, expected) in [
        (&b"\0\0\0\x1cftypavif\0\0\0\0"[..], "an AVIF file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC file"),
        (b"8BPS\0\x01", "a Photoshop file"),
    ] {
        let error = decode("x", bytes, &Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    for end in [gif.len() / 2, gif.len() * 3 / 4] {
        assert!(decode("x", &gif[..end], &Limits::default()).is_err());
    }
    assert!(decode("x", &ppm[..ppm.len() - 1], &Limits::default()).is_err());
}

#[test]
fn a_damaged_image_is_an_error_of_that_image() {
    let good = png(&[5; 64 * 64], 64, 64, ExtendedColorType::L8);
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"hello", "not a PNG"),
        (&good[..good.len() / 2], ""),
    ] {
        let error = decode("a.png", bytes, &Limits::default()).unwrap_err();
        assert!(
            error.is_about_one_image() && error.to_string().contains(expected),
            "{error}"
        );
    }
    let tight = Limits {
        pixels: 100,
        ..Limits::default()
    };
    assert!(
        decode("a.png", &good, &tight)
            .unwrap_err()
            .to_string()
            .contains("64x64 pixels are more than the allowed 100")
    );
}

/// A profile of zeros, which takes a thousandth in the file and is never used.
#[test]
fn a_colour_profile_that_fills_the_memory_is_not_inflated() {
    let mut profile = vec![0; 100 << 20];
    let mut bytes = Vec::new();
    for expected in [None, Some(1 << 20)] {
        bytes.clear();
        let mut info = png::Info::with_size(1, 1);
        info.color_type = png::ColorType::Grayscale;
        info.icc_profile = Some(std::borrow::Cow::Borrowed(&profile));
        let encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[7]).unwrap();
        writer.finish().unwrap();
        assert!(bytes.len() < 2 << 20, "{}", bytes.len());
        let opened = Encoded::open("x", &bytes, &Limits::default()).unwrap();
        let Decoder::Other(mut decoder, _) = opened.decoder else {
            panic!("no PNG file");
        };
        let found = decoder.icc_profile().unwrap().map(|found| found.len());
        assert_eq!(found, expected);
        assert_eq!(decoded(&bytes).pixels, [7]);
        profile.truncate(1 << 20);
    }
}

#[test]
fn bitmaps_without_the_header_of_a_file_are_read() {
    let pixels: Vec<u8> = (0..4 * 3 * 3).map(|value| value * 7).collect();
    let mut bmp = Vec::new();
    codecs::bmp::BmpEncoder::new(&mut bmp)
        .encode(&pixels, 4, 3, ExtendedColorType::Rgb8)
        .unwrap();
    // The header of a BMP file takes 14 bytes.
    assert_eq!(decoded(&bmp[14..]), decoded(&bmp));
    assert_eq!(decoded(&bmp[14..]).pixels, pixels);
    let cut = decode("x", &bmp[14..bmp.len() - 9], &Limits::default());
    assert!(cut.is_err());
    // Other files that begin with such a number.
    let other = [&40u32.to_le_bytes()[..], &[9; 60]].concat();
    let error = decode("x", &other, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("not a PNG"), "{error}");
}

#[test]
fn big_tiff_is_read_by_the_decoder_of_tiff() {
    // One strip of two grey pixels; entries are (tag, type, count, value).
    let entries: [(u16, u16, u64); 8] = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 16, 16),
        (277, 3, 1),
        (279, 16, 2),
    ];
    for little in [true, false] {
        let number = |value: u64, width: usize| {
            let mut bytes = value.to_be_bytes()[8 - width..].to_vec();
            if little {
                bytes.reverse();
            }
            bytes
        };
        let mark = if little { b"II" } else { b"MM" };
        let mut tiff = [&mark[..], &number(43, 2), &number(8, 2), &number(0, 2)].concat();
        tiff.extend(number(24, 8));
        tiff.extend([77, 200, 0, 0, 0, 0, 0, 0]);
        tiff.extend(number(entries.len() as u64, 8));
        for (tag, kind, value) in entries {
            let width = if kind == 3 { 2 } else { 8 };
            tiff.extend([number(tag.into(), 2), number(kind.into(), 2), number(1, 8)].concat());
            tiff.extend(number(value, width));
            tiff.extend(vec![0; 8 - width]);
        }
        tiff.extend(number(0, 8));
        assert_eq!(decoded(&tiff).pixels, [77, 200], "{little}");
    }
}
