//! Colour jitter on RGB pixels with values 0 to 1, as torchvision's `ColorJitter`.

use cedm_maths::draws::shuffle;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Largest change of brightness, contrast and saturation, as factors around 1.
const BRIGHTNESS: f32 = 0.4;
const CONTRAST: f32 = 0.4;
const SATURATION: f32 = 0.2;
/// Largest turn of the hue, as a share of the colour circle.
const HUE: f32 = 0.1;

/// Brightness of a pixel by the weights of ITU-R 601, as Pillow's mode `L`.
pub(super) fn luma(rgb: &[f32; 3]) -> f32 {
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

/// Changes brightness, contrast, saturation and hue by random amounts, in random order.
pub(super) fn jitter(pixels: &mut [[f32; 3]], rng: &mut ChaCha8Rng) {
    let around =
        |strength: f32, rng: &mut ChaCha8Rng| rng.random_range(1.0 - strength..=1.0 + strength);
    let (brightness, contrast, saturation) = (
        around(BRIGHTNESS, rng),
        around(CONTRAST, rng),
        around(SATURATION, rng),
    );
    // All four amounts are drawn before the order, and all are drawn even if they do nothing.
    let hue = rng.random_range(-HUE..=HUE);
    let mut order = [0, 1, 2, 3];
    shuffle(rng, &mut order);
    for change in order {
        match change {
            // Brightness blends with black, contrast with the mean grey, saturation with the
            // pixel's own grey.
            0 => blend(pixels, |_| 0.0, brightness),
            1 => {
                let mean = pixels.iter().map(luma).sum::<f32>() / pixels.len() as f32;
                blend(pixels, |_| mean, contrast);
            }
            2 => blend(pixels, luma, saturation),
            _ => pixels.iter_mut().for_each(|rgb| *rgb = turn_hue(rgb, hue)),
        }
    }
}

/// Moves every pixel away from `other` (`factor` > 1) or towards it, within 0 to 1.
fn blend(pixels: &mut [[f32; 3]], other: impl Fn(&[f32; 3]) -> f32, factor: f32) {
    for rgb in pixels {
        let other = other(rgb);
        *rgb = rgb.map(|v| (v * factor + other * (1.0 - factor)).clamp(0.0, 1.0));
    }
}

/// Turns the hue by a share of the circle, in HSV: brightest and darkest channel keep their values.
fn turn_hue(rgb: &[f32; 3], by: f32) -> [f32; 3] {
    let (max, min) = (
        rgb[0].max(rgb[1]).max(rgb[2]),
        rgb[0].min(rgb[1]).min(rgb[2]),
    );
    let range = max - min;
    // Grey has no hue.
    if range == 0.0 {
        return *rgb;
    }
    // Red, green and blue lie at 0, 2 and 4 sixths of the circle.
    let sixth = if max == rgb[0] {
        (rgb[1] - rgb[2]) / range
    } else if max == rgb[1] {
        2.0 + (rgb[2] - rgb[0]) / range
    } else {
        4.0 + (rgb[0] - rgb[1]) / range
    };
    let hue = (sixth / 6.0 + by).rem_euclid(1.0) * 6.0;
    // Distance on the circle from each primary decides its share.
    [0.0, 2.0, 4.0].map(|primary: f32| {
        let away = (hue - primary).abs().min(6.0 - (hue - primary).abs());
        min + range * (2.0 - away).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hue_turned_back_and_forth_is_the_same() {
        assert!(
            turn_hue(&[1.0, 0.0, 0.0], 1.0 / 3.0)
                .iter()
                .zip([0.0, 1.0, 0.0])
                .all(|(a, b)| (a - b).abs() < 1e-5),
            "red turned by a third is green"
        );
        let rgb = [0.2, 0.7, 0.4];
        let back = turn_hue(&turn_hue(&rgb, 0.1), -0.1);
        assert!(back.iter().zip(rgb).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
