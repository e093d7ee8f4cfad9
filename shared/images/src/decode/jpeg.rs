//! JPEG files, decoded strictly: a file that ends early is damaged, not half grey.
//!
//! Decoders for viewers fill what is missing with grey, as people would rather see half a picture.
//! A network would learn the grey half, so here such a file is an error, as in Pillow. Pixels of
//! sound files are those of the `image` crate, which uses the same decoder.

use image::metadata::Orientation;
use std::borrow::Cow;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

/// The first bytes of a JPEG file.
pub(super) const MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// A JPEG file whose header has been read.
pub(super) struct Jpeg<'a> {
    image: OneImage<'a>,
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 for grey, 3 for everything else.
    pub(super) channels: usize,
    pub(super) orientation: Orientation,
    /// How often the compressed data goes over the image.
    pub(super) scans: u64,
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with the file: no header, or no end.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let image = one_image(bytes)?;
        let mut decoder = decoder(&image.bytes, None);
        decoder
            .decode_headers()
            .map_err(|error| error.to_string())?;
        let dimensions = decoder.dimensions().zip(decoder.input_colorspace());
        let ((width, height), space) = dimensions.ok_or("it has no frame header")?;
        let exif = decoder.exif().map(Vec::as_slice);
        let orientation = exif.and_then(Orientation::from_exif_chunk);
        let grey = matches!(space, ColorSpace::Luma | ColorSpace::LumaA);
        Ok(Self {
            width,
            height,
            channels: if grey { 1 } else { 3 },
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            scans: image.scans,
            image,
        })
    }

    /// Bytes of memory that decoding takes beside the file and the pixels.
    pub(super) fn beside(&self) -> u64 {
        let copy = match &self.image.bytes {
            Cow::Borrowed(_) => 0,
            Cow::Owned(bytes) => bytes.len() as u64,
        };
        let pixels = (self.width as u64).saturating_mul(self.height as u64);
        let coefficients = if self.image.progressive || self.scans > 1 {
            pixels.saturating_mul(self.image.coefficient_bytes)
        } else {
            0
        };
        let turned = match self.orientation {
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => 0,
            _ => pixels.saturating_mul(self.channels as u64),
        };
        copy.saturating_add(coefficients.max(turned))
    }

    /// The pixels, `height * width * channels` bytes.
    ///
    /// # Errors
    /// Where the compressed data is damaged or incomplete.
    pub(super) fn pixels(&self) -> Result<Vec<u8>, String> {
        let space = if self.channels == 1 {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        };
        decoder(&self.image.bytes, Some(space))
            .decode()
            .map_err(|error| error.to_string())
    }
}

fn decoder(bytes: &[u8], out: Option<ColorSpace>) -> JpegDecoder<ZCursor<&[u8]>> {
    // Sizes are limited before pixels are decoded, by the caller.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let options = match out {
        Some(space) => options.jpeg_set_out_colorspace(space),
        None => options,
    };
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

const PROGRESSIVE: u8 = 0xc2;

/// The segments of one image.
struct OneImage<'a> {
    bytes: Cow<'a, [u8]>,
    scans: u64,
    /// Whether all coefficients are kept until the last scan.
    progressive: bool,
    /// Bytes of the coefficients of a pixel, rounded up.
    coefficient_bytes: u64,
}

/// Bytes of the coefficients of one pixel, from the frame header's segment: two for each component,
/// less where it has fewer samples than the first. Rounded up.
fn coefficient_bytes(frame: &[u8]) -> u64 {
    // Marker, length, precision, height, width; then the components, three bytes each.
    let count = frame.get(9).copied().unwrap_or(0);
    let components = frame.get(10..).unwrap_or(&[]).chunks_exact(3);
    let factors = components.take(count.into()).map(|component| {
        let factors = component[1];
        (u64::from(factors >> 4), u64::from(factors & 15))
    });
    let factors: Vec<(u64, u64)> = factors.collect();
    let widest = factors.iter().map(|(across, _)| *across).max().unwrap_or(1);
    let highest = factors.iter().map(|(_, down)| *down).max().unwrap_or(1);
    let samples: u64 = factors.iter().map(|(across, down)| across * down).sum();
    (2 * samples).div_ceil((widest * highest).max(1))
}

