//! Random views of an image, with the probabilities of DINO's own recipe (spec §12): crop, mirror,
//! colours, blur, solarisation.

mod blur;
mod colour;

use blur::blur;
use cedm_contract::kinds::adapt::DinoParams;
use cedm_images::{
    Picture,
    pillow::{Filter, resize},
};
use colour::{jitter, luma};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Share of the views whose colours are jittered.
const JITTERED: f64 = 0.8;
/// Share of the views that become grey.
const GREY: f64 = 0.2;
/// Share of the second large views that are solarised.
const SOLARISED: f64 = 0.2;
/// Image side that upstream's blur radii are meant for.
const BLUR_REFERENCE_SIDE: f32 = 224.0;

/// One of the views that are drawn from an image; it decides size and probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A large crop, always blurred.
    First,
    /// A large crop, seldom blurred, sometimes solarised.
    Second,
    /// A small crop, blurred half of the time.
    Local,
}

impl View {
    /// Share of these views that are blurred: upstream's 1.0, 0.1 and 0.5.
    fn blurred(self) -> f64 {
        match self {
            View::First => 1.0,
            View::Second => 0.1,
            View::Local => 0.5,
        }
    }
}

/// One view of an RGB image as planes \[3 · `side` · `side`\], values 0 to 1.
///
/// The order of the draws is part of the result: a stream of the same seed must give the same view
/// in every version.
pub(crate) fn augmented(
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
    // Pillow's resize and not libtorch's: torchvision works on Pillow images here.
    let mut crop = resize(&random_crop(image, scale, rng), side, side, Filter::Bicubic);
    if params.flip && rng.random_bool(0.5) {
        mirror(&mut crop);
    }
    let mut pixels: Vec<[f32; 3]> = crop
        .pixels
        .chunks_exact(3)
        .map(|rgb| [rgb[0], rgb[1], rgb[2]].map(|v| f32::from(v) / 255.0))
        .collect();
    if params.colour {
        change_colours(&mut pixels, side, view, rng);
    }
    // From interleaved pixels to planes.
    (0..3)
        .flat_map(|channel| pixels.iter().map(move |rgb| rgb[channel]))
        .collect()
}

/// Mirrors left and right in place.
fn mirror(image: &mut Picture) {
    for row in image.pixels.chunks_exact_mut(image.width * 3) {
        let mirrored: Vec<u8> = row.chunks_exact(3).rev().flatten().copied().collect();
        row.copy_from_slice(&mirrored);
    }
}

/// Jitter, grey, blur and solarisation in upstream's order, each with its probability.
fn change_colours(pixels: &mut [[f32; 3]], side: usize, view: View, rng: &mut ChaCha8Rng) {
    if rng.random_bool(JITTERED) {
        jitter(pixels, rng);
    }
    if rng.random_bool(GREY) {
        pixels.iter_mut().for_each(|rgb| *rgb = [luma(rgb); 3]);
    }
    if rng.random_bool(view.blurred()) {
        // Upstream draws 0.1 to 2 pixels at its large crops' side, 224. Smaller views are blurred
        // in proportion: 2 pixels would leave nothing of a CIFAR image.
        let sigma = rng.random_range(0.1f32..2.0) * side as f32 / BLUR_REFERENCE_SIDE;
        blur(pixels, side, sigma);
    }
    if view == View::Second && rng.random_bool(SOLARISED) {
        // Values from 128 of 255 on are inverted, as Pillow's `solarize` does.
        pixels
            .iter_mut()
            .flatten()
            .filter(|v| **v >= 0.5)
            .for_each(|v| *v = 1.0 - *v);
    }
}

/// A part of random area and aspect ratio (3/4 to 4/3, uniform in its logarithm), as torchvision's
/// `RandomResizedCrop` draws them; the whole image when ten draws do not fit.
fn random_crop(image: &Picture, scale: (f64, f64), rng: &mut ChaCha8Rng) -> Picture {
    let area = (image.width * image.height) as f64;
    for _ in 0..10 {
        let wanted = area * rng.random_range(scale.0..=scale.1);
        let aspect = rng
            .random_range((3f64 / 4.0).ln()..=(4f64 / 3.0).ln())
            .exp();
        // width · height is the wanted area, width / height the aspect.
        let (width, height) = (
            (wanted * aspect).sqrt().round() as usize,
            (wanted / aspect).sqrt().round() as usize,
        );
        // A flat image cannot hold every crop; what does not fit is drawn again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::view_stream;

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
        for view in [View::First, View::Second, View::Local] {
            let draw =
                |step| augmented(&image(), 8, view, &params, &mut view_stream(1, step, 3, 0));
            assert_eq!(draw(5), draw(5));
            assert_ne!(draw(5), draw(6));
            assert!(draw(5).len() == 192 && draw(5).iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn without_colour_and_flip_a_view_of_a_flat_image_is_flat() {
        let params = DinoParams {
            colour: false,
            flip: false,
            ..DinoParams::default()
        };
        let grey = Picture::new(6, 6, 3, vec![51; 108]).unwrap();
        let stream = &mut view_stream(0, 0, 0, 0);
        let view = augmented(&grey, 4, View::First, &params, stream);
        assert!(view.iter().all(|v| (*v - 0.2).abs() < 1e-6));
    }
}
