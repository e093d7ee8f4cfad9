//! Resizing and normalisation of uint8 images before a network (spec §2.1).
//!
//! Pillow's resize and not libtorch's: its bicubic kernel (a = −0.5, antialias, uint8 between the
//! passes) is what the published features were made with. libtorch's differs by 4 of 255 on average
//! from 32 to 224 pixels (spec §1.4).

use crate::NetError;
use cedm_images::{
    Picture,
    framing::{center_crop, resize_short_side},
    pillow::{Filter, resize},
};
use std::thread;
use tch::{Kind, Tensor};

/// Statistics of ImageNet's pixels, for everything but CLIP.
pub const IMAGENET: Statistics = Statistics {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};
/// Statistics of the pixels that CLIP was trained on.
pub const CLIP: Statistics = Statistics {
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
};

/// Mean and standard deviation of each channel, on the scale 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Means of R, G, B.
    pub mean: [f32; 3],
    /// Standard deviations of R, G, B.
    pub std: [f32; 3],
}

/// How images are resized to the side that a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// Left as they are.
    Keep,
    /// Pillow bicubic, both sides to this length.
    Square(usize),
    /// Pillow bicubic, the short side to `short`; then the central square of `crop`.
    ShortThenCrop {
        /// Short side after resizing.
        short: usize,
        /// Side of the crop.
        crop: usize,
    },
}

/// The preprocessing of one network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// How images are resized.
    pub sizing: Sizing,
    /// Mean and deviation by which values are normalised after division by 255.
    pub statistics: Statistics,
}

impl Preprocessing {
    /// Normalised float32 images \[n, 3, h, w\] of uint8 images \[n, 1 or 3, h, w\]; grey is
    /// repeated.
    ///
    /// # Errors
    /// When the tensor is of another type or shape, or a crop is larger than the resized image.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor, NetError> {
        let pictures = self.size(pictures_of(images)?)?;
        let (height, width) = pictures
            .first()
            .map_or((0, 0), |picture| (picture.height, picture.width));
        // A byte has 256 values: looked up, not computed for every pixel.
        let tables = self.tables();
        let mut values = Vec::with_capacity(pictures.len() * 3 * height * width);
        for picture in &pictures {
            for (channel, table) in tables.iter().enumerate() {
                values.extend(
                    picture
                        .pixels
                        .iter()
                        // From interleaved pixels to planes.
                        .skip(channel)
                        .step_by(3)
                        .map(|value| table[usize::from(*value)]),
                );
            }
        }
        Ok(Tensor::f_from_slice(&values)?.f_reshape([
            pictures.len() as i64,
            3,
            height as i64,
            width as i64,
        ])?)
    }

    /// `(v / 255 − mean) / std` of every byte and channel: in float32 and in this order, as
    /// torchvision computes it, so that features agree to the last bit.
    fn tables(&self) -> [[f32; 256]; 3] {
        let Statistics { mean, std } = self.statistics;
        std::array::from_fn(|channel| {
            std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / std[channel])
        })
    }

    fn size(&self, pictures: Vec<Picture>) -> Result<Vec<Picture>, NetError> {
        let one = |picture: Picture| {
            // Before resizing: upstream converts a file to RGB when it is read.
            let picture = picture.into_rgb();
            match self.sizing {
                Sizing::Keep => Some(picture),
                Sizing::Square(side) => Some(resize(&picture, side, side, Filter::Bicubic)),
                Sizing::ShortThenCrop { short, crop } => {
                    center_crop(&resize_short_side(&picture, short, Filter::Bicubic), crop)
                }
            }
        };
        let sized = in_parallel(pictures, one);
        sized.into_iter().collect::<Option<_>>().ok_or_else(|| {
            NetError::extractor("preprocessing", "the crop is larger than the image")
        })
    }
}

