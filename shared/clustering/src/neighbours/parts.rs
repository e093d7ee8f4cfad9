//! The search for neighbours shared by several processes: parts of equal work, each over some
//! blocks of rows, and the merge of their results.
//!
//! An odd number B of blocks is arranged in a circle. Part i compares block i with itself and with
//! the (B − 1)/2 blocks after it, so every pair of blocks is compared exactly once and all parts do
//! the same amount of work. A part holds two blocks of unit rows at a time, two tiles, and the
//! lists of the blocks that it has compared; it returns at most N·k·(B + 1)/2B candidates.

use super::{
    Neighbours,
    selection::{Lists, Selection, better},
    tiles::Tiles,
};
use crate::{ClusteringError, unit_rows};
use cedm_maths::Features;
use std::ops::Range;
use tch::{Device, Kind, Tensor, kind::Element};

/// Rows cut into an odd number of blocks of nearly equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    rows: i64,
    count: u32,
}

impl Blocks {
    /// Cuts `rows` rows into `count` blocks.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if `count` is even or above the number of rows.
    pub fn new(rows: i64, count: u32) -> Result<Self, ClusteringError> {
        if count.is_multiple_of(2) || i64::from(count) > rows {
            let expected = format!("an odd number of at most the {rows} rows");
            return Err(ClusteringError::setting("parts", count, expected));
        }
        Ok(Self { rows, count })
    }
    /// Number of blocks, B.
    pub fn count(&self) -> u32 {
        self.count
    }
    /// Row indices of a block.
    pub fn rows(&self, block: u32) -> Range<i64> {
        // In 128 bits: rows times block may exceed 64.
        let edge = |block: u32| {
            (i128::from(self.rows) * i128::from(block) / i128::from(self.count)) as i64
        };
        edge(block)..edge(block + 1)
    }
    /// The blocks that a part compares its own rows with, its own block included, in ascending
    /// order.
    pub fn of_part(&self, part: u32) -> Vec<u32> {
        let mut blocks: Vec<u32> = (0..=(self.count - 1) / 2)
            .map(|ahead| (part + ahead) % self.count)
            .collect();
        blocks.sort_unstable();
        blocks
    }
    /// Number of pairs of rows that a part compares, both directions counted.
    pub fn pairs_of_part(&self, part: u32) -> u64 {
        let length = |block| self.rows(block).count() as u64;
        let others: u64 = self
            .of_part(part)
            .into_iter()
            .filter(|block| *block != part)
            .map(length)
            .sum();
        length(part) * (length(part) + 2 * others)
    }
}

/// The best candidates of a block's rows among the rows that one part compared them with.
#[derive(Debug)]
pub struct BlockLists {
    /// Index of the block.
    pub block: u32,
    /// Candidates of each of its rows as row indices of the whole set, best first: i32 \[rows, ≤
    /// k\] on the CPU.
    pub indices: Tensor,
    /// Their cosine similarities in the features' type, \[rows, ≤ k\] on the CPU.
    pub similarities: Tensor,
}

/// One part of the search. Its caller passes the blocks of [`Blocks::of_part`] to
/// [`PartSearch::compare`] one after the other, in ascending order.
pub struct PartSearch {
    scan: Box<dyn Scan>,
}

impl PartSearch {
    /// Prepares part `part` of the search for `k` neighbours; `own` holds the rows of its own
    /// block.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if there is no such part or `k` does not fit,
    /// [`ClusteringError::Shape`] for another number of rows, [`ClusteringError::ZeroRow`].
    pub fn new(
        blocks: Blocks,
        part: u32,
        k: u32,
        tile_bytes: u64,
        own: &Features,
    ) -> Result<Self, ClusteringError> {
        super::check_k(k, blocks.rows)?;
        if part >= blocks.count {
            return Err(ClusteringError::setting(
                "part",
                part,
                format!("below the {} parts", blocks.count),
            ));
        }
        check_rows(blocks, part, own)?;
        let _guard = tch::no_grad_guard();
        let unit = unit_rows(own)?;
        let scan: Box<dyn Scan> = match own.kind() {
            Kind::Double => Box::new(PartScan::<f64>::new(blocks, part, k, tile_bytes, unit)),
            _ => Box::new(PartScan::<f32>::new(blocks, part, k, tile_bytes, unit)),
        };
        Ok(Self { scan })
    }

