//! Exact cosine nearest neighbours, in tiles of the similarity matrix (spec §3).
//!
//! Similarity is symmetric, so only the tiles on and above the diagonal are computed; each is used
//! for its rows and, transposed, for its columns. Every row is compared with the others in
//! ascending order, so that a strict comparison keeps the lower of two equally similar rows. The
//! matrix products run on the features' device; the selection of the best runs on the host, with as
//! many threads as libtorch uses.
//!
//! Memory: one unit-length copy of the features, two tiles within the budget (one on the features'
//! device, one on the host) and at most 32·k bytes per row. The N × N matrix is never stored. Sets
//! too large for one process are searched in [parts](PartSearch), which several processes can
//! share.

mod parts;
mod sample;
mod selection;
mod tiles;

pub use parts::{BlockLists, Blocks, PartSearch, merge_block};
pub use sample::sampled_agreement;

use crate::{ClusteringError, unit_rows};
use cedm_maths::Features;
use selection::Selection;
use tch::{Kind, Tensor, kind::Element};
use tiles::Tiles;

/// The nearest other rows of every row.
#[derive(Debug)]
pub struct Neighbours {
    /// Row indices by descending similarity, equal ones by ascending index; i32 \[N, k\] on the
    /// CPU.
    pub indices: Tensor,
    /// Their cosine similarities in the features' type, \[N, k\] on the CPU.
    pub similarities: Tensor,
}

/// Default memory for both tiles together, in bytes.
pub const DEFAULT_TILE_BYTES: u64 = 64 << 20;

