//! Exact Euclidean nearest neighbours at the cost of a float32 matrix product, in bounded memory.
//!
//! Squared distances from |x|² + |y|² − 2xy have a rounding error with a known bound. Tiles of
//! lower and upper bounds single out the few pairs that can matter, and only those are computed
//! again, in float64 and from the differences. Radii and cross distances come from this one
//! routine, so exact ties stay ties and a strict comparison is strict.

use crate::{Features, MathsError};
use tch::{Kind, Tensor};

/// Elements of one tile of distances: 64 MiB in float32.
const TILE_ELEMENTS: i64 = 16 << 20;

/// Feature rows on the CPU, row by row, for exact distances.
pub(crate) enum Exact {
    Single(Vec<f32>, usize),
    Double(Vec<f64>, usize),
}

impl Exact {
    fn of(features: &Features, kind: Kind) -> Self {
        let width = features.width() as usize;
        let flat = features
            .rows()
            .to_device(tch::Device::Cpu)
            .to_kind(kind)
            .contiguous()
            .view([-1]);
        let read = "invariant: a contiguous vector on the CPU";
        match kind {
            Kind::Float => Exact::Single(Vec::try_from(&flat).expect(read), width),
            _ => Exact::Double(Vec::try_from(&flat).expect(read), width),
        }
    }

    /// Squared distance of row `i` to row `j` of `other`, summed in float64 in a fixed order.
    pub(crate) fn squared(&self, i: usize, other: &Self, j: usize) -> f64 {
        match (self, other) {
            (Exact::Single(a, width), Exact::Single(b, _)) => {
                squared(&a[i * width..][..*width], &b[j * width..][..*width])
            }
            (Exact::Double(a, width), Exact::Double(b, _)) => {
                squared(&a[i * width..][..*width], &b[j * width..][..*width])
            }
            _ => unreachable!("invariant: both sides of a pairing have one kind"),
        }
    }
}

/// Squared distance of two rows as eight independent sums, which the compiler can vectorise; the
/// order of summation depends on the width alone.
fn squared<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0f64; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (rest_a, rest_b) = (whole_a.remainder(), whole_b.remainder());
    for (x, y) in whole_a.zip(whole_b) {
        for lane in 0..LANES {
            let difference = x[lane].into() - y[lane].into();
            sums[lane] += difference * difference;
        }
    }
    for (lane, (&x, &y)) in rest_a.iter().zip(rest_b).enumerate() {
        let difference = x.into() - y.into();
        sums[lane] += difference * difference;
    }
    sums.iter().sum()
}

/// Two sets prepared for distances from each row of the first to each row of the second.
pub(crate) struct Pairing {
    queries: PreparedSet,
    base: PreparedSet,
    /// Factor on all coordinates of the bounds.
    scale: f64,
    /// Relative error of the squared norms that the bounds allow for.
    slack: f64,
}

/// One set of a [`Pairing`].
struct PreparedSet {
    /// The features in their own precision, for exact distances.
    exact: Exact,
    /// Centred and scaled rows, f32 \[n, d\].
    rows: Tensor,
    /// Their squared norms, f32 \[n\].
    norms: Tensor,
}

/// Bounds of a tile's squared distances, in the pairing's scaled unit: \[rows, base\] float32.
pub(crate) struct Tile {
    /// Index of the tile's first row in the set of queries.
    pub(crate) first: i64,
    pub(crate) lower: Tensor,
    pub(crate) upper: Tensor,
}