    /// Compares the part's own rows with those of `block`; `features` is `None` for the own block.
    /// `progress` is called with the pairs done since its last call; if it returns false the
    /// comparison stops and so returns false.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if it is not the block's turn, [`ClusteringError::Shape`] if
    /// its rows have another number or type, [`ClusteringError::ZeroRow`].
    pub fn compare(
        &mut self,
        block: u32,
        features: Option<&Features>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, ClusteringError> {
        let _guard = tch::no_grad_guard();
        let (blocks, kind) = self.scan.check_turn(block)?;
        let unit = match features {
            None => None,
            Some(features) => {
                check_rows(blocks, block, features)?;
                if features.kind() != kind {
                    let found = format!("{:?}", features.kind());
                    let (what, expected) = (
                        format!("block {block} of the features"),
                        format!("{kind:?} like the others"),
                    );
                    return Err(ClusteringError::Shape {
                        what,
                        found,
                        expected,
                    });
                }
                Some(unit_rows(features)?)
            }
        };
        Ok(self.scan.compare(block, unit, progress))
    }

    /// The candidates of every block that was compared.
    pub fn finish(self) -> Vec<BlockLists> {
        self.scan.finish()
    }
}

fn check_rows(blocks: Blocks, block: u32, features: &Features) -> Result<(), ClusteringError> {
    let expected = blocks.rows(block).count() as i64;
    if features.count() == expected {
        return Ok(());
    }
    Err(ClusteringError::Shape {
        what: format!("block {block} of the features"),
        found: format!("{} rows", features.count()),
        expected: format!("{expected} rows"),
    })
}

/// A [`PartScan`] in float32 or float64.
trait Scan {
    /// The blocks and the type of the features, if it is this block's turn.
    fn check_turn(&self, block: u32) -> Result<(Blocks, Kind), ClusteringError>;
    fn compare(
        &mut self,
        block: u32,
        unit: Option<Tensor>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> bool;
    fn finish(self: Box<Self>) -> Vec<BlockLists>;
}

struct PartScan<T> {
    blocks: Blocks,
    part: u32,
    k: usize,
    unit: Tensor,
    tiles: Tiles<T>,
    own: Selection<T>,
    /// Blocks still to be compared, in ascending order: rows must be offered their columns in that
    /// order.
    waiting: Vec<u32>,
    done: Vec<BlockLists>,
}

impl<T: Element + Copy + PartialOrd + Default + Send + Sync> PartScan<T> {
    fn new(blocks: Blocks, part: u32, k: u32, tile_bytes: u64, unit: Tensor) -> Self {
        let own = blocks.rows(part);
        Self {
            blocks,
            part,
            k: k as usize,
            tiles: Tiles::new(tile_bytes, own.clone().count(), unit.device()),
            own: selection(&own, k as usize),
            unit,
            waiting: blocks.of_part(part),
            done: Vec::new(),
        }
    }
}

fn selection<T: Copy + PartialOrd + Send + Sync>(rows: &Range<i64>, k: usize) -> Selection<T> {
    Selection::new(
        rows.start as usize,
        rows.clone().count(),
        k,
        super::threads(),
    )
}

impl<T: Element + Copy + PartialOrd + Default + Send + Sync> Scan for PartScan<T> {
    fn check_turn(&self, block: u32) -> Result<(Blocks, Kind), ClusteringError> {
        if self.waiting.first() == Some(&block) {
            return Ok((self.blocks, T::KIND));
        }
        Err(ClusteringError::setting(
            "block",
            block,
            format!("the first of {:?}", self.waiting),
        ))
    }

