//! The k most similar columns of every row, selected tile by tile.

use std::{cmp::Ordering, thread};

/// Columns that are compared with the threshold at once, without a branch: in most of these groups
/// nothing exceeds the k-th best so far.
const LANE: usize = 16;

/// Candidates of consecutive rows.
pub(super) struct Selection<T> {
    /// Index of the first of these rows in the whole set.
    origin: usize,
    k: usize,
    threads: usize,
    /// (similarity, column) of each row, unordered: up to 2k + [`LANE`], so that a list is cut to
    /// its best k only once in k candidates.
    candidates: Vec<Vec<(T, i32)>>,
    /// Similarity that a new candidate must exceed, by row; `None` while a row has fewer than k.
    threshold: Vec<Option<T>>,
}

impl<T: Copy + PartialOrd + Send + Sync> Selection<T> {
    /// An empty selection for `rows` rows, the first of which is row `origin` of the whole set.
    pub(super) fn new(origin: usize, rows: usize, k: usize, threads: usize) -> Self {
        Self {
            origin,
            k,
            threads,
            candidates: (0..rows).map(|_| Vec::new()).collect(),
            threshold: vec![None; rows],
        }
    }

    /// Adds a tile \[height, width\] for the rows from `first` on. Its columns are those from
    /// `second` on, all higher than the columns that these rows were compared with before.
    pub(super) fn take_rows(&mut self, tile: &[T], first: usize, second: usize, width: usize) {
        let k = self.k;
        self.split(first, tile.len() / width, |start, candidates, threshold| {
            for (offset, (list, limit)) in candidates.iter_mut().zip(threshold).enumerate() {
                let row = start - first + offset;
                scan_row(
                    &tile[row * width..(row + 1) * width],
                    second,
                    start + offset,
                    k,
                    list,
                    limit,
                );
            }
        });
    }

    /// Adds the same tile transposed, for the rows from `second` on, which are its columns.
    pub(super) fn take_columns(&mut self, tile: &[T], first: usize, second: usize, width: usize) {
        let k = self.k;
        self.split(second, width, |start, candidates, threshold| {
            let columns = start - second..start - second + candidates.len();
            for (row, line) in tile.chunks_exact(width).enumerate() {
                scan_column_line(
                    &line[columns.clone()],
                    (first + row) as i32,
                    k,
                    candidates,
                    threshold,
                );
            }
        });
    }

    /// The best candidates of every row, best first: all of them where a row has fewer than k.
    pub(super) fn finish(mut self) -> Lists<T> {
        let k = self.k;
        let (origin, rows) = (self.origin, self.candidates.len());
        self.split(origin, rows, |_, candidates, _| {
            for list in candidates {
                list.sort_unstable_by(better);
                list.truncate(k);
            }
        });
        let best = || self.candidates.iter().flatten();
        Lists {
            width: self.candidates.first().map_or(0, Vec::len),
            indices: best().map(|&(_, index)| index).collect(),
            similarities: best().map(|&(value, _)| value).collect(),
        }
    }

    /// Runs `work` over rows `first..first + count` of the whole set in as many pieces as there are
    /// threads.
    fn split(
        &mut self,
        first: usize,
        count: usize,
        work: impl Fn(usize, &mut [Vec<(T, i32)>], &mut [Option<T>]) + Sync,
    ) {
        let piece = count.div_ceil(self.threads).max(1);
        let own = first - self.origin..first - self.origin + count;
        let candidates = self.candidates[own.clone()].chunks_mut(piece);
        let threshold = self.threshold[own].chunks_mut(piece);
        thread::scope(|scope| {
            for (index, (candidates, threshold)) in candidates.zip(threshold).enumerate() {
                let work = &work;
                scope.spawn(move || work(first + index * piece, candidates, threshold));
            }
        });
    }
}

/// The selected candidates, row by row.
pub(super) struct Lists<T> {
    /// Number of candidates of each row.
    pub(super) width: usize,
    pub(super) indices: Vec<i32>,
    pub(super) similarities: Vec<T>,
}

/// Order of candidates: the more similar first, of equally similar ones the lower index.
pub(super) fn better<T: PartialOrd>(a: &(T, i32), b: &(T, i32)) -> Ordering {
    b.0.partial_cmp(&a.0)
        .expect("invariant: cosines of finite rows are finite")
        .then(a.1.cmp(&b.1))
}

