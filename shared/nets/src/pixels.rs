//! Extractors without a network: the pixels themselves, and their principal components.

use crate::{
    NetError, Weights,
    layers::to_host,
    preprocess::{checked_shape, pictures_of},
};
use cedm_images::pillow::{Filter, resize};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Images with a longer side are shrunk to this one first: the covariance has (channels · side²)²
/// elements, 75 MB in float64 for 32 pixels in RGB, and its decomposition takes the cube.
const MAX_SIDE: usize = 32;
/// Number of components when a job does not give one.
const DEFAULT_DIM: i64 = 32;

/// Pixels \[n, channels · h · w\] as float32 between −1 and 1 (`x / 127.5 − 1`, the scale on which
/// diffusion works).
pub(crate) fn pixels(images: &Tensor) -> Result<Tensor, NetError> {
    checked_shape(images)?;
    Ok(to_host(
        &(images.to_kind(Kind::Float) / 127.5 - 1.0).flatten(1, -1),
    ))
}

/// Flat float64 bytes of images, shrunk to at most [`MAX_SIDE`].
fn flat_bytes(images: &Tensor) -> Result<Tensor, NetError> {
    let [n, _, height, width] = checked_shape(images)?;
    if height.max(width) <= MAX_SIDE || n == 0 {
        return Ok(images
            .to_device(Device::Cpu)
            .flatten(1, -1)
            .to_kind(Kind::Double));
    }
    let shrunk: Vec<u8> = pictures_of(images)?
        .iter()
        // Bilinear: with antialias, and unlike bicubic it stays within the range of the pixels.
        .flat_map(|picture| resize(picture, MAX_SIDE, MAX_SIDE, Filter::Bilinear).to_planes())
        .collect();
    Ok(Tensor::f_from_slice(&shrunk)?
        .reshape([n as i64, -1])
        .to_kind(Kind::Double))
}

/// Accumulates mean and covariance of the pixels for [`PcaFit::finish`].
///
/// Sums of bytes and of their products are whole numbers below 2^53 and so exact in float64: the
/// result does not depend on how the images are cut into shards.
#[derive(Debug, Default)]
pub struct PcaFit {
    sums: Option<(Tensor, Tensor)>,
    count: i64,
}

impl PcaFit {
    /// Adds uint8 images \[n, 1 or 3, h, w\].
    ///
    /// # Errors
    /// When the tensor is of another type or shape, or its images are of another size than those
    /// before.
    pub fn add(&mut self, images: &Tensor) -> Result<(), NetError> {
        let _guard = tch::no_grad_guard();
        let rows = flat_bytes(images)?;
        let (sum, outer) = (
            rows.sum_dim_intlist([0i64].as_slice(), false, None),
            rows.tr().matmul(&rows),
        );
        self.sums = Some(match self.sums.take() {
            None => (sum, outer),
            Some((total, _)) if total.size() != sum.size() => {
                let reason = format!(
                    "images of {:?} values after images of {:?}",
                    sum.size(),
                    total.size()
                );
                return Err(NetError::extractor("pca", reason));
            }
            Some((total, products)) => (total + sum, products + outer),
        });
        self.count += rows.size()[0];
        Ok(())
    }

    /// The components: at most `dim`, largest variance first. An eigenvector's sign is arbitrary;
    /// each is turned so that its largest element is positive.
    ///
    /// # Errors
    /// With fewer than two images.
    pub fn finish(self, dim: Option<u32>) -> Result<Pca, NetError> {
        let _guard = tch::no_grad_guard();
        let Some((sum, outer)) = self.sums.filter(|_| self.count > 1) else {
            return Err(NetError::extractor(
                "pca",
                format!("{} images, expected at least 2", self.count),
            ));
        };
        let count = self.count as f64;
        let mean = sum / count;
        // E[x xᵀ] − μ μᵀ, then n / (n − 1) to make it unbiased. The sums are exact, so nothing is
        // lost by subtracting late.
        let covariance = (outer / count - mean.outer(&mean)) * (count / (count - 1.0));
        // Eigenvalues come in ascending order.
        let (variance, vectors) = covariance.linalg_eigh("L");
        let dim = dim.map_or(DEFAULT_DIM, i64::from).clamp(1, mean.size()[0]);
        let basis = vectors.flip([1i64]).narrow(1, 0, dim);
        // The element of largest magnitude of each column, with its sign.
        let largest = basis.gather(0, &basis.abs().argmax(0, true), false);
        // Moments were summed over bytes; x / 127.5 − 1 brings them to the scale of the pixels.
        let scale = 1.0 / 127.5;
        Ok(Pca {
            mean: mean * scale - 1.0,
            basis: (basis * largest.sign()).contiguous(),
            // Constant pixels have variance 0, which the decomposition may return slightly below.
            variance: variance.flip([0i64]).narrow(0, 0, dim).clamp_min(0.0) * (scale * scale),
        })
    }
}