/// Maps on all cores, each with a consecutive part; results keep the order of the input.
///
/// # Panics
/// When `map` panics.
pub fn in_parallel<T: Send, U: Send>(all: Vec<T>, map: impl Fn(T) -> U + Sync) -> Vec<U> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        // No more threads than images.
        .min(all.len().max(1));
    let share = all.len().div_ceil(threads).max(1);
    let mut rest = all.into_iter();
    let parts: Vec<Vec<T>> = (0..threads)
        .map(|_| rest.by_ref().take(share).collect())
        .collect();
    thread::scope(|scope| {
        let map = &map;
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(map).collect::<Vec<U>>()))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .expect("invariant: what is mapped does not panic")
            })
            .collect()
    })
}

/// The images of a uint8 tensor \[n, 1 or 3, h, w\].
pub(crate) fn pictures_of(images: &Tensor) -> Result<Vec<Picture>, NetError> {
    let [n, channels, height, width] = checked_shape(images)?;
    let bytes = bytes_of(images)?;
    let area = channels * height * width;
    let picture = |planes: &[u8]| {
        Picture::from_planes(width, height, channels, planes)
            .expect("invariant: the shape was checked")
    };
    Ok(if n == 0 {
        Vec::new()
    } else {
        bytes.chunks_exact(area).map(picture).collect()
    })
}

/// The shape of a uint8 tensor \[n, 1 or 3, h, w\]; an error for any other tensor.
pub(crate) fn checked_shape(images: &Tensor) -> Result<[usize; 4], NetError> {
    let size = images.size();
    match size[..] {
        [n, c @ (1 | 3), h, w] if images.kind() == Kind::Uint8 && h > 0 && w > 0 => {
            Ok([n as usize, c as usize, h as usize, w as usize])
        }
        _ => {
            let reason = format!(
                "got images {:?} {size:?}, expected uint8 [n, 1 or 3, h, w]",
                images.kind()
            );
            Err(NetError::extractor("preprocessing", reason))
        }
    }
}

fn bytes_of(images: &Tensor) -> Result<Vec<u8>, NetError> {
    let flat = images.to_device(tch::Device::Cpu).contiguous().view([-1]);
    Ok(Vec::<u8>::try_from(&flat)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_is_repeated_and_normalised() {
        let images = Tensor::from_slice(&[0u8, 255, 51, 102]).reshape([1, 1, 2, 2]);
        let out = Preprocessing {
            sizing: Sizing::Keep,
            statistics: IMAGENET,
        }
        .apply(&images)
        .unwrap();
        assert_eq!(out.size(), [1, 3, 2, 2]);
        for channel in 0..3 {
            let (mean, std) = (
                IMAGENET.mean[channel as usize],
                IMAGENET.std[channel as usize],
            );
            let expect = [0.0f32, 1.0, 51.0 / 255.0, 102.0 / 255.0].map(|v| (v - mean) / std);
            assert_eq!(
                Vec::<f32>::try_from(out.get(0).get(channel).reshape([4])).unwrap(),
                expect
            );
        }
    }

    #[test]
    fn threads_keep_the_order_of_the_images() {
        let images = Tensor::arange(37, (Kind::Uint8, tch::Device::Cpu))
            .reshape([37, 1, 1, 1])
            .expand([37, 3, 4, 4], false)
            .contiguous();
        let out = Preprocessing {
            sizing: Sizing::Square(7),
            statistics: CLIP,
        }
        .apply(&images)
        .unwrap();
        assert_eq!(out.size(), [37, 3, 7, 7]);
        let reds = Vec::<f32>::try_from(out.select(1, 0).select(1, 3).select(1, 3)).unwrap();
        assert!(reds.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn tensors_of_another_type_or_shape_are_refused() {
        for (shape, kind) in [
            (vec![2, 3, 4], Kind::Uint8),
            (vec![1, 2, 4, 4], Kind::Uint8),
            (vec![1, 3, 4, 4], Kind::Float),
        ] {
            let error = pictures_of(&Tensor::zeros(shape, (kind, tch::Device::Cpu))).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("expected uint8 [n, 1 or 3, h, w]"),
                "{error}"
            );
        }
    }
}
