//! JPEG files, decoded strictly: a file that ends early is damaged, not half grey.
//!
//! Decoders for viewers fill what is missing with grey, as people would rather see half a picture.
//! A network would learn the grey half, so here such a file is an error, as in Pillow. Pixels of
//! sound files are those of the `image` crate, which uses the same decoder.

use image::metadata::Orientation;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

/// The first bytes of a JPEG file.
pub(super) const MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];

/// A JPEG file whose header has been read.
pub(super) struct Jpeg {
    bytes: Vec<u8>,
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 for grey, 3 for everything else.
    pub(super) channels: usize,
    pub(super) orientation: Orientation,
}

impl Jpeg {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with the file: no header, or no end.
    pub(super) fn open(bytes: &[u8]) -> Result<Self, String> {
        let bytes = one_image(bytes)?;
        let mut decoder = decoder(&bytes, None);
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
            bytes,
        })
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
        decoder(&self.bytes, Some(space))
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

/// The first image of a file, from its start to its end marker. Bytes between two segments and
/// after the end are left out: cameras and editors leave such, and Pillow passes over them too.
///
/// # Errors
/// When a segment or the end marker is missing: the decoder alone would not notice a cut within the
/// last rows.
fn one_image(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let early = |at: usize| {
        format!("ends early: {at} bytes without an end marker, expected FF D9 after the pixels")
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
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
        out.extend_from_slice(segment);
        at = end;
        if marker == END_OF_IMAGE {
            return Ok(out);
        }
        if marker == START_OF_SCAN {
            // Compressed data runs to the next marker that is not a restart.
            let next = (at..bytes.len().saturating_sub(1))
                .find(|&at| bytes[at] == 0xff && !matches!(bytes[at + 1], 0 | 0xff | 0xd0..=0xd7));
            let next = next.ok_or_else(|| early(bytes.len()))?;
            out.extend_from_slice(&bytes[at..next]);
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