/// The `k` nearest other rows of every row, with `tile_bytes` of memory for both tiles. `progress`
/// is called with (pairs of rows done, pairs in all) after each tile; if it returns false the
/// result is `None`.
///
/// # Errors
/// [`ClusteringError::Setting`] if `k` is 0 or not below the number of rows,
/// [`ClusteringError::ZeroRow`] if a row is all zero.
pub fn nearest(
    features: &Features,
    k: u32,
    tile_bytes: u64,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Neighbours>, ClusteringError> {
    check_k(k, features.count())?;
    let _guard = tch::no_grad_guard();
    let unit = unit_rows(features)?;
    Ok(match features.kind() {
        Kind::Double => scan::<f64>(&unit, k as usize, tile_bytes, progress),
        _ => scan::<f32>(&unit, k as usize, tile_bytes, progress),
    })
}

/// Checks that every row has `k` others.
fn check_k(k: u32, rows: i64) -> Result<(), ClusteringError> {
    if k == 0 || i64::from(k) >= rows {
        let expected = format!("from 1 to {}: every row has {} others", rows - 1, rows - 1);
        return Err(ClusteringError::setting("neighbours", k, expected));
    }
    Ok(())
}

/// Checks that neighbour lists belong to a set of `rows` rows and hold `at_least` neighbours each.
///
/// # Errors
/// [`ClusteringError::Shape`] for another type or shape, or for indices outside the set.
pub fn check_lists(neighbours: &Tensor, rows: i64, at_least: u32) -> Result<(), ClusteringError> {
    let size = neighbours.size();
    let error = |found: String| ClusteringError::Shape {
        what: "neighbours".to_owned(),
        found,
        expected: format!(
            "integers [{rows}, at least {at_least}] from 0 to {}",
            rows - 1
        ),
    };
    let integral = matches!(neighbours.kind(), Kind::Int | Kind::Int64);
    if !integral
        || size.len() != 2
        || size[0] != rows
        || size[1] < i64::from(at_least)
        || size[1] < 1
    {
        return Err(error(format!("{:?} {size:?}", neighbours.kind())));
    }
    let (low, high) = (
        neighbours.min().int64_value(&[]),
        neighbours.max().int64_value(&[]),
    );
    if low < 0 || high >= rows {
        Err(error(format!("from {low} to {high}")))
    } else {
        Ok(())
    }
}

/// Number of threads for the selection: as many as libtorch uses.
fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// The search over unit rows \[N, D\] of type `T`; `None` if `progress` returned false.
fn scan<T: Element + Copy + PartialOrd + Default + Send + Sync>(
    unit: &Tensor,
    k: usize,
    tile_bytes: u64,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Option<Neighbours> {
    let rows = unit.size()[0] as usize;
    let mut tiles = Tiles::<T>::new(tile_bytes, rows, unit.device());
    let side = tiles.side();
    let mut selection = Selection::<T>::new(0, rows, k, threads());
    let (mut done, total) = (0, (rows as u64) * (rows as u64));
    for first in (0..rows).step_by(side) {
        for second in (first..rows).step_by(side) {
            let (tile, width) = tiles.product(unit, first, unit, second);
            selection.take_rows(tile, first, second, width);
            if first != second {
                selection.take_columns(tile, first, second, width);
            }
            // A tile off the diagonal serves both directions of its pairs.
            done += if first == second { 1 } else { 2 } * tile.len() as u64;
            if !progress(done, total) {
                return None;
            }
        }
    }
    let lists = selection.finish();
    let size = [rows as i64, k as i64];
    Some(Neighbours {
        indices: Tensor::from_slice(&lists.indices).view(size),
        similarities: Tensor::from_slice(&lists.similarities).view(size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn features(rows: i64, width: i64, kind: Kind) -> Features {
        let values = (Tensor::arange(rows * width, (Kind::Double, Device::Cpu)) * 12.9898).sin()
            * 43758.5453;
        Features::new(
            "features",
            &(&values - values.floor() - 0.5)
                .view([rows, width])
                .to_kind(kind),
        )
        .unwrap()
    }
    fn all(features: &Features, k: u32, tile_bytes: u64) -> (Vec<i32>, Vec<f64>) {
        let found = nearest(features, k, tile_bytes, &mut |_, _| true)
            .unwrap()
            .unwrap();
        let flat = |t: Tensor| t.view(-1);
        (
            Vec::try_from(flat(found.indices)).unwrap(),
            Vec::try_from(flat(found.similarities.to_kind(Kind::Double))).unwrap(),
        )
    }

    #[test]
    fn tiles_of_any_size_give_the_result_of_a_full_sort() {
        let features = features(333, 9, Kind::Double);
        let unit = unit_rows(&features).unwrap();
        let mut similarity = unit.mm(&unit.tr());
        let _ = similarity.fill_diagonal_(f64::NEG_INFINITY, false);
        let (values, indices) = similarity.sort_stable(true, 1, true);
        let expected =
            Vec::<i64>::try_from(indices.narrow(1, 0, 20).contiguous().view(-1)).unwrap();
        let values = Vec::<f64>::try_from(values.narrow(1, 0, 20).contiguous().view(-1)).unwrap();
        for tile_bytes in [1, 64 << 10, DEFAULT_TILE_BYTES] {
            let (found, similarities) = all(&features, 20, tile_bytes);
            assert!(
                found
                    .iter()
                    .zip(&expected)
                    .all(|(&a, &b)| i64::from(a) == b),
                "tiles of {tile_bytes} bytes"
            );
            assert!(
                similarities
                    .iter()
                    .zip(&values)
                    .all(|(a, b)| (a - b).abs() < 1e-14)
            );
        }
    }

    #[test]
    fn equally_similar_rows_are_ordered_by_index_without_the_row_itself() {
        let rows =
            Tensor::from_slice2(&[[1f32, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]);
        let (found, similarities) = all(
            &Features::new("features", &rows).unwrap(),
            3,
            DEFAULT_TILE_BYTES,
        );
        assert_eq!(found[..3], [2, 3, 4]);
        assert_eq!(found[3..6], [0, 2, 3]);
        assert_eq!(found[6..9], [0, 3, 4]);
        assert_eq!(found[12..], [0, 2, 3]);
        assert_eq!(similarities[..3], [1.0, 1.0, 1.0]);
    }

    #[test]
    fn too_many_neighbours_are_rejected() {
        let error = nearest(&features(5, 2, Kind::Float), 5, 1, &mut |_, _| true)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "neighbours is 5, expected from 1 to 4: every row has 4 others"
        );
    }

    #[test]
    fn progress_rises_to_the_total_and_can_stop_the_search() {
        let features = features(300, 4, Kind::Float);
        let mut calls = Vec::new();
        nearest(&features, 3, 1, &mut |done, total| {
            calls.push((done, total));
            true
        })
        .unwrap();
        assert!(
            calls.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "{calls:?}"
        );
        assert_eq!(calls.last(), Some(&(90_000, 90_000)));
        assert!(
            nearest(&features, 3, 1, &mut |done, _| done < 10_000)
                .unwrap()
                .is_none()
        );
    }

    fn in_parts(features: &Features, k: u32, count: u32, tile_bytes: u64) -> (Vec<i32>, Vec<f64>) {
        let blocks = Blocks::new(features.count(), count).unwrap();
        let of = |block: u32| {
            let rows = blocks.rows(block);
            Features::new(
                "features",
                &features.rows().narrow(0, rows.start, rows.count() as i64),
            )
            .unwrap()
        };
        let mut lists: Vec<BlockLists> = Vec::new();
        let mut pairs = 0;
        for part in 0..count {
            let mut search = PartSearch::new(blocks, part, k, tile_bytes, &of(part)).unwrap();
            let before = pairs;
            for block in blocks.of_part(part) {
                let other = (block != part).then(|| of(block));
                let mut more = |done| {
                    pairs += done;
                    true
                };
                assert!(search.compare(block, other.as_ref(), &mut more).unwrap());
            }
            assert_eq!(pairs - before, blocks.pairs_of_part(part));
            lists.extend(search.finish());
        }
        assert_eq!(
            pairs,
            (features.count() * features.count()) as u64,
            "every pair once"
        );
        let (mut indices, mut similarities) = (Vec::new(), Vec::new());
        for block in 0..count {
            let (own, rest) = lists
                .into_iter()
                .partition::<Vec<_>, _>(|list| list.block == block);
            lists = rest;
            assert_eq!(own.len() as u32, count.div_ceil(2));
            let found = merge_block(&own, k).unwrap();
            indices.extend(Vec::<i32>::try_from(found.indices.view(-1)).unwrap());
            similarities.extend(
                Vec::<f64>::try_from(found.similarities.to_kind(Kind::Double).view(-1)).unwrap(),
            );
        }
        (indices, similarities)
    }

    #[test]
    fn any_number_of_parts_gives_the_result_of_one_search() {
        // Small whole numbers in float64: cosines are exact up to one rounding, and many are equal.
        let many = (Tensor::arange(301 * 4, (Kind::Double, Device::Cpu)) * 12.9898)
            .sin()
            .view([301, 4])
            * 2.0;
        let features = Features::new("features", &(many.round() + 0.5)).unwrap();
        for (k, tile_bytes) in [(1, 1), (7, 1 << 15), (50, DEFAULT_TILE_BYTES)] {
            let expected = all(&features, k, tile_bytes).1;
            for count in [1, 3, 5, 9, 43] {
                let (indices, found) = in_parts(&features, k, count, tile_bytes);
                assert!(
                    found
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| (a - b).abs() < 1e-14),
                    "k = {k}, {count} parts"
                );
                for (row, list) in indices.chunks(k as usize).enumerate() {
                    let mut list = list.to_vec();
                    assert!(
                        !list.contains(&(row as i32)),
                        "row {row} is its own neighbour"
                    );
                    list.sort_unstable();
                    list.dedup();
                    assert_eq!(list.len(), k as usize, "row {row}");
                }
            }
        }
    }

    #[test]
    fn blocks_out_of_order_and_settings_out_of_range_are_rejected() {
        let error = |result: Result<bool, ClusteringError>| result.unwrap_err().to_string();
        assert_eq!(
            Blocks::new(9, 4).unwrap_err().to_string(),
            "parts is 4, expected an odd number of at most the 9 rows"
        );
        let (blocks, own) = (Blocks::new(9, 3).unwrap(), features(3, 2, Kind::Float));
        let mut search = PartSearch::new(blocks, 1, 2, 1, &own).unwrap();
        assert_eq!(
            error(search.compare(2, Some(&own), &mut |_| true)),
            "block is 2, expected the first of [1, 2]"
        );
        assert!(search.compare(1, None, &mut |_| true).unwrap());
        let short = features(2, 2, Kind::Float);
        assert_eq!(
            error(search.compare(2, Some(&short), &mut |_| true)),
            "block 2 of the features is 2 rows, expected 3 rows"
        );
        let doubles = features(3, 2, Kind::Double);
        assert_eq!(
            error(search.compare(2, Some(&doubles), &mut |_| true)),
            "block 2 of the features is Double, expected Float like the others"
        );
        let few = merge_block(&search.finish(), 5).unwrap_err().to_string();
        assert_eq!(
            few,
            "candidates of a block is 2 of each row, expected at least 5: is a part missing?"
        );
    }
}
