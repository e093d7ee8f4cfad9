//! Pictures side by side as one PNG inside the page.

use crate::artefacts::Picture;
use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{Markup, html};

/// Pixels of the largest tile: larger pictures are shrunk, so that a report stays small enough to
/// send.
const LARGEST_SIDE: usize = 96;
/// Small pictures are shown at about this size in CSS pixels.
const SHOWN_SIDE: usize = 40;
/// The same where two grids stand side by side.
const PAIRED_SIDE: usize = 24;

/// Whether pictures of this side are too wide for pairs beside pairs.
pub fn fills_a_row(side: usize) -> bool {
    side > PAIRED_SIDE
}

/// Pictures in rows of `columns`, as an `img` with a PNG inside; a picture that is missing, or of
/// another size than the first, leaves a gap. `alternative` is the text for screen readers.
pub fn grid(pictures: &[Option<Picture>], columns: usize, alternative: &str) -> Markup {
    shown(pictures, columns, alternative, SHOWN_SIDE)
}

/// As [`grid`], small enough for two grids side by side.
pub fn half_grid(pictures: &[Option<Picture>], columns: usize, alternative: &str) -> Markup {
    shown(pictures, columns, alternative, PAIRED_SIDE)
}

fn shown(
    pictures: &[Option<Picture>],
    columns: usize,
    alternative: &str,
    shown_side: usize,
) -> Markup {
    let Some(first) = pictures.iter().flatten().next() else {
        return html! {};
    };
    let shrink = first.side.div_ceil(LARGEST_SIDE);
    let (side, channels) = (first.side / shrink, first.channels);
    let columns = columns.clamp(1, pictures.len());
    let rows = pictures.len().div_ceil(columns);
    let gap = (side / 16).max(1);
    let (width, height) = (columns * (side + gap) - gap, rows * (side + gap) - gap);
    // Pixels and an opacity: gaps let the page's colour through.
    let depth = channels + 1;
    let mut canvas = vec![0u8; width * height * depth];
    for (index, picture) in pictures.iter().enumerate() {
        let Some(picture) = picture
            .as_ref()
            .filter(|picture| picture.channels == channels && picture.side == first.side)
        else {
            continue;
        };
        let (left, top) = (
            index % columns * (side + gap),
            index / columns * (side + gap),
        );
        for y in 0..side {
            for x in 0..side {
                let at = ((top + y) * width + left + x) * depth;
                for channel in 0..channels {
                    canvas[at + channel] = mean(picture, channel, x * shrink, y * shrink, shrink);
                }
                canvas[at + channels] = 255;
            }
        }
    }
    let enlarge = (shown_side / side).max(1);
    let png = encoded(&canvas, width, height, channels);
    html! {
        img.tiles.enlarged[enlarge > 1] src=(format!("data:image/png;base64,{}", STANDARD.encode(png))) width=(width * enlarge) height=(height * enlarge) alt=(alternative);
    }
}

/// Mean over `block` × `block` pixels of a channel, rounded to the nearest value.
fn mean(picture: &Picture, channel: usize, x: usize, y: usize, block: usize) -> u8 {
    let plane = &picture.pixels[channel * picture.side * picture.side..];
    let sum: u32 = (0..block * block)
        .map(|n| u32::from(plane[(y + n / block) * picture.side + x + n % block]))
        .sum();
    let count = (block * block) as u32;
    ((sum + count / 2) / count) as u8
}

fn encoded(canvas: &[u8], width: usize, height: usize, channels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(if channels == 1 {
        png::ColorType::GrayscaleAlpha
    } else {
        png::ColorType::Rgba
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder
        .write_header()
        .expect("invariant: the size is not zero, and memory takes every byte");
    writer
        .write_image_data(canvas)
        .expect("invariant: the canvas has the declared size");
    drop(writer);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_holds_every_pixel_and_lets_gaps_through() {
        let picture = |value: u8| {
            Some(Picture {
                channels: 1,
                side: 2,
                pixels: vec![value; 4],
            })
        };
        let markup = grid(&[picture(10), None, picture(30)], 2, "three").into_string();
        let data = markup
            .split("base64,")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let png = STANDARD.decode(data).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (5, 5));
        let at = |x: usize, y: usize| (pixels[(y * 5 + x) * 2], pixels[(y * 5 + x) * 2 + 1]);
        assert_eq!(
            (at(0, 0), at(2, 0), at(3, 0), at(0, 3)),
            ((10, 255), (0, 0), (0, 0), (30, 255))
        );
    }
    #[test]
    fn large_pictures_are_shrunk_by_whole_blocks() {
        let picture = Picture {
            channels: 3,
            side: 256,
            pixels: vec![200; 3 * 256 * 256],
        };
        let markup = grid(&[Some(picture)], 1, "one").into_string();
        assert!(
            markup.contains("width=\"85\""),
            "{}",
            &markup[markup.len() - 60..]
        );
    }
}
