//! Exact cosine nearest neighbours in tiles (spec §3).
//!
//! Similarity is symmetric, so only the tiles on and above the diagonal are computed; each serves its rows and, read the other
//! way, its columns. Every row meets its columns in ascending order, which makes "the lower index wins" a strict comparison.
//! The matrix products run where the features lie; selection runs on the host with as many threads as libtorch uses.
//!
//! Memory: one unit-length copy of the features, two tiles within the budget (one where the features lie, one on the host) and
//! at most 32·k bytes per row. An N × N matrix never exists.

mod selection;

use crate::{ClusteringError, Features};
use selection::Selection;
use tch::{Device, Kind, Tensor, kind::Element};

/// Neighbours of every row.
#[derive(Debug)]
pub struct Neighbours {
    /// Row indices by descending similarity, equal ones by ascending index; i32 \[N, k\] on the CPU.
    pub indices: Tensor,
    /// Their cosine similarities; the features' type, \[N, k\] on the CPU.
    pub similarities: Tensor,
}

/// Memory for both tiles together when the caller has no wish, in bytes.
pub const DEFAULT_TILE_BYTES: u64 = 64 << 20;

/// The `k` nearest other rows of every row. `progress` hears (pairs of rows done, in all) after each tile and says whether to go
/// on; the result is `None` when it said no.
///
/// # Errors
/// When `k` is 0 or not below the number of rows, or a row is all zero.
pub fn nearest(
    features: &Features,
    k: u32,
    tile_bytes: u64,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Neighbours>, ClusteringError> {
    if k == 0 || i64::from(k) >= features.rows() {
        let expected = format!("from 1 to {}: every row has {} others", features.rows() - 1, features.rows() - 1);
        return Err(ClusteringError::setting("neighbours", k, expected));
    }
    let _guard = tch::no_grad_guard();
    let unit = features.unit_rows()?;
    Ok(match features.kind() {
        Kind::Double => scan::<f64>(&unit, k as usize, tile_bytes, progress),
        _ => scan::<f32>(&unit, k as usize, tile_bytes, progress),
    })
}

fn scan<T: Element + Copy + PartialOrd + Default + Send + Sync>(
    unit: &Tensor,
    k: usize,
    tile_bytes: u64,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Option<Neighbours> {
    let rows = unit.size()[0] as usize;
    let side = tile_side(tile_bytes, size_of::<T>(), rows);
    let mut selection = Selection::<T>::new(rows, k, tch::get_num_threads().max(1) as usize);
    let mut host = vec![T::default(); side * side];
    let mut tile = Tensor::zeros([0], (T::KIND, unit.device()));
    let block = |first: usize| unit.narrow(0, first as i64, side.min(rows - first) as i64);
    let pairs = |done: usize| (done as u64) * (done as u64);
    for first in (0..rows).step_by(side) {
        for second in (first..rows).step_by(side) {
            let (left, right) = (block(first), block(second));
            let shape = [left.size()[0], right.size()[0]];
            if tile.size() != shape {
                tile = Tensor::zeros(shape, (T::KIND, unit.device()));
            }
            let _ = left.mm_out(&tile, &right.tr());
            let count = (shape[0] * shape[1]) as usize;
            tile.to_device(Device::Cpu).copy_data(&mut host[..count], count);
            selection.take(&host[..count], first, shape[0] as usize, second, shape[1] as usize);
            // rows above this block are complete; of this block the columns up to here are
            let done = pairs(first) + 2 * (first * (rows - first)) as u64;
            let more = (shape[0] as u64) * (2 * (second - first) as u64 + shape[1] as u64);
            if !progress((done + more).min(pairs(rows)), pairs(rows)) {
                return None;
            }
        }
    }
    let (indices, similarities) = selection.finish();
    let size = [rows as i64, k as i64];
    Some(Neighbours {
        indices: Tensor::from_slice(&indices).view(size),
        similarities: Tensor::from_slice(&similarities).view(size),
    })
}

/// Side of the square tiles: two of them fit the budget.
fn tile_side(bytes: u64, element: usize, rows: usize) -> usize {
    let side = ((bytes / (2 * element as u64)) as f64).sqrt() as usize;
    side.clamp(64, 16_384).min(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(rows: i64, width: i64, kind: Kind) -> Features {
        let values = (Tensor::arange(rows * width, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453;
        Features::new(&(&values - values.floor() - 0.5).view([rows, width]).to_kind(kind)).unwrap()
    }
    fn all(features: &Features, k: u32, tile_bytes: u64) -> (Vec<i32>, Vec<f64>) {
        let found = nearest(features, k, tile_bytes, &mut |_, _| true).unwrap().unwrap();
        let flat = |t: Tensor| t.view(-1);
        (
            Vec::try_from(flat(found.indices)).unwrap(),
            Vec::try_from(flat(found.similarities.to_kind(Kind::Double))).unwrap(),
        )
    }

    #[test]
    fn tiles_of_any_size_find_what_a_full_sort_finds() {
        let features = features(333, 9, Kind::Double);
        let unit = features.unit_rows().unwrap();
        let mut similarity = unit.mm(&unit.tr());
        let _ = similarity.fill_diagonal_(f64::NEG_INFINITY, false);
        let (values, indices) = similarity.sort_stable(true, 1, true);
        let expected = Vec::<i64>::try_from(indices.narrow(1, 0, 20).contiguous().view(-1)).unwrap();
        let values = Vec::<f64>::try_from(values.narrow(1, 0, 20).contiguous().view(-1)).unwrap();
        for tile_bytes in [1, 64 << 10, DEFAULT_TILE_BYTES] {
            let (found, similarities) = all(&features, 20, tile_bytes);
            assert!(
                found.iter().zip(&expected).all(|(&a, &b)| i64::from(a) == b),
                "tiles of {tile_bytes} bytes"
            );
            assert!(similarities.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-14));
        }
    }

    #[test]
    fn equal_rows_come_by_ascending_index_and_never_oneself() {
        let rows = Tensor::from_slice2(&[[1f32, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]);
        let (found, similarities) = all(&Features::new(&rows).unwrap(), 3, DEFAULT_TILE_BYTES);
        assert_eq!(found[..3], [2, 3, 4]);
        assert_eq!(found[3..6], [0, 2, 3]);
        assert_eq!(found[6..9], [0, 3, 4]);
        assert_eq!(found[12..], [0, 2, 3]);
        assert_eq!(similarities[..3], [1.0, 1.0, 1.0]);
    }

    #[test]
    fn too_many_neighbours_are_refused() {
        let error = nearest(&features(5, 2, Kind::Float), 5, 1, &mut |_, _| true)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "neighbours is 5, expected from 1 to 4: every row has 4 others");
    }

    #[test]
    fn progress_rises_to_the_whole_and_can_stop() {
        let features = features(300, 4, Kind::Float);
        let mut heard = Vec::new();
        nearest(&features, 3, 1, &mut |done, total| {
            heard.push((done, total));
            true
        })
        .unwrap();
        assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0), "{heard:?}");
        assert_eq!(heard.last(), Some(&(90_000, 90_000)));
        assert!(nearest(&features, 3, 1, &mut |done, _| done < 10_000).unwrap().is_none());
    }
}