/// Cuts an overfull list to its best k and returns the new threshold.
fn cut<T: Copy + PartialOrd>(list: &mut Vec<(T, i32)>, k: usize) -> T {
    list.select_nth_unstable_by(k - 1, better);
    list.truncate(k);
    list[k - 1].0
}

/// Adds a candidate. Its index is higher than those of all earlier candidates, so one that only
/// equals the threshold has lost already.
fn offer<T: Copy + PartialOrd>(
    value: T,
    index: i32,
    k: usize,
    list: &mut Vec<(T, i32)>,
    limit: &mut Option<T>,
) {
    list.push((value, index));
    // The first threshold as soon as there are k candidates; later ones when the list has doubled,
    // so that the linear-time cut costs a constant per candidate.
    if list.len() == k && limit.is_none() || list.len() >= 2 * k + LANE {
        *limit = Some(cut(list, k));
    }
}

/// Offers the values of one row of a tile, except the row's similarity with itself.
fn scan_row<T: Copy + PartialOrd>(
    values: &[T],
    first_column: usize,
    own: usize,
    k: usize,
    list: &mut Vec<(T, i32)>,
    limit: &mut Option<T>,
) {
    for (lane, values) in values.chunks(LANE).enumerate() {
        // `fold` with `|` instead of `any`: without an early exit the compiler vectorises it.
        if limit.is_some_and(|limit| {
            !values
                .iter()
                .fold(false, |any, &value| any | (value > limit))
        }) {
            continue;
        }
        for (offset, &value) in values.iter().enumerate() {
            let column = first_column + lane * LANE + offset;
            if column != own && limit.is_none_or(|limit| value > limit) {
                offer(value, column as i32, k, list, limit);
            }
        }
    }
}

/// Offers one row of a tile read as a column: value j belongs to row j of `candidates`, and `index`
/// is the other row.
fn scan_column_line<T: Copy + PartialOrd>(
    line: &[T],
    index: i32,
    k: usize,
    candidates: &mut [Vec<(T, i32)>],
    threshold: &mut [Option<T>],
) {
    let lanes = line
        .chunks(LANE)
        .zip(candidates.chunks_mut(LANE))
        .zip(threshold.chunks_mut(LANE));
    for ((values, candidates), limits) in lanes {
        let any = values
            .iter()
            .zip(limits.iter())
            .fold(false, |any, (&value, limit)| {
                any | limit.is_none_or(|limit| value > limit)
            });
        if any {
            for ((&value, list), limit) in values.iter().zip(candidates).zip(limits) {
                if limit.is_none_or(|limit| value > limit) {
                    offer(value, index, k, list, limit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_tiling_gives_the_result_of_sorting(levels in prop::collection::vec(0u8..6, 45 * 46 / 2), side in 1usize..46, k in 1usize..12, threads in 1usize..4) {
            let rows = 45;
            // A symmetric matrix with many equal values.
            let value = |i: usize, j: usize| { let (a, b) = (i.min(j), i.max(j)); f32::from(levels[b * (b + 1) / 2 + a]) };
            let mut selection = Selection::new(0, rows, k, threads);
            for first in (0..rows).step_by(side) {
                for second in (first..rows).step_by(side) {
                    let (height, width) = (side.min(rows - first), side.min(rows - second));
                    let tile: Vec<f32> = (0..height * width).map(|at| value(first + at / width, second + at % width)).collect();
                    selection.take_rows(&tile, first, second, width);
                    if first != second {
                        selection.take_columns(&tile, first, second, width);
                    }
                }
            }
            let lists = selection.finish();
            prop_assert_eq!(lists.width, k);
            for row in 0..rows {
                let mut expected: Vec<(f32, i32)> = (0..rows).filter(|&j| j != row).map(|j| (value(row, j), j as i32)).collect();
                expected.sort_by(better);
                for (rank, expected) in expected[..k].iter().enumerate() {
                    prop_assert_eq!((lists.similarities[row * k + rank], lists.indices[row * k + rank]), *expected);
                }
            }
        }
    }
}
