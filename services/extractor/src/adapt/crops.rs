//! Random views of an image: crops, mirroring, colours, blur, solarisation, with the draws of DINO
//! (spec §12).

use cedm_contract::kinds::adapt::DinoParams;
use cedm_images::{
    Picture,
    pillow::{Filter, resize},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Largest change of brightness, contrast and saturation, as a factor; of hue, as a share of the
/// circle.
const JITTER: (f32, f32, f32, f32) = (0.4, 0.4, 0.2, 0.1);

/// Which view: it decides size and probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A large crop, always blurred.
    First,
    /// A large crop, seldom blurred, sometimes solarised.
    Second,
    /// A small crop.
    Local,
}

/// The stream of one image at one step: derived from both, never carried along.
pub fn stream(seed: u64, step: u64, index: u64, view: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, step, index, view]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// One view of an RGB image as planes of `side`², values 0 to 1.
pub fn view(
    image: &Picture,
    side: usize,
    view: View,
    params: &DinoParams,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let scale = if view == View::Local {
        params.local_scale
    } else {
        params.global_scale
    };
    let mut crop = resize(&random_crop(image, scale, rng), side, side, Filter::Bicubic);
    if params.flip && rng.random_bool(0.5) {
        for row in crop.pixels.chunks_exact_mut(side * 3) {
            let mirrored: Vec<u8> = row.chunks_exact(3).rev().flatten().copied().collect();
            row.copy_from_slice(&mirrored);
        }
    }
    let mut pixels: Vec<[f32; 3]> = crop
        .pixels
        .chunks_exact(3)
        .map(|rgb| [rgb[0], rgb[1], rgb[2]].map(|v| f32::from(v) / 255.0))
        .collect();
    if params.colour {
        if rng.random_bool(0.8) {
            jitter(&mut pixels, rng);
        }
        if rng.random_bool(0.2) {
            pixels.iter_mut().for_each(|rgb| *rgb = [luma(rgb); 3]);
        }
        let blurred = match view {
            View::First => 1.0,
            View::Second => 0.1,
            View::Local => 0.5,
        };
        if rng.random_bool(blurred) {
            // The radius is that of 224 pixels; smaller views are blurred in proportion.
            let sigma = rng.random_range(0.1f32..2.0) * side as f32 / 224.0;
            blur(&mut pixels, side, sigma);
        }
        if view == View::Second && rng.random_bool(0.2) {
            pixels
                .iter_mut()
                .flatten()
                .filter(|v| **v >= 0.5)
                .for_each(|v| *v = 1.0 - *v);
        }
    }
    (0..3)
        .flat_map(|channel| {
            pixels
                .iter()
                .map(move |rgb| rgb[channel])
                .collect::<Vec<f32>>()
        })
        .collect()
}

/// A part of random area and aspect (3/4 to 4/3); the whole image when ten draws do not fit.
fn random_crop(image: &Picture, scale: (f64, f64), rng: &mut ChaCha8Rng) -> Picture {
    let area = (image.width * image.height) as f64;
    for _ in 0..10 {
        let wanted = area * rng.random_range(scale.0..=scale.1);
        let aspect = rng
            .random_range((3f64 / 4.0).ln()..=(4f64 / 3.0).ln())
            .exp();
        let (width, height) = (
            (wanted * aspect).sqrt().round() as usize,
            (wanted / aspect).sqrt().round() as usize,
        );
        if (1..=image.width).contains(&width) && (1..=image.height).contains(&height) {
            let (left, top) = (
                rng.random_range(0..=image.width - width),
                rng.random_range(0..=image.height - height),
            );
            return image.crop(left, top, width, height);
        }
    }
    image.clone()
}

