//! Tiles of the similarity matrix, one at a time.

use tch::{Device, Tensor, kind::Element};

/// Buffers for one tile on the features' device and its copy on the host.
pub(super) struct Tiles<T> {
    side: usize,
    tile: Tensor,
    host: Vec<T>,
}

impl<T: Element + Copy + Default> Tiles<T> {
    /// Square tiles as large as `bytes` allow for both copies together, but at least 64 rows high,
    /// below which the matrix product is not worth its call, and at most 16,384.
    pub(super) fn new(bytes: u64, rows: usize, device: Device) -> Self {
        let side = ((bytes / (2 * size_of::<T>() as u64)) as f64).sqrt() as usize;
        let side = side.clamp(64, 16_384).min(rows);
        Self {
            side,
            tile: Tensor::zeros([0], (T::KIND, device)),
            host: vec![T::default(); side * side],
        }
    }

    /// Number of rows and of columns of a tile that is not at an edge.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// Cosine similarities of the unit rows of `left` from `first` on with those of `right` from
    /// `second` on: one tile, row by row, and its number of columns.
    pub(super) fn product(
        &mut self,
        left: &Tensor,
        first: usize,
        right: &Tensor,
        second: usize,
    ) -> (&[T], usize) {
        let piece = |unit: &Tensor, first: usize| {
            let rows = unit.size()[0] as usize;
            unit.narrow(0, first as i64, self.side.min(rows - first) as i64)
        };
        let (left, right) = (piece(left, first), piece(right, second));
        let shape = [left.size()[0], right.size()[0]];
        if self.tile.size() != shape {
            self.tile = Tensor::zeros(shape, (T::KIND, left.device()));
        }
        let _ = left.mm_out(&self.tile, &right.tr());
        let count = (shape[0] * shape[1]) as usize;
        self.tile
            .to_device(Device::Cpu)
            .copy_data(&mut self.host[..count], count);
        (&self.host[..count], shape[1] as usize)
    }
}
