//! Decoding of image files to 8-bit pixels: PNG, JPEG, WebP, BMP, TIFF, GIF and netpbm.

mod jpeg;
mod several;

use crate::{ImageError, Limits, Picture, guard::guarded};
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, codecs::bmp::BmpDecoder,
    metadata::Orientation,
};
use jpeg::Jpeg;
pub(crate) use several::holds_several;
use std::io::Cursor;

/// An image file whose header has been read: its size is known, its pixels are not decoded.
pub(crate) struct Encoded<'a> {
    name: &'a str,
    width: usize,
    height: usize,
    /// Bytes of one decoded pixel.
    pixel_bytes: u64,
    /// Bytes of memory for decoding it, beside the file and its pixels.
    beside: u64,
    encoded: u64,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Jpeg<'a>),
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
                beside: jpeg.beside(),
                encoded: bytes.len() as u64,
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
        let memory = encoded.memory();
        if memory > limits.image_memory {
            return Err(fail(format!(
                "to decode {width}x{height} pixels of this format takes {memory} bytes of memory, \
                 more than the allowed {}: save it as a plain PNG or in a smaller size",
                limits.image_memory
            )));
        }
        if encoded.work() > limits.decoded_bytes {
            return Err(fail(format!(
                "{width}x{height} pixels in {} scans, more than the allowed {SCANS} for an image \
                 of this size: save it again",
                encoded.scans()
            )));
        }
        Ok(encoded)
    }

    fn by_image_crate(name: &'a str, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let fail = |reason: String| ImageError::image(name, reason);
        let bitmap = has_bitmap_header(bytes);
        let known = || format_of(bytes).filter(|format| READ.contains(format));
        let Some(format) = bitmap.then_some(ImageFormat::Bmp).or_else(known) else {
            let found = foreign_format(bytes).map_or(String::new(), |found| format!("{found}: "));
            return Err(fail(format!(
                "{found}not a PNG, JPEG, WebP, BMP, TIFF, GIF or netpbm file"
            )));
        };
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        if format == ImageFormat::Png {
            // Of what stands beside the pixels: a colour profile is inflated with the header.
            let mut limits = image::Limits::default();
            limits.max_alloc = Some(PNG_HEADERS);
            reader.limits(limits);
        }
        let decoder = if bitmap {
            let decoder = BmpDecoder::new_without_file_header(Cursor::new(bytes));
            decoder.map(|decoder| Box::new(decoder) as Box<dyn ImageDecoder + 'a>)
        } else {
            let decoder = reader.into_decoder();
            decoder.map(|decoder| Box::new(decoder) as Box<dyn ImageDecoder + 'a>)
        };
        let mut decoder = decoder.map_err(|error| fail(error.to_string()))?;
        let (width, height) = decoder.dimensions();
        let orientation = decoder
            .orientation()
            .map_err(|error| fail(error.to_string()))?;
        let pixels = u64::from(width).saturating_mul(height.into());
        let colour = decoder.color_type();
        let pixel_bytes = u64::from(colour.bytes_per_pixel());
        // What there is beside the pixels at one time: the decoder's own picture, a turned one, or
        // one of another type.
        let own = match format {
            ImageFormat::Gif | ImageFormat::WebP | ImageFormat::Tiff => pixel_bytes.max(4),
            _ => 0,
        };
        let turned = match orientation {
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => 0,
            _ => pixel_bytes,
        };
        let converted = match colour {
            ColorType::L8 | ColorType::Rgb8 => 0,
            _ => 3,
        };
        Ok(Self {
            name,
            width: width as usize,
            height: height as usize,
            pixel_bytes,
            beside: pixels.saturating_mul(own.max(turned).max(converted)),
            encoded: bytes.len() as u64,
            decoder: Decoder::Other(decoder, orientation),
        })
    }

    /// Bytes of its decoded pixels.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        let pixels = (self.width as u64).saturating_mul(self.height as u64);
        pixels.saturating_mul(self.pixel_bytes)
    }

    /// Most bytes of memory while it is decoded, its file included.
    pub(crate) fn memory(&self) -> u64 {
        let decoded = self.decoded_bytes().saturating_add(self.beside);
        decoded.saturating_add(self.encoded)
    }

    /// Bytes of pixels that its decoder fills: each scan of a JPEG file goes over all of them.
    pub(crate) fn work(&self) -> u64 {
        let rounds = self.scans().div_ceil(SCANS).max(1);
        self.decoded_bytes().saturating_mul(rounds)
    }

    fn scans(&self) -> u64 {
        match &self.decoder {
            Decoder::Jpeg(jpeg) => jpeg.scans,
            Decoder::Other(..) => 1,
        }
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

/// Bytes of the colour profile and of the rows that a PNG decoder keeps; a profile that is larger
/// is left out, as all of them are.
const PNG_HEADERS: u64 = 32 << 20;

/// Scans of a JPEG file that cost no more than one: programs write 10 to 14.
const SCANS: u64 = 16;

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

/// The format that the first bytes of a file tell.
fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    // BigTIFF, for files beyond 4 GB and programs that always write it; the same decoder reads it.
    if [&b"II+\0"[..], b"MM\0+"]
        .iter()
        .any(|big| bytes.starts_with(big))
    {
        return Some(ImageFormat::Tiff);
    }
    image::guess_format(bytes).ok()
}

/// Whether bytes are a bitmap without the header of a BMP file (`.dib`): the length of its own
/// header, then one plane of a known number of bits.
fn has_bitmap_header(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..at + 2).map(|two| [two[0], two[1]]);
    let length = bytes
        .get(..4)
        .map(|four| [four[0], four[1], four[2], four[3]]);
    let planes = match length.map(u32::from_le_bytes) {
        Some(12) => 8,
        Some(40 | 52 | 56 | 64 | 108 | 124) => 12,
        _ => return false,
    };
    let bits = number(planes + 2).map(u16::from_le_bytes);
    number(planes).map(u16::from_le_bytes) == Some(1)
        && matches!(bits, Some(1 | 2 | 4 | 8 | 16 | 24 | 32))
}

/// The extension that suits encoded bytes; `png` where they are of no known format, so that they
/// are tried and named as damaged.
pub(crate) fn sniffed_extension(bytes: &[u8]) -> &'static str {
    let format = format_of(bytes);
    let known = format.and_then(|format| format.extensions_str().first());
    known.copied().unwrap_or("png")
}

/// Whether bytes begin as an image of a known format does.
pub(crate) fn is_image(bytes: &[u8]) -> bool {
    format_of(bytes).is_some()
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
mod tests;