impl Pairing {
    /// Prepares both sets.
    ///
    /// # Errors
    /// [`MathsError::Width`] for sets of different width.
    pub(crate) fn new(queries: &Features, base: &Features) -> Result<Self, MathsError> {
        queries.require_width_of(base)?;
        let both_single = queries.kind() == Kind::Float && base.kind() == Kind::Float;
        let kind = if both_single {
            Kind::Float
        } else {
            Kind::Double
        };
        // Rounding errors of |x|² + |y|² − 2xy grow with the norms, distances do not change when
        // both sets move: centring keeps the bounds tight for features far from the origin.
        let centre =
            base.rows()
                .to_kind(Kind::Double)
                .mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = |features: &Features| features.rows().to_kind(Kind::Double) - &centre;
        let (q, b) = (centred(queries), centred(base));
        let largest = q
            .abs()
            .max()
            .double_value(&[])
            .max(b.abs().max().double_value(&[]));
        // A power of two scales without rounding, and a largest value of 1 keeps squares of any
        // features within the range of float32.
        let scale = if largest > 0.0 {
            (-largest.log2().ceil()).exp2()
        } else {
            1.0
        };
        let prepare = |features: &Features, centred: Tensor| {
            let rows = (centred * scale).to_kind(Kind::Float);
            let norms = rows.to_kind(Kind::Double).square().sum_dim_intlist(
                [1i64].as_slice(),
                false,
                Kind::Double,
            );
            PreparedSet {
                exact: Exact::of(features, kind),
                rows,
                norms: norms.to_kind(Kind::Float),
            }
        };
        // The rounding error of a float32 scalar product of d terms is below d u |x||y|, which is
        // at most d u (|x|² + |y|²) / 2, with u = 2⁻²⁴ = EPSILON / 2; −2xy doubles it. Rounding of
        // the centred values, the norms and the sums adds less than 16 u (|x|² + |y|²). The factor
        // 1.1 covers products of these small terms.
        let slack = 1.1 * (base.width() as f64 + 16.0) * f64::from(f32::EPSILON) / 2.0;
        Ok(Self {
            queries: prepare(queries, q),
            base: prepare(base, b),
            scale,
            slack,
        })
    }

    /// Calls `visit` with tiles of rows × the whole base set, in row order.
    pub(crate) fn tiles(&self, mut visit: impl FnMut(Tile)) {
        let (count, base) = (self.queries.rows.size()[0], self.base.rows.size()[0]);
        let rows = (TILE_ELEMENTS / base).clamp(1, count);
        let transposed = self.base.rows.tr();
        let lower_base = (&self.base.norms * (1.0 - self.slack)).unsqueeze(0);
        let mut first = 0;
        while first < count {
            let len = rows.min(count - first);
            let norms = self.queries.norms.narrow(0, first, len).unsqueeze(1);
            // −2xy + (1 − slack)|y|² + (1 − slack)|x|². A factor of two is exact, so scaling an
            // operand is the same as scaling the product.
            let mut lower = lower_base.addmm(
                &(self.queries.rows.narrow(0, first, len) * -2.0),
                &transposed,
            );
            lower += &norms * (1.0 - self.slack);
            let upper = &lower
                + (norms * (2.0 * self.slack)
                    + (&self.base.norms * (2.0 * self.slack)).unsqueeze(0));
            visit(Tile {
                first,
                lower,
                upper,
            });
            first += len;
        }
    }

    /// Squared distance from query `i` to base row `j`, in the features' own unit, from differences
    /// in float64.
    pub(crate) fn squared(&self, i: i64, j: i64) -> f64 {
        self.queries
            .exact
            .squared(i as usize, &self.base.exact, j as usize)
    }

    /// Squared distances f32 in the unit of the bounds, rounded up or down.
    pub(crate) fn scaled(&self, squares: &[f64], up: bool) -> Tensor {
        let factor = self.scale * self.scale;
        let round = |square: &f64| {
            let rounded = (square * factor) as f32;
            if up {
                rounded.next_up()
            } else {
                rounded.next_down()
            }
        };
        let scaled: Vec<f32> = squares.iter().map(round).collect();
        Tensor::from_slice(&scaled).to_device(self.base.rows.device())
    }
}

/// Pairs (row, column) where `mask` is true, in row order.
pub(crate) fn pairs(mask: &Tensor) -> Vec<(i64, i64)> {
    let flat: Vec<i64> = Vec::try_from(mask.nonzero().to_device(tch::Device::Cpu).reshape([-1]))
        .expect("invariant: indices are int64");
    flat.chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect()
}