/// The first image of a file, from its start to its end marker. Bytes between two segments and
/// after the end are left out: cameras and editors leave such, and Pillow passes over them too.
///
/// # Errors
/// When a segment or the end marker is missing: the decoder alone would not notice a cut within the
/// last rows.
fn one_image(bytes: &[u8]) -> Result<OneImage<'_>, String> {
    let early = |at: usize| {
        format!("ends early: {at} bytes without an end marker, expected FF D9 after the pixels")
    };
    let mut image = OneImage {
        bytes: Cow::Borrowed(&[]),
        scans: 0,
        progressive: false,
        coefficient_bytes: 0,
    };
    let mut at = 0;
    // Nothing is copied until something is left out.
    let mut keep = |from: usize, to: usize| match &mut image.bytes {
        Cow::Borrowed(kept) if kept.len() == from => *kept = &bytes[..to],
        kept => kept.to_mut().extend_from_slice(&bytes[from..to]),
    };
    let (mut scans, mut frame): (u64, Option<&[u8]>) = (0, None);
    loop {
        // To the next marker: FF and a byte that is neither another FF nor a stuffed zero.
        let found = (at..bytes.len().saturating_sub(1))
            .find(|&at| bytes[at] == 0xff && !matches!(bytes[at + 1], 0 | 0xff));
        let start = found.ok_or_else(|| early(bytes.len()))?;
        let marker = bytes[start + 1];
        let end = match marker {
            START_OF_IMAGE | END_OF_IMAGE | 0x01 | 0xd0..=0xd7 => start + 2,
            _ => {
                let length = bytes.get(start + 2..start + 4);
                let length = length.ok_or_else(|| early(bytes.len()))?;
                start + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
        };
        let segment = bytes.get(start..end).ok_or_else(|| early(bytes.len()))?;
        keep(start, end);
        at = end;
        match marker {
            END_OF_IMAGE => {
                image.scans = scans;
                image.progressive = frame.is_some_and(|frame| frame[1] == PROGRESSIVE);
                image.coefficient_bytes = frame.map_or(0, coefficient_bytes);
                return Ok(image);
            }
            // Frame headers; C4, C8 and CC are tables and arithmetic coding.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => frame = frame.or(Some(segment)),
            _ => {}
        }
        if marker == START_OF_SCAN {
            scans += 1;
            // Compressed data runs to the next marker that is not a restart.
            let next = (at..bytes.len().saturating_sub(1))
                .find(|&at| bytes[at] == 0xff && !matches!(bytes[at + 1], 0 | 0xff | 0xd0..=0xd7));
            let next = next.ok_or_else(|| early(bytes.len()))?;
            keep(at, next);
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

    /// A noisy image of 40×24 pixels, whose every row needs many bytes.
    fn noise() -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels: Vec<u8> = (0..40 * 24 * 3).map(|_| next()).collect();
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90)
            .write_image(&pixels, 40, 24, ExtendedColorType::Rgb8)
            .unwrap();
        jpeg
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, String> {
        Jpeg::open(bytes)?.pixels()
    }

    #[test]
    fn every_cut_is_noticed_and_what_surrounds_the_image_is_not_read() {
        let jpeg = noise();
        let whole = decoded(&jpeg).unwrap();
        assert_eq!(whole.len(), 40 * 24 * 3);
        for end in 0..jpeg.len() {
            assert!(decoded(&jpeg[..end]).is_err(), "cut at {end}");
        }
        let trailing = [&jpeg[..], b"\0\0 and a thumbnail"].concat();
        assert_eq!(decoded(&trailing).unwrap(), whole);
        // Two stray bytes between two segments.
        let stray = [&jpeg[..2], b"\x00\x2a", &jpeg[2..]].concat();
        assert_eq!(decoded(&stray).unwrap(), whole);
    }

    #[test]
    fn a_tail_of_zeros_is_damage() {
        let jpeg = noise();
        for keep in [jpeg.len() / 2, jpeg.len() * 9 / 10, jpeg.len() - 3] {
            let mut zeroed = jpeg.clone();
            zeroed[keep..].fill(0);
            assert!(decoded(&zeroed).is_err(), "zeros from {keep}");
        }
    }
}
