//! The few layers that SongUNet is made of; each knows where its tensors lie and how to apply them.

use crate::{
    architecture::group_count,
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use tch::{Kind, Tensor};

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
        let weight = layout.parameter(format!("{name}.weight"), &[cout, cin], Fill::XavierUniform { gain: PLAIN });
        let bias = bias.then(|| layout.parameter(format!("{name}.bias"), &[cout], Fill::Zeros));
        Self { weight, bias }
    }
    /// \[n, cin\] → \[n, cout\] in the type of `x`.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&views.get(self.weight, kind), self.bias.map(|slot| views.get(slot, kind)))
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

/// What a convolution does to the resolution of its input first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    Keep,
    /// Doubles it.
    Up,
    /// Halves it.
    Down,
}

/// Convolution of odd kernel size with optional resampling of its input.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: Slot,
    bias: Slot,
    filter: Option<Slot>,
    kernel: i64,
    taps: i64,
    resample: Resample,
    box_filter: bool,
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
    /// Registers `name.weight` \[cout, cin, k, k\], `name.bias` and, where it resamples, `name.resample_filter`.
    pub fn new(layout: &mut Layout, name: &str, cin: i64, cout: i64, shape: ConvShape<'_>) -> Self {
        let ConvShape {
            kernel,
            gain,
            resample,
            filter,
            fused,
        } = shape;
        let weight = layout.parameter(format!("{name}.weight"), &[cout, cin, kernel, kernel], Fill::XavierUniform { gain });
        let bias = layout.parameter(format!("{name}.bias"), &[cout], Fill::Zeros);
        let taps = filter.len() as i64;
        let slot = (resample != Resample::Keep)
            .then(|| layout.buffer(format!("{name}.resample_filter"), &[1, 1, taps, taps], Fill::ResampleFilter));
        // [1, 1] is a 2×2 mean going down and nearest neighbours going up: both are exact and cheaper than a convolution.
        let box_filter = filter.len() == 2 && filter[0] == filter[1];
        Self {
            weight,
            bias,
            filter: slot,
            kernel,
            taps,
            resample,
            box_filter,
            fused,
        }
    }

    /// \[n, cin, h, w\] → \[n, cout, h', w'\].
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let (weight, bias) = (views.get(self.weight, kind), views.get(self.bias, kind));
        let padding = self.kernel / 2;
        let convolve = |x: &Tensor| x.conv2d(&weight, Some(&bias), 1, padding, 1, 1);
        match self.resample {
            Resample::Keep => convolve(x),
            Resample::Down if self.fused => {
                // Filter after the convolution, whose padding is widened by the filter's own (spec §7.3, NCSN++).
                let wide = x.conv2d(&weight, None::<&Tensor>, 1, padding + (self.taps - 1) / 2, 1, 1);
                let channels = wide.size()[1];
                wide.conv2d(&self.depthwise(views, kind, channels), None::<&Tensor>, 2, 0, 1, channels) + bias.view([1, -1, 1, 1])
            }
            Resample::Down => convolve(&self.halve(views, x)),
            // A 1×1 kernel commutes with nearest neighbours: a quarter of the work at the lower resolution.
            Resample::Up if self.kernel == 1 && self.box_filter => self.double(views, &convolve(x)),
            Resample::Up => convolve(&self.double(views, x)),
        }
    }

    fn depthwise(&self, views: &Views, kind: Kind, channels: i64) -> Tensor {
        let slot = self.filter.expect("invariant: resampling convolutions have a filter");
        views.get(slot, kind).expand([channels, 1, self.taps, self.taps], false)
    }

    fn halve(&self, views: &Views, x: &Tensor) -> Tensor {
        if self.box_filter {
            return x.avg_pool2d(2, 2, 0, false, true, None::<i64>);
        }
        let channels = x.size()[1];
        x.conv2d(
            &self.depthwise(views, x.kind(), channels),
            None::<&Tensor>,
            2,
            (self.taps - 1) / 2,
            1,
            channels,
        )
    }

    fn double(&self, views: &Views, x: &Tensor) -> Tensor {
        let size = x.size();
        if self.box_filter {
            return x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None);
        }
        let filter = self.depthwise(views, x.kind(), size[1]) * 4.0;
        x.conv_transpose2d(&filter, None::<&Tensor>, 2, (self.taps - 1) / 2, 0, size[1], 1)
    }
}
