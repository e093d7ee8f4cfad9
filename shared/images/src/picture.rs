//! A decoded image in memory.

use crate::ImageError;

/// An 8-bit image: rows of pixels with interleaved channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width of the image in pixels.
    pub width: usize,
    /// Height of the image in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height * width * channels` bytes: rows from the top, channels interleaved.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// An image from interleaved pixels, as in [`Picture::pixels`].
    ///
    /// # Errors
    /// When the number of bytes does not fit the shape, or there are neither 1 nor 3 channels.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self, ImageError> {
        // Checked once here: everything that reads a picture later relies on its shape.
        if !matches!(channels, 1 | 3)
            || width == 0
            || height == 0
            || pixels.len() != width * height * channels
        {
            let reason = format!(
                "{} bytes do not make a {width}x{height} image of {channels} channels (1 or 3)",
                pixels.len()
            );
            return Err(ImageError::image("(pixels)", reason));
        }
        Ok(Self {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// An image from planes, `channels` × `height` × `width` bytes.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn from_planes(
        width: usize,
        height: usize,
        channels: usize,
        planes: &[u8],
    ) -> Result<Self, ImageError> {
        let area = width * height;
        let mut pixels = vec![0; planes.len()];
        // Otherwise `new` below reports the wrong number of bytes.
        if planes.len() == area * channels {
            for (channel, plane) in planes.chunks_exact(area.max(1)).enumerate() {
                for (at, value) in plane.iter().enumerate() {
                    pixels[at * channels + channel] = *value;
                }
            }
        }
        Self::new(width, height, channels, pixels)
    }

    /// The image as planes, `channels` × `height` × `width` bytes.
    pub fn to_planes(&self) -> Vec<u8> {
        let area = self.width * self.height;
        let mut planes = vec![0; self.pixels.len()];
        for (at, pixel) in self.pixels.chunks_exact(self.channels).enumerate() {
            for (channel, value) in pixel.iter().enumerate() {
                planes[channel * area + at] = *value;
            }
        }
        planes
    }

    /// The image with three channels; grey is repeated.
    pub fn into_rgb(self) -> Self {
        if self.channels == 3 {
            return self;
        }
        let pixels = self.pixels.iter().flat_map(|value| [*value; 3]).collect();
        Self {
            channels: 3,
            pixels,
            ..self
        }
    }

    /// The image with one channel; colour becomes ITU-R 601 luma in Pillow's fixed-point
    /// arithmetic.
    pub fn into_grey(self) -> Self {
        if self.channels == 1 {
            return self;
        }
        // 0.299, 0.587 and 0.114 in units of 2^-16, and a half to round: Pillow's `L24` macro.
        // Floats would differ from it in the last bit of some pixels.
        let luma = |rgb: &[u8]| {
            ((u32::from(rgb[0]) * 19595
                + u32::from(rgb[1]) * 38470
                + u32::from(rgb[2]) * 7471
                + 0x8000)
                >> 16) as u8
        };
        let pixels = self.pixels.chunks_exact(3).map(luma).collect();
        Self {
            channels: 1,
            pixels,
            ..self
        }
    }

    /// The part of `width` × `height` pixels whose upper left corner is at (`left`, `top`).
    ///
    /// # Panics
    /// When the part does not lie inside the image.
    pub fn crop(&self, left: usize, top: usize, width: usize, height: usize) -> Self {
        assert!(
            left + width <= self.width && top + height <= self.height,
            "invariant: a crop lies inside its image"
        );
        let row = self.width * self.channels;
        let pixels = (top..top + height)
            .flat_map(|y| {
                &self.pixels
                    [y * row + left * self.channels..y * row + (left + width) * self.channels]
            })
            .copied()
            .collect();
        Self {
            width,
            height,
            channels: self.channels,
            pixels,
        }
    }
}
