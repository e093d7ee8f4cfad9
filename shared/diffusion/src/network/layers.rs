//! The few layers that SongUNet is made of; each knows where its tensors lie and how to apply them.

pub use super::resample::Resample;

use super::resample::Resampler;
use crate::{
    architecture::group_count,
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use tch::Tensor;

/// Initial gain of ordinary layers.
pub const PLAIN: f64 = 1.0;
/// Initial gain of the layers that end a residual branch: near zero, not zero (spec §7.3).
pub const NEAR_ZERO: f64 = 1e-5;

/// Fully connected layer.
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
            Fill::XavierUniform { gain: PLAIN },
        );
        let bias = bias.then(|| layout.parameter(format!("{name}.bias"), &[cout], Fill::Zeros));
        Self { weight, bias }
    }
    /// \[n, cin\] → \[n, cout\] in the type of `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(
            &views.get(self.weight, kind),
            self.bias.map(|slot| views.get(slot, kind)),
        )
    }
}

/// Group norm with eps 1e-6 (torch's own default of 1e-5 is wrong here, spec §16.1).
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Slot,
    bias: Slot,
    groups: i64,
}

impl GroupNorm {
    /// Registers `name.weight` and `name.bias`.
    pub fn new(layout: &mut Layout, name: &str, channels: i64) -> Self {
        let weight = layout.parameter(format!("{name}.weight"), &[channels], Fill::Ones);
        let bias = layout.parameter(format!("{name}.bias"), &[channels], Fill::Zeros);
        Self {
            weight,
            bias,
            groups: group_count(channels),
        }
    }
    /// Same shape and type as `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.group_norm(
            self.groups,
            Some(views.get(self.weight, kind)),
            Some(views.get(self.bias, kind)),
            1e-6,
            true,
        )
    }
}

/// Convolution of odd kernel size with optional resampling of its input.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: Slot,
    bias: Slot,
    kernel: i64,
    resampler: Option<Resampler>,
    fused: bool,
}

/// What a convolution is, beside its name and widths.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape<'a> {
    /// Kernel size.
    pub kernel: i64,
    /// Initial gain.
    pub gain: f64,
    /// Resampling before it.
    pub resample: Resample,
    /// Taps of the resampling filter.
    pub filter: &'a [f64],
    /// The filter acts after the convolution instead of before (residual encoder).
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

    /// \[n, cin, h, w\] → \[n, cout, h', w'\].
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let (weight, bias) = (views.get(self.weight, kind), views.get(self.bias, kind));
        let padding = self.kernel / 2;
        let convolve = |x: &Tensor| x.conv2d(&weight, Some(&bias), 1, padding, 1, 1);
        match &self.resampler {
            None => convolve(x),
            Some(filter) if self.fused => {
                // Filter after the convolution, whose padding is widened by the filter's own (spec
                // §7.3, NCSN++).
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
            // A 1×1 kernel commutes with nearest neighbours: a quarter of the work at the lower
            // resolution.
            Some(filter) if self.kernel == 1 && filter.repeats() => {
                filter.forward(views, &convolve(x))
            }
            Some(filter) => convolve(&filter.forward(views, x)),
        }
    }
}