/// An upper bound \[n, 1\] of the k-th smallest value of each row of `upper` \[n, m\]: the k-th
/// smallest of the minima of blocks of columns, which is much cheaper to find than that of all
/// columns.
fn kth_bound(upper: &Tensor, k: i64) -> Tensor {
    // With at least four blocks per neighbour, two of the k nearest rarely share one, so the bound
    // stays close.
    const BLOCKS: i64 = 256;
    let (rows, columns) = (upper.size()[0], upper.size()[1]);
    let width = columns / BLOCKS;
    let minima = if width >= 2 && BLOCKS >= 4 * k {
        let whole = upper
            .narrow(1, 0, width * BLOCKS)
            .reshape([rows, BLOCKS, width])
            .amin([2i64].as_slice(), false);
        let rest = upper.narrow(1, width * BLOCKS, columns - width * BLOCKS);
        Tensor::cat(&[whole, rest], 1)
    } else {
        upper.shallow_clone()
    };
    minima.topk(k, 1, false, true).0.narrow(1, k - 1, 1)
}

/// Squared Euclidean distance of each row to its k-th nearest other row of the same set.
pub(crate) fn squared_radii(features: &Features, k: i64) -> Result<Vec<f64>, MathsError> {
    if k < 1 {
        let expected = "at least 1".to_owned();
        return Err(MathsError::OutOfRange {
            what: "k of the k-th neighbour".to_owned(),
            found: k.to_string(),
            expected,
        });
    }
    features.require(
        k + 1,
        "the distance to the k-th nearest other row (k + 1 rows)",
    )?;
    let pairing = Pairing::new(features, features)?;
    let mut radii = Vec::with_capacity(features.count() as usize);
    pairing.tiles(
        |Tile {
             first,
             lower,
             upper,
         }| {
            // A row is not its own neighbour.
            let _ = upper
                .narrow(1, first, upper.size()[0])
                .diagonal(0, 0, 1)
                .fill_(f64::INFINITY);
            // Every row that may be among the k nearest: its lower bound is not above an upper
            // bound of the k-th distance. There are at least k of them.
            let near = pairs(&lower.le_tensor(&kth_bound(&upper, k)));
            for group in near.chunk_by(|a, b| a.0 == b.0) {
                let row = first + group[0].0;
                let mut squares: Vec<f64> = group
                    .iter()
                    .filter(|pair| pair.1 != row)
                    .map(|pair| pairing.squared(row, pair.1))
                    .collect();
                let (_, kth, _) = squares.select_nth_unstable_by(k as usize - 1, f64::total_cmp);
                radii.push(*kth);
            }
        },
    );
    Ok(radii)
}

/// Euclidean distance of each row to its k-th nearest other row of the same set; the row itself
/// does not count.
///
/// # Errors
/// [`MathsError::TooFew`] for k rows or fewer, [`MathsError::OutOfRange`] for k below 1.
pub fn radii(features: &Features, k: i64) -> Result<Vec<f64>, MathsError> {
    Ok(squared_radii(features, k)?
        .into_iter()
        .map(f64::sqrt)
        .collect())
}

/// The nearest row of another set, for one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Index of the nearest row; the lowest one of several at the same distance.
    pub index: i64,
    /// Euclidean distance to it.
    pub distance: f64,
}

/// The nearest row of `base` for each row of `queries`, exactly.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width.
pub fn nearest(queries: &Features, base: &Features) -> Result<Vec<Nearest>, MathsError> {
    let pairing = Pairing::new(queries, base)?;
    let mut found = Vec::with_capacity(queries.count() as usize);
    pairing.tiles(
        |Tile {
             first,
             lower,
             upper,
         }| {
            // Every row that may be the nearest: its lower bound is not above the lowest upper
            // bound.
            let near = pairs(&lower.le_tensor(&upper.amin([1i64].as_slice(), true)));
            for group in near.chunk_by(|a, b| a.0 == b.0) {
                let squares = group
                    .iter()
                    .map(|&(row, column)| (column, pairing.squared(first + row, column)));
                let (index, square) = squares
                    .min_by(|a, b| a.1.total_cmp(&b.1))
                    .expect("invariant: a group is not empty");
                found.push(Nearest {
                    index,
                    distance: square.sqrt(),
                });
            }
        },
    );
    Ok(found)
}