/// Principal components of pixels on the scale −1 to 1.
#[derive(Debug)]
pub struct Pca {
    /// Mean of each pixel, float64 \[pixels\].
    mean: Tensor,
    /// Orthonormal columns, float64 \[pixels, dim\].
    basis: Tensor,
    /// Variance of each component, float64 \[dim\], descending.
    variance: Tensor,
}

impl Pca {
    /// Reads the file that [`Pca::write`] wrote.
    ///
    /// # Errors
    /// When it cannot be read or holds other tensors.
    pub fn read(path: &Path) -> Result<Self, NetError> {
        let weights = Weights::read(path)?;
        let Some([pixels, dim]) = weights
            .get("basis")
            .map(Tensor::size)
            .and_then(|size| <[i64; 2]>::try_from(size).ok())
        else {
            return Err(NetError::format(
                path,
                "not a file of principal components: expected a matrix `basis`",
            ));
        };
        let from = weights.load(Kind::Double, Device::Cpu);
        let pca = Self {
            mean: from.take("mean", &[pixels]),
            basis: from.take("basis", &[pixels, dim]),
            variance: from.take("variance", &[dim]),
        };
        from.finish("pca")?;
        for (name, tensor) in [("mean", &pca.mean), ("basis", &pca.basis)] {
            let finite = tensor.isfinite().all();
            if finite.int64_value(&[]) == 0 {
                let reason = format!("`{name}` holds values that are NaN or infinite");
                return Err(NetError::format(path, reason));
            }
        }
        Ok(pca)
    }

    /// Writes `mean`, `basis` and `variance` as float64 safetensors.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), NetError> {
        let tensors = [
            ("mean", &self.mean),
            ("basis", &self.basis),
            ("variance", &self.variance),
        ];
        Ok(cedm_torch::tensor_files::write(path, &tensors, &[])?)
    }

    /// Number of components, the width of the features.
    pub fn dim(&self) -> i64 {
        self.basis.size()[1]
    }

    /// Variance of each component, float64 \[dim\], largest first.
    pub fn variance(&self) -> &Tensor {
        &self.variance
    }

    /// Components, float32 \[n, dim\] on the CPU, of uint8 images \[n, 1 or 3, h, w\].
    ///
    /// # Errors
    /// When the images are of another size than those that it was fitted to.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, NetError> {
        let rows = flat_bytes(images)?;
        if rows.size()[1] != self.mean.size()[0] {
            let reason = format!(
                "images of {} values, it was fitted to images of {}",
                rows.size()[1],
                self.mean.size()[0]
            );
            return Err(NetError::extractor("pca", reason));
        }
        Ok(to_host(
            &(rows / 127.5 - 1.0 - &self.mean).matmul(&self.basis),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(n: i64) -> Tensor {
        let ramp = Tensor::arange(n * 48, (Kind::Int64, Device::Cpu));
        ((&ramp * &ramp * 7 + &ramp * 13).remainder(251))
            .to_kind(Kind::Uint8)
            .reshape([n, 3, 4, 4])
    }

    #[test]
    fn shards_do_not_matter_and_components_are_orthonormal() {
        let all = images(40);
        let fit = |cuts: &[i64]| {
            let mut fit = PcaFit::default();
            let mut at = 0;
            for cut in cuts {
                fit.add(&all.narrow(0, at, *cut)).unwrap();
                at += cut;
            }
            fit.finish(Some(6)).unwrap()
        };
        let (whole, parts) = (fit(&[40]), fit(&[1, 22, 17]));
        assert!(whole.basis.equal(&parts.basis) && whole.mean.equal(&parts.mean));
        let gram = whole.basis.tr().matmul(&whole.basis);
        assert!(
            (gram - Tensor::eye(6, (Kind::Double, Device::Cpu)))
                .abs()
                .max()
                .double_value(&[])
                < 1e-12
        );
        let features = whole.forward(&all).unwrap().to_kind(Kind::Double);
        let variance = features.var_dim([0i64].as_slice(), true, false);
        assert!(
            ((variance - whole.variance()) / whole.variance())
                .abs()
                .max()
                .double_value(&[])
                < 1e-5
        );
        assert!(features.mean(None).double_value(&[]).abs() < 1e-6);
    }

    #[test]
    fn components_written_and_read_give_the_same_features() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("extractor.safetensors");
        let mut fit = PcaFit::default();
        fit.add(&images(9)).unwrap();
        let pca = fit.finish(None).unwrap();
        pca.write(&path).unwrap();
        let again = Pca::read(&path).unwrap();
        assert!(
            pca.forward(&images(3))
                .unwrap()
                .equal(&again.forward(&images(3)).unwrap())
        );
        assert!(
            again
                .forward(&images(3).narrow(2, 0, 2))
                .unwrap_err()
                .to_string()
                .contains("fitted to images of 48")
        );
    }

    #[test]
    fn one_image_has_no_components() {
        let mut fit = PcaFit::default();
        fit.add(&images(1)).unwrap();
        assert!(
            fit.finish(None)
                .unwrap_err()
                .to_string()
                .contains("expected at least 2")
        );
    }
}
