//! The layers of SongUNet: each registers its tensors in the [`Layout`] and applies them.

pub use super::resample::Resample;

use super::resample::Resampler;
use crate::{
    architecture::group_count,
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use tch::Tensor;

/// Gain of the initial weights of ordinary layers.
pub const UNIT_GAIN: f64 = 1.0;
/// Gain of the initial weights of the layers that end a residual branch: near zero, not zero, as
/// upstream's `init_zero` (spec §16.4).
pub const NEAR_ZERO_GAIN: f64 = 1e-5;
/// Added to the variance in group norms. PyTorch's default is 1e-5, which gives other activations
/// (spec §16.1).
const GROUP_NORM_EPS: f64 = 1e-6;

/// Fully connected layer, with or without a bias.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Slot,
    bias: Option<Slot>,
}

impl Linear {
    /// Registers `name.weight` \[cout, cin\] and, if wanted, `name.bias`.
    pub fn new(layout: &mut Layout, name: &str, cin: i64, cout: i64, bias: bool) -> Self {
        let weight = layout.parameter(
            format!("{name}.weight"),
            &[cout, cin],
            Fill::XavierUniform { gain: UNIT_GAIN },
        );
        let bias = bias.then(|| layout.parameter(format!("{name}.bias"), &[cout], Fill::Zeros));
        Self { weight, bias }
    }
    /// x Wᵀ + b \[n, cout\] of `x` \[n, cin\]; weights are cast to the type of `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(
            &views.get(self.weight, kind),
            self.bias.map(|slot| views.get(slot, kind)),
        )
    }
}

/// Group normalisation with a learnt weight and bias per channel.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Slot,
    bias: Slot,
    groups: i64,
}

impl GroupNorm {
    /// Registers `name.weight` and `name.bias`, both \[channels\].
    pub fn new(layout: &mut Layout, name: &str, channels: i64) -> Self {
        let weight = layout.parameter(format!("{name}.weight"), &[channels], Fill::Ones);
        let bias = layout.parameter(format!("{name}.bias"), &[channels], Fill::Zeros);
        Self {
            weight,
            bias,
            groups: group_count(channels),
        }
    }
    /// `x` \[n, channels, h, w\] with every group of channels brought to mean 0 and variance 1, in
    /// the type of `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.group_norm(
            self.groups,
            Some(views.get(self.weight, kind)),
            Some(views.get(self.bias, kind)),
            GROUP_NORM_EPS,
            true,
        )
    }
}

/// Convolution with an odd kernel and "same" padding, with optional resampling of its input.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: Slot,
    bias: Slot,
    kernel: i64,
    resampler: Option<Resampler>,
    fused: bool,
}

/// The settings of a convolution beside its name and channels.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape<'a> {
    /// Height and width of the kernel, an odd number.
    pub kernel: i64,
    /// Gain of the initial weights.
    pub gain: f64,
    /// Resampling of the input.
    pub resample: Resample,
    /// Taps of the resampling filter, not normalised.
    pub filter: &'a [f64],
    /// Whether the filter is applied after the convolution instead of before it (residual
    /// encoder).
    pub fused: bool,
}

impl Conv {
    /// Registers `name.weight` \[cout, cin, k, k\], `name.bias` and, where it resamples,
    /// `name.resample_filter`.
    pub fn new(layout: &mut Layout, name: &str, cin: i64, cout: i64, shape: ConvShape<'_>) -> Self {
        let ConvShape {
            kernel,
            gain,
            resample,
            filter,
            fused,
        } = shape;
        let weight = layout.parameter(
            format!("{name}.weight"),
            &[cout, cin, kernel, kernel],
            Fill::XavierUniform { gain },
        );
        let bias = layout.parameter(format!("{name}.bias"), &[cout], Fill::Zeros);
        let resampler =
            (resample != Resample::Keep).then(|| Resampler::new(layout, name, filter, resample));
        Self {
            weight,
            bias,
            kernel,
            resampler,
            fused,
        }
    }

    /// The convolution \[n, cout, h', w'\] of `x` \[n, cin, h, w\], with h' and w' halved or
    /// doubled where it resamples; weights are cast to the type of `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let (weight, bias) = (views.get(self.weight, kind), views.get(self.bias, kind));
        let padding = self.kernel / 2;
        let convolve = |x: &Tensor| x.conv2d(&weight, Some(&bias), 1, padding, 1, 1);
        match &self.resampler {
            None => convolve(x),
            Some(filter) if self.fused => {
                // The filter after the convolution, whose padding is widened by the filter's own
                // so that border pixels are filtered over real values (spec §7.3, NCSN++).
                let wide = x.conv2d(
                    &weight,
                    None::<&Tensor>,
                    1,
                    padding + filter.padding(),
                    1,
                    1,
                );
                filter.down(views, &wide, 0) + bias.view([1, -1, 1, 1])
            }
            // A 1×1 kernel commutes with repeating pixels: convolving first is the same result for
            // a quarter of the work.
            Some(filter) if self.kernel == 1 && filter.repeats() => {
                filter.forward(views, &convolve(x))
            }
            Some(filter) => convolve(&filter.forward(views, x)),
        }
    }
}
