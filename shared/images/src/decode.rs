//! Decoding of image files to 8-bit pixels: PNG, JPEG, WebP, BMP, TIFF, GIF and netpbm.

mod jpeg;

use crate::{ImageError, Limits, Picture, guard::guarded};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};
use jpeg::Jpeg;
use std::io::Cursor;

/// An image file whose header has been read: its size is known, its pixels are not decoded.
pub(crate) struct Encoded<'a> {
    name: &'a str,
    width: usize,
    height: usize,
    /// Bytes of one decoded pixel.
    pixel_bytes: u64,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Jpeg),
    Other(Box<dyn ImageDecoder + 'a>, Orientation),
}

impl<'a> Encoded<'a> {
    /// Reads the header of one image, named `name` in errors.
    ///
    /// # Errors
    /// [`ImageError::Image`] when the bytes are in another format, or declare an image that is
    /// larger than `limits` allows.
    pub(crate) fn open(
        name: &'a str,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        guarded(|| Self::header(name, bytes, limits)).unwrap_or_else(|| Err(damaged(name)))
    }

    fn header(name: &'a str, bytes: &'a [u8], limits: &Limits) -> Result<Self, ImageError> {
        let fail = |reason: String| ImageError::image(name, reason);
        if bytes.is_empty() {
            return Err(fail("the file is empty".to_owned()));
        }
        // By its first bytes: extensions are often wrong.
        let encoded = if bytes.starts_with(&jpeg::MAGIC) {
            let jpeg = Jpeg::open(bytes).map_err(|reason| fail(format!("JPEG file: {reason}")))?;
            Self {
                name,
                width: jpeg.width,
                height: jpeg.height,
                pixel_bytes: jpeg.channels as u64,
                decoder: Decoder::Jpeg(jpeg),
            }
        } else {
            Self::by_image_crate(name, bytes)?
        };
        // Checked before anything is allocated: a header of a few bytes can declare any size.
        let (width, height) = (encoded.width as u64, encoded.height as u64);
        let pixels = width.saturating_mul(height);
        if pixels > limits.pixels {
            return Err(fail(format!(
                "{width}x{height} pixels are more than the allowed {}",
                limits.pixels
            )));
        }
        let decoded = encoded.decoded_bytes();
        if decoded > limits.decoded_bytes {
            return Err(fail(format!(
                "{width}x{height} pixels take {decoded} bytes, more than the allowed {}",
                limits.decoded_bytes
            )));
        }
        Ok(encoded)
    }

    fn by_image_crate(name: &'a str, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let fail = |reason: String| ImageError::image(name, reason);
        let reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|error| fail(error.to_string()))?;
        if !reader.format().is_some_and(|format| READ.contains(&format)) {
            let found = foreign_format(bytes).map_or(String::new(), |found| format!("{found}: "));
            return Err(fail(format!(
                "{found}not a PNG, JPEG, WebP, BMP, TIFF, GIF or netpbm file"
            )));
        }
        let mut decoder = reader
            .into_decoder()
            .map_err(|error| fail(error.to_string()))?;
        let (width, height) = decoder.dimensions();
        let orientation = decoder
            .orientation()
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            name,
            width: width as usize,
            height: height as usize,
            pixel_bytes: decoder.color_type().bytes_per_pixel().into(),
            decoder: Decoder::Other(Box::new(decoder), orientation),
        })
    }

    /// Bytes of its decoded pixels.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        let pixels = (self.width as u64).saturating_mul(self.height as u64);
        pixels.saturating_mul(self.pixel_bytes)
    }

    /// Decodes it. Grey stays one channel; palettes and CMYK become RGB; alpha is dropped; 16 bits
    /// are rounded to 8; of several pictures the first is taken; the EXIF orientation is applied.
    ///
    /// # Errors
    /// [`ImageError::Image`] when the file is damaged or ends early.
    pub(crate) fn decode(self) -> Result<Picture, ImageError> {
        let name = self.name;
        guarded(|| self.pixels()).unwrap_or_else(|| Err(damaged(name)))
    }

    fn pixels(self) -> Result<Picture, ImageError> {
        let name = self.name;
        let fail = |reason: String| ImageError::image(name, reason);
        let (mut picture, orientation) = match self.decoder {
            Decoder::Jpeg(jpeg) => {
                let pixels = jpeg
                    .pixels()
                    .map_err(|reason| fail(format!("JPEG file: {reason}")))?;
                let (width, height) = (self.width as u32, self.height as u32);
                let picture = if jpeg.channels == 1 {
                    image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::from)
                } else {
                    image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
                };
                let lacking = || fail("JPEG file: the pixels do not fill the image".to_owned());
                (picture.ok_or_else(lacking)?, jpeg.orientation)
            }
            Decoder::Other(decoder, orientation) => (
                DynamicImage::from_decoder(decoder).map_err(|error| fail(error.to_string()))?,
                orientation,
            ),
        };
        // Cameras store pixels as the sensor reads them; Pillow leaves this to `exif_transpose`,
        // which the EDM tool does not call. Sets with such files are framed as people see them.
        picture.apply_orientation(orientation);
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        // `into_rgb8` and `into_luma8` drop alpha and round 16 bits.
        if picture.color().has_color() {
            Picture::new(width, height, 3, picture.into_rgb8().into_raw())
        } else {
            Picture::new(width, height, 1, picture.into_luma8().into_raw())
        }
        .map_err(|error| fail(error.to_string()))
    }
}

