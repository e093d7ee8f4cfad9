//! Cropping and resizing by the rules of torchvision (spec §2.1) and of the EDM data set tool (spec
//! §1.3).

use crate::{
    Framing, Picture,
    pillow::{Filter, resize},
};

/// `n / 2` rounded half to even, as Python's `round` does.
fn half_to_even(n: usize) -> usize {
    let half = n / 2;
    if n.is_multiple_of(2) || half.is_multiple_of(2) {
        half
    } else {
        half + 1
    }
}

/// torchvision's `Resize(side)`: the short side becomes `side`, the long one `int(side * long /
/// short)`.
pub fn resize_short_side(picture: &Picture, side: usize, filter: Filter) -> Picture {
    let (short, long) = (
        picture.width.min(picture.height),
        picture.width.max(picture.height),
    );
    // Truncated, not rounded, as torchvision does.
    let longer = (side as f64 * long as f64 / short as f64) as usize;
    // Of a square both sides become `side`.
    let (width, height) = if picture.width <= picture.height {
        (side, longer)
    } else {
        (longer, side)
    };
    resize(picture, width, height, filter)
}

/// torchvision's `CenterCrop(side)`: offsets are half the excess, rounded half to even. `None` when
/// the image is smaller.
pub fn center_crop(picture: &Picture, side: usize) -> Option<Picture> {
    let (x, y) = (
        picture.width.checked_sub(side)?,
        picture.height.checked_sub(side)?,
    );
    Some(picture.crop(half_to_even(x), half_to_even(y), side, side))
}

/// Crops and resizes an image to `width` × `height` as the EDM data set tool does, by Lanczos.
/// `None` when `CenterCropWide` drops the image because it is smaller than the target.
pub fn edm_frame(
    picture: Picture,
    width: usize,
    height: usize,
    framing: Framing,
) -> Option<Picture> {
    match framing {
        // Lanczos at the same size would be the identity anyway.
        Framing::Scale if (picture.width, picture.height) == (width, height) => Some(picture),
        Framing::Scale => Some(resize(&picture, width, height, Filter::Lanczos)),
        Framing::CenterCrop => {
            // The tool rounds offsets down, unlike torchvision.
            let side = picture.width.min(picture.height);
            let square = picture.crop(
                (picture.width - side) / 2,
                (picture.height - side) / 2,
                side,
                side,
            );
            Some(resize(&square, width, height, Filter::Lanczos))
        }
        // The tool drops images that would have to be enlarged.
        Framing::CenterCropWide if picture.width < width || rows_kept(&picture, width) < height => {
            None
        }
        Framing::CenterCropWide => Some(center_crop_wide(&picture, width, height)),
    }
}

/// Python's `round(width * h / w)`: half to even.
fn rows_kept(picture: &Picture, width: usize) -> usize {
    (width as f64 * picture.height as f64 / picture.width as f64).round_ties_even() as usize
}

/// The EDM tool's `center-crop-wide` without its size check: `round(width * h / w)`
/// central rows are resized to `width` × `height`, and centred on a black square of side `width`.
/// The result is always RGB.
pub fn center_crop_wide(picture: &Picture, width: usize, height: usize) -> Picture {
    // As many rows as make the aspect of the result, from the full width.
    let rows = rows_kept(picture, width).clamp(1, picture.height);
    let band = picture.crop(0, (picture.height - rows) / 2, picture.width, rows);
    let band = resize(&band.into_rgb(), width, height, Filter::Lanczos);
    let mut pixels = vec![0; width * width * 3];
    // Black bars of equal height above and below.
    let start = (width - height) / 2 * width * 3;
    pixels[start..start + band.pixels.len()].copy_from_slice(&band.pixels);
    Picture {
        width,
        height: width,
        channels: 3,
        pixels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Picture {
        Picture::new(
            width,
            height,
            1,
            (0..width * height).map(|i| (i % 251) as u8).collect(),
        )
        .unwrap()
    }

    #[test]
    fn sizes_and_offsets_are_torchvisions() {
        for (w, h, expect) in [
            (240, 180, (298, 224)),
            (239, 180, (297, 224)),
            (181, 300, (224, 371)),
            (32, 32, (224, 224)),
        ] {
            let resized = resize_short_side(&ramp(w, h), 224, Filter::Bicubic);
            assert_eq!((resized.width, resized.height), expect);
        }
        assert_eq!([70, 73, 75, 77].map(half_to_even), [35, 36, 38, 38]);
        assert!(center_crop(&ramp(223, 300), 224).is_none());
    }

    #[test]
    fn crops_are_those_of_the_edm_tool() {
        let same = edm_frame(ramp(8, 8), 8, 8, Framing::Scale).unwrap();
        assert_eq!(same, ramp(8, 8));
        let square = edm_frame(ramp(9, 4), 4, 4, Framing::CenterCrop).unwrap();
        assert_eq!(square, ramp(9, 4).crop(2, 0, 4, 4));
        let wide = edm_frame(ramp(300, 200), 128, 64, Framing::CenterCropWide).unwrap();
        assert_eq!((wide.width, wide.height, wide.channels), (128, 128, 3));
        assert!(wide.pixels[..32 * 128 * 3].iter().all(|v| *v == 0));
        assert!(edm_frame(ramp(100, 200), 128, 64, Framing::CenterCropWide).is_none());
    }
}
