//! Files of several pictures: animations and pages. An import takes the first, and says so.

/// Whether a file has more pictures than its first. Only the structure around the pixels is looked
/// at; damage is not told here.
pub(crate) fn holds_several(bytes: &[u8]) -> bool {
    let found = match bytes {
        [b'G', b'I', b'F', b'8', ..] => frames_of_gif(bytes),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => second_page(bytes, 4, 2, 12),
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => second_page(bytes, 8, 8, 20),
        [0x89, b'P', b'N', b'G', ..] => animated_png(bytes),
        // The second bit of an extended file's flags says that it is an animation.
        [b'R', b'I', b'F', b'F', ..] => bytes
            .get(8..21)
            .map(|head| head.starts_with(b"WEBPVP8X") && head[12] & 2 != 0),
        _ => None,
    };
    found == Some(true)
}

/// Whether a second image follows: blocks of extensions (0x21) and images (0x2C), each of which
/// ends in sub-blocks with their lengths before them.
fn frames_of_gif(bytes: &[u8]) -> Option<bool> {
    let table = |flags: u8| {
        if flags & 0x80 == 0 {
            0
        } else {
            3 << ((flags & 7) + 1)
        }
    };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut images = 0;
    loop {
        at += match bytes.get(at)? {
            0x21 => 2,
            0x2c => {
                images += 1;
                // The place of the image, its palette, and the width of its codes.
                10 + table(*bytes.get(at + 9)?) + 1
            }
            _ => return Some(false),
        };
        if images == 2 {
            return Some(true);
        }
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

/// Whether the first directory of a TIFF file names a second: numbers of `width` bytes say where
/// directories are, `count` bytes how many entries one has, of `entry` bytes each.
fn second_page(bytes: &[u8], width: usize, count: usize, entry: u64) -> Option<bool> {
    let number = |at: u64, width: usize| {
        let at = usize::try_from(at).ok()?;
        let digits = bytes.get(at..at.checked_add(width)?)?.iter();
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if bytes[0] == b'I' {
            digits.rev().fold(0, join)
        } else {
            digits.fold(0, join)
        })
    };
    let first = number(width as u64, width)?;
    let entries = number(first, count)?.checked_mul(entry)?;
    let next = first.checked_add(count as u64)?.checked_add(entries)?;
    Some(number(next, width)? != 0)
}

/// Whether the chunk of an animation comes before the pixels, and says more than one frame.
fn animated_png(bytes: &[u8]) -> Option<bool> {
    let mut at = 8usize;
    loop {
        let head = bytes.get(at..at.checked_add(8)?)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        match &head[4..] {
            b"IDAT" | b"IEND" => return Some(false),
            b"acTL" => {
                let frames = bytes.get(at + 8..at + 12)?;
                return Some(frames > &[0, 0, 0, 1][..]);
            }
            _ => at = at.checked_add(12)?.checked_add(length as usize)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, Frame, RgbaImage, codecs::gif::GifEncoder};

    fn gif(frames: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for shade in 0..frames {
            let image = RgbaImage::from_pixel(3, 3, image::Rgba([shade, 9, 9, 255]));
            encoder.encode_frame(Frame::new(image)).unwrap();
        }
        drop(encoder);
        bytes
    }

    fn tiff(little: bool, big: bool, next: u8) -> Vec<u8> {
        let number = |value: u64, width: usize| {
            let mut bytes = value.to_be_bytes()[8 - width..].to_vec();
            if little {
                bytes.reverse();
            }
            bytes
        };
        let (width, count, entry) = if big { (8, 8, 20) } else { (4, 2, 12) };
        let mark = if little { b"II" } else { b"MM" };
        let mut bytes = [&mark[..], &number(if big { 43 } else { 42 }, 2)].concat();
        if big {
            bytes.extend([number(8, 2), number(0, 2)].concat());
        }
        bytes.extend(number(2 * width as u64, width));
        bytes.extend(number(2, count));
        bytes.extend(vec![7; 2 * entry]);
        bytes.extend(number(next.into(), width));
        bytes
    }

    #[test]
    fn animations_and_pages_are_told_from_single_pictures() {
        assert!(!holds_several(&gif(1)));
        assert!(holds_several(&gif(2)));
        for (little, big) in [(true, false), (false, false), (true, true), (false, true)] {
            assert!(!holds_several(&tiff(little, big, 0)), "{little} {big}");
            assert!(holds_several(&tiff(little, big, 99)), "{little} {big}");
        }
        let animated = |frames: u32| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
            if frames > 0 {
                encoder.set_animated(frames, 0).unwrap();
            }
            let mut writer = encoder.write_header().unwrap();
            for _ in 0..frames.max(1) {
                writer.write_image_data(&[1; 4]).unwrap();
            }
            writer.finish().unwrap();
            bytes
        };
        assert!(!holds_several(&animated(0)));
        assert!(!holds_several(&animated(1)));
        assert!(holds_several(&animated(2)));
        let webp = |flags: u8| [&b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0"[..], &[flags, 0, 0, 0]].concat();
        assert!(!holds_several(&webp(0x10)));
        assert!(holds_several(&webp(0x12)));
        let mut plain = std::io::Cursor::new(Vec::new());
        DynamicImage::new_rgb8(2, 2)
            .write_to(&mut plain, image::ImageFormat::Tiff)
            .unwrap();
        assert!(!holds_several(&plain.into_inner()));
    }

    #[test]
    fn cut_files_are_looked_at_to_their_end() {
        for whole in [gif(2), tiff(true, false, 9), tiff(false, true, 9)] {
            for end in 0..whole.len() {
                let _either = holds_several(&whole[..end]);
            }
        }
    }
}