fn luma(rgb: &[f32; 3]) -> f32 {
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

/// Brightness, contrast, saturation and hue, in random order.
fn jitter(pixels: &mut [[f32; 3]], rng: &mut ChaCha8Rng) {
    let around =
        |strength: f32, rng: &mut ChaCha8Rng| rng.random_range(1.0 - strength..=1.0 + strength);
    let (brightness, contrast, saturation) = (
        around(JITTER.0, rng),
        around(JITTER.1, rng),
        around(JITTER.2, rng),
    );
    let hue = rng.random_range(-JITTER.3..=JITTER.3);
    let mut order = [0, 1, 2, 3];
    for at in (1..4).rev() {
        order.swap(at, rng.random_range(0..=at));
    }
    for step in order {
        match step {
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

fn blend(pixels: &mut [[f32; 3]], other: impl Fn(&[f32; 3]) -> f32, factor: f32) {
    for rgb in pixels {
        let other = other(rgb);
        *rgb = rgb.map(|v| (v * factor + other * (1.0 - factor)).clamp(0.0, 1.0));
    }
}

/// Turns the hue by a share of the circle, in HSV.
fn turn_hue(rgb: &[f32; 3], by: f32) -> [f32; 3] {
    let (max, min) = (
        rgb[0].max(rgb[1]).max(rgb[2]),
        rgb[0].min(rgb[1]).min(rgb[2]),
    );
    let range = max - min;
    if range == 0.0 {
        return *rgb;
    }
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

/// Gaussian blur over three standard deviations, edges repeated.
fn blur(pixels: &mut [[f32; 3]], side: usize, sigma: f32) {
    let radius = (3.0 * sigma).ceil() as i64;
    let weights: Vec<f32> = (-radius..=radius)
        .map(|at| (-(at * at) as f32 / (2.0 * sigma * sigma)).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    for (step, stride) in [(1, side), (side, 1)] {
        let source = pixels.to_vec();
        for line in 0..side {
            for at in 0..side {
                let mut total = [0f32; 3];
                for (offset, weight) in (-radius..=radius).zip(&weights) {
                    let from = (at as i64 + offset).clamp(0, side as i64 - 1) as usize;
                    total
                        .iter_mut()
                        .zip(source[line * stride + from * step])
                        .for_each(|(t, v)| *t += weight / sum * v);
                }
                pixels[line * stride + at * step] = total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Picture {
        Picture::new(
            12,
            12,
            3,
            (0..12 * 12 * 3).map(|v| (v * 7 % 256) as u8).collect(),
        )
        .unwrap()
    }

    #[test]
    fn the_same_stream_gives_the_same_view() {
        let params = DinoParams::default();
        for kind in [View::First, View::Second, View::Local] {
            let draw = |step| view(&image(), 8, kind, &params, &mut stream(1, step, 3, 0));
            assert_eq!(draw(5), draw(5));
            assert_ne!(draw(5), draw(6));
            assert!(draw(5).len() == 192 && draw(5).iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn without_colour_and_flip_a_whole_crop_is_the_image() {
        let params = DinoParams {
            colour: false,
            flip: false,
            ..DinoParams::default()
        };
        let grey = Picture::new(6, 6, 3, vec![51; 108]).unwrap();
        assert!(
            view(&grey, 4, View::First, &params, &mut stream(0, 0, 0, 0))
                .iter()
                .all(|v| (*v - 0.2).abs() < 1e-6)
        );
    }

    #[test]
    fn hues_turn_and_come_back() {
        assert!(
            turn_hue(&[1.0, 0.0, 0.0], 1.0 / 3.0)
                .iter()
                .zip([0.0, 1.0, 0.0])
                .all(|(a, b)| (a - b).abs() < 1e-5)
        );
        let rgb = [0.2, 0.7, 0.4];
        let back = turn_hue(&turn_hue(&rgb, 0.1), -0.1);
        assert!(back.iter().zip(rgb).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn a_blur_keeps_the_mean_of_a_flat_image() {
        let mut pixels = vec![[0.3, 0.5, 0.7]; 64];
        blur(&mut pixels, 8, 1.2);
        assert!(pixels.iter().all(|rgb| {
            rgb.iter()
                .zip([0.3, 0.5, 0.7])
                .all(|(a, b)| (a - b).abs() < 1e-5)
        }));
    }
}
