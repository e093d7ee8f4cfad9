//! Doubling and halving the resolution by a fixed filter, channel by channel (spec §7.3).

use crate::{
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use tch::{Kind, Tensor};

/// How a layer changes the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Keeps height and width.
    Keep,
    /// Doubles height and width.
    Up,
    /// Halves height and width.
    Down,
}

/// A depthwise filter that doubles or halves the resolution.
#[derive(Clone, Debug)]
pub struct Resampler {
    filter: Slot,
    taps: i64,
    up: bool,
    /// Whether the filter is \[1, 1\]: a 2×2 mean going down and repeated pixels going up, both
    /// exact and cheaper than a convolution (spec §16.8).
    is_box: bool,
}

impl Resampler {
    /// Registers `name.resample_filter` \[1, 1, k, k\]. `resample` must be up or down.
    pub fn new(layout: &mut Layout, name: &str, filter: &[f64], resample: Resample) -> Self {
        let taps = filter.len() as i64;
        Self {
            filter: layout.buffer(
                format!("{name}.resample_filter"),
                &[1, 1, taps, taps],
                Fill::ResampleFilter,
            ),
            taps,
            up: resample == Resample::Up,
            is_box: taps == 2 && filter[0] == filter[1],
        }
    }

    /// Zero padding on each side that keeps the filter centred, upstream's `f_pad`.
    pub fn padding(&self) -> i64 {
        (self.taps - 1) / 2
    }

    /// Whether it doubles the resolution by repeating pixels.
    pub fn repeats(&self) -> bool {
        self.up && self.is_box
    }

    /// `x` \[n, c, h, w\] at double or half the resolution.
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let size = x.size();
        match (self.up, self.is_box) {
            (true, true) => x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None),
            (false, true) => x.avg_pool2d(2, 2, 0, false, true, None::<i64>),
            (true, false) => {
                // Times 4: three of four pixels that the transposed convolution reads are zeros.
                let filter = self.depthwise(views, x.kind(), size[1]) * 4.0;
                x.conv_transpose2d(&filter, None::<&Tensor>, 2, self.padding(), 0, size[1], 1)
            }
            (false, false) => self.down(views, x, self.padding()),
        }
    }

    /// Filters `x` \[n, c, h, w\] with this zero padding and keeps every other row and column.
    pub fn down(&self, views: &Views, x: &Tensor, padding: i64) -> Tensor {
        let channels = x.size()[1];
        x.conv2d(
            &self.depthwise(views, x.kind(), channels),
            None::<&Tensor>,
            2,
            padding,
            1,
            channels,
        )
    }

    fn depthwise(&self, views: &Views, kind: Kind, channels: i64) -> Tensor {
        views
            .get(self.filter, kind)
            .expand([channels, 1, self.taps, self.taps], false)
    }
}