/// The error for an image at which its decoder panics.
fn damaged(name: &str) -> ImageError {
    ImageError::image(name, "it is damaged: its decoder fails")
}

/// The formats that are read, beside JPEG.
const READ: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Gif,
    ImageFormat::Pnm,
];

/// Decodes one image, named `name` in errors. Grey stays one channel; palettes and CMYK become
/// RGB; alpha is dropped; 16 bits are rounded to 8; of several pictures the first is taken; the
/// EXIF orientation is applied.
///
/// # Errors
/// [`ImageError::Image`] when the bytes are in another format, truncated, or declare more pixels
/// than `limits` allows.
pub fn decode(name: &str, bytes: &[u8], limits: &Limits) -> Result<Picture, ImageError> {
    Encoded::open(name, bytes, limits)?.decode()
}

/// The name of an image format that people have and this crate does not read.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    // ISO base media files name their kind after a length and `ftyp`.
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12)? {
            b"avif" | b"avis" => Some("an AVIF file"),
            b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => Some("a HEIC file"),
            _ => None,
        };
    }
    let known: [(&[u8], &str); 8] = [
        (b"\xff\x0a", "a JPEG XL file"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
        (b"8BPS", "a Photoshop file"),
        (b"v/1\x01", "an OpenEXR file"),
        (b"DDS ", "a DirectDraw texture"),
        (b"<svg", "an SVG drawing"),
    ];
    let found = known.iter().find(|(magic, _)| bytes.starts_with(magic));
    found.map(|(_, name)| *name)
}

/// The extension that suits encoded bytes; `png` where they are of no known format, so that they
/// are tried and named as damaged.
pub(crate) fn sniffed_extension(bytes: &[u8]) -> &'static str {
    let format = image::guess_format(bytes).ok();
    let known = format.and_then(|format| format.extensions_str().first());
    known.copied().unwrap_or("png")
}

/// Extensions of the formats that are read, in lower case.
const EXTENSIONS: [&str; 19] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "webp", "bmp", "dib", "tif",
    "tiff", "gif", "pnm", "ppm", "pgm", "pbm", "pam",
];
/// Extensions of images that are not read, in lower case: their files are counted and listed as
/// skipped, not passed over.
const FOREIGN_EXTENSIONS: [&str; 11] = [
    "avif", "heic", "heif", "jxl", "jp2", "j2k", "psd", "exr", "tga", "dds", "svg",
];

/// Whether a member name has the extension of an image.
pub(crate) fn is_image_name(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
        .to_ascii_lowercase();
    EXTENSIONS
        .iter()
        .chain(&FOREIGN_EXTENSIONS)
        .any(|known| *known == extension)
}

#[cfg(test)]
mod tests {
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
        check_patches(include_bytes!("decode/cmyk.tif"), inks, 1);
        let jpeg = include_bytes!("decode/cmyk.jpg");
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
            [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".as_slice()]
                .concat();
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
}
