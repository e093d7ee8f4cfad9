//! Doubling and halving the resolution with the network's filter (spec §7.3).

use crate::{
    layout::{Fill, Layout, Slot},
    parameters::Views,
};
use tch::{Kind, Tensor};

/// What happens to the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    Keep,
    /// Doubles it.
    Up,
    /// Halves it.
    Down,
}

/// A filter that doubles or halves, channel by channel.
#[derive(Clone, Debug)]
pub struct Resampler {
    filter: Slot,
    taps: i64,
    up: bool,
    /// \[1, 1\] is a 2×2 mean going down and nearest neighbours going up: both are exact and
    /// cheaper than a convolution.
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

    /// What the filter reaches beyond a pixel.
    pub fn padding(&self) -> i64 {
        (self.taps - 1) / 2
    }

    /// Whether going up repeats pixels.
    pub fn repeats(&self) -> bool {
        self.up && self.is_box
    }

    /// \[n, c, h, w\] → \[n, c, 2h, 2w\] or \[n, c, h/2, w/2\].
    pub fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let size = x.size();
        match (self.up, self.is_box) {
            (true, true) => x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None),
            (false, true) => x.avg_pool2d(2, 2, 0, false, true, None::<i64>),
            (true, false) => {
                let filter = self.depthwise(views, x.kind(), size[1]) * 4.0;
                x.conv_transpose2d(&filter, None::<&Tensor>, 2, self.padding(), 0, size[1], 1)
            }
            (false, false) => self.down(views, x, self.padding()),
        }
    }

    /// The filter and every other pixel, after zero padding.
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
