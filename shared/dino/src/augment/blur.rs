//! Gaussian blur of a batch, one of DINO's augmentations (spec §12).

/// Blurs a square image of side `side` in place, with a standard deviation of `sigma` pixels.
///
/// Rows, then columns: the kernel is a product. It is cut at three deviations, beyond which 0.3 %
/// of its mass lies; pixels beyond the edges repeat those at the edges.
pub(super) fn blur(pixels: &mut [[f32; 3]], side: usize, sigma: f32) {
    let radius = (3.0 * sigma).ceil() as i64;
    let weights: Vec<f32> = (-radius..=radius)
        .map(|at| (-(at * at) as f32 / (2.0 * sigma * sigma)).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    for (step, stride) in [(1, side), (side, 1)] {
        // A pass reads the whole image of the pass before.
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

    #[test]
    fn a_flat_image_stays_as_it_is() {
        let mut pixels = vec![[0.3, 0.5, 0.7]; 64];
        blur(&mut pixels, 8, 1.2);
        assert!(pixels.iter().all(|rgb| {
            rgb.iter()
                .zip([0.3, 0.5, 0.7])
                .all(|(a, b)| (a - b).abs() < 1e-5)
        }));
    }
}