    fn compare(
        &mut self,
        block: u32,
        unit: Option<Tensor>,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> bool {
        self.waiting.remove(0);
        let (mine, theirs) = (self.blocks.rows(self.part), self.blocks.rows(block));
        let (mine_at, theirs_at, side) = (
            mine.start as usize,
            theirs.start as usize,
            self.tiles.side(),
        );
        let diagonal = block == self.part;
        let mut other = (!diagonal).then(|| selection::<T>(&theirs, self.k));
        let right = unit.as_ref().unwrap_or(&self.unit);
        for first in (0..mine.count()).step_by(side) {
            // On the diagonal block half of the tiles suffice, as in a search of one process.
            let from = if diagonal { first } else { 0 };
            for second in (from..theirs.clone().count()).step_by(side) {
                let (tile, width) = self.tiles.product(&self.unit, first, right, second);
                let (row, column) = (mine_at + first, theirs_at + second);
                self.own.take_rows(tile, row, column, width);
                match &mut other {
                    Some(other) => other.take_columns(tile, row, column, width),
                    None if first != second => self.own.take_columns(tile, row, column, width),
                    None => {}
                }
                let directions = if diagonal && first == second { 1 } else { 2 };
                if !progress(directions * tile.len() as u64) {
                    return false;
                }
            }
        }
        if let Some(other) = other {
            self.done.push(lists(block, other.finish()));
        }
        true
    }

    fn finish(mut self: Box<Self>) -> Vec<BlockLists> {
        self.done.push(lists(self.part, self.own.finish()));
        self.done
    }
}

fn lists<T: Element>(block: u32, lists: Lists<T>) -> BlockLists {
    let size = [-1, lists.width as i64];
    BlockLists {
        block,
        indices: Tensor::from_slice(&lists.indices).view(size),
        similarities: Tensor::from_slice(&lists.similarities).view(size),
    }
}

/// The k best candidates of each row of a block, from the lists of all parts that compared it.
///
/// # Errors
/// [`ClusteringError::Shape`] if the lists are not of one block, or are too few for k.
pub fn merge_block(lists: &[BlockLists], k: u32) -> Result<Neighbours, ClusteringError> {
    let wrong = |found: String, expected: String| ClusteringError::Shape {
        what: "candidates of a block".to_owned(),
        found,
        expected,
    };
    let Some(one) = lists.first() else {
        return Err(wrong(
            "none".to_owned(),
            "the lists of every part that compared it".to_owned(),
        ));
    };
    let rows = one.indices.size().first().copied().unwrap_or(0);
    for list in lists {
        let (indices, similarities) = (list.indices.size(), list.similarities.size());
        if list.block != one.block
            || indices.len() != 2
            || indices[0] != rows
            || similarities != indices
        {
            let found = format!("{indices:?} and {similarities:?} of block {}", list.block);
            return Err(wrong(
                found,
                format!(
                    "indices and similarities [{rows}, k] of block {}",
                    one.block
                ),
            ));
        }
    }
    let width: i64 = lists.iter().map(|list| list.indices.size()[1]).sum();
    if width < i64::from(k) {
        return Err(wrong(
            format!("{width} of each row"),
            format!("at least {k}: is a part missing?"),
        ));
    }
    let all = |pick: fn(&BlockLists) -> &Tensor| {
        Tensor::cat(&lists.iter().map(pick).collect::<Vec<_>>(), 1)
    };
    let (indices, similarities) = (all(|list| &list.indices), all(|list| &list.similarities));
    // float64 holds every float32 exactly, so one order serves both types.
    let mut order: Vec<(f64, i32)> = Vec::new();
    let (mut chosen, mut cosines) = (Vec::new(), Vec::new());
    let flat = Vec::<i32>::try_from(indices.contiguous().view(-1))
        .map_err(|source| torch("reading candidates", source))?;
    let values = Vec::<f64>::try_from(similarities.to_kind(Kind::Double).contiguous().view(-1))
        .map_err(|source| torch("reading candidates", source))?;
    for (indices, values) in flat
        .chunks(width as usize)
        .zip(values.chunks(width as usize))
    {
        order.clear();
        order.extend(values.iter().copied().zip(indices.iter().copied()));
        if order.iter().any(|(value, _)| value.is_nan()) {
            return Err(wrong(
                "a similarity that is NaN".to_owned(),
                "cosines".to_owned(),
            ));
        }
        order.sort_unstable_by(better);
        chosen.extend(order[..k as usize].iter().map(|&(_, index)| index));
        cosines.extend(order[..k as usize].iter().map(|&(value, _)| value));
    }
    let size = [rows, i64::from(k)];
    Ok(Neighbours {
        indices: Tensor::from_slice(&chosen).view(size),
        similarities: Tensor::from_slice(&cosines)
            .view(size)
            .to_kind(one.similarities.kind())
            .to_device(Device::Cpu),
    })
}

fn torch(doing: &'static str, source: tch::TchError) -> ClusteringError {
    ClusteringError::Torch { doing, source }
}
