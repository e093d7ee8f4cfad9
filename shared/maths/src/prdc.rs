//! Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), and
//! realism, from balls around rows that reach to their k-th neighbour (spec §10.5).

use crate::{
    Features, MathsError,
    distances::{Pairing, Tile, pairs, squared_radii},
};
use tch::{Kind, Tensor};

/// Precision, recall, density and coverage. The ball of a row reaches to its k-th nearest other row
/// of the same set; a row on its surface is outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prdc {
    /// Share of generated rows inside at least one real ball.
    pub precision: f64,
    /// Share of real rows inside at least one generated ball.
    pub recall: f64,
    /// Mean number of real balls that contain a generated row, divided by k; may exceed 1.
    pub density: f64,
    /// Share of real rows whose ball contains at least one generated row.
    pub coverage: f64,
}

/// Counts over all pairs of rows, accumulated tile by tile.
struct BallCounts {
    /// For each generated row, whether some real ball contains it.
    fake_in_real: Vec<bool>,
    /// For each real row, whether some generated ball contains it.
    real_in_fake: Vec<bool>,
    /// For each real row, whether its ball contains some generated row.
    real_covered: Vec<bool>,
    /// Pairs of a real ball and a generated row inside it.
    memberships: u64,
}

/// Precision, recall, density and coverage of `fake` against `real` with k neighbours (5 in the
/// literature).
///
/// # Errors
/// [`MathsError::TooFew`] if a set has k rows or fewer, [`MathsError::Width`] for sets of different
/// width.
pub fn prdc(real: &Features, fake: &Features, k: i64) -> Result<Prdc, MathsError> {
    fake.require_width_of(real)?;
    let (real_radii, fake_radii) = (squared_radii(real, k)?, squared_radii(fake, k)?);
    let (reals, fakes) = (real.count() as usize, fake.count() as usize);
    let mut counts = BallCounts {
        fake_in_real: vec![false; fakes],
        real_in_fake: vec![false; reals],
        real_covered: vec![false; reals],
        memberships: 0,
    };
    let pairing = Pairing::new(fake, real)?;
    // Each radius rounded down and up to float32: outside that gap the tile's bounds decide, inside
    // it the exact distance does.
    let real_bounds = [false, true].map(|up| pairing.scaled(&real_radii, up).unsqueeze(0));
    let fake_bounds = [false, true].map(|up| pairing.scaled(&fake_radii, up).unsqueeze(1));
    pairing.tiles(|tile| {
        let rows = tile.lower.size()[0];
        let own = [0, 1].map(|side| fake_bounds[side].narrow(0, tile.first, rows));
        counts.add_real_balls(&pairing, &tile, &real_bounds, &real_radii);
        counts.add_fake_balls(&pairing, &tile, &own, &fake_radii);
    });
    let share =
        |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as f64 / flags.len() as f64;
    Ok(Prdc {
        precision: share(&counts.fake_in_real),
        recall: share(&counts.real_in_fake),
        density: counts.memberships as f64 / (k as f64 * fakes as f64),
        coverage: share(&counts.real_covered),
    })
}

impl BallCounts {
    /// Generated rows of a tile in real balls, whose squared radii are `radii`.
    fn add_real_balls(
        &mut self,
        pairing: &Pairing,
        tile: &Tile,
        [low, high]: &[Tensor; 2],
        radii: &[f64],
    ) {
        let (inside, undecided) = compare(tile, low, high);
        mark(
            &mut self.fake_in_real[tile.first as usize..],
            &inside.any_dim(1, false),
        );
        mark(&mut self.real_covered, &inside.any_dim(0, false));
        self.memberships += inside.sum(Kind::Int64).int64_value(&[]) as u64;
        for (row, real) in undecided {
            let fake = tile.first + row;
            if pairing.squared(fake, real) < radii[real as usize] {
                self.fake_in_real[fake as usize] = true;
                self.real_covered[real as usize] = true;
                self.memberships += 1;
            }
        }
    }

    /// Real rows in the balls of a tile's generated rows, whose squared radii are `radii`.
    fn add_fake_balls(
        &mut self,
        pairing: &Pairing,
        tile: &Tile,
        [low, high]: &[Tensor; 2],
        radii: &[f64],
    ) {
        let (inside, undecided) = compare(tile, low, high);
        mark(&mut self.real_in_fake, &inside.any_dim(0, false));
        for (row, real) in undecided {
            let fake = tile.first + row;
            if !self.real_in_fake[real as usize]
                && pairing.squared(fake, real) < radii[fake as usize]
            {
                self.real_in_fake[real as usize] = true;
            }
        }
    }
}

/// Mask of the pairs that are certainly inside a ball, and the pairs that only the exact distance
/// can decide. `low` and `high` are bounds of the squared radii.
fn compare(tile: &Tile, low: &Tensor, high: &Tensor) -> (Tensor, Vec<(i64, i64)>) {
    let inside = tile.upper.lt_tensor(low);
    let undecided = pairs(
        &tile
            .lower
            .lt_tensor(high)
            .logical_and_(&inside.logical_not()),
    );
    (inside, undecided)
}

/// Sets the flags that are set in `found`.
fn mark(flags: &mut [bool], found: &Tensor) {
    let found: Vec<bool> =
        Vec::try_from(found.to_device(tch::Device::Cpu)).expect("invariant: a vector of flags");
    for (flag, found) in flags.iter_mut().zip(found) {
        *flag |= found;
    }
}

/// Realism of each generated row j: the largest r_i / d(i, j) over real rows i whose radius r_i (to
/// the k-th neighbour) is below the median radius (Kynkäänniemi et al. 2019, section 5). Infinite
/// for a copy of such a real row. Large balls are left out, as they cover space without data.
///
/// # Errors
/// As [`prdc`], and [`MathsError::OutOfRange`] if no radius is below the median.
pub fn realism(real: &Features, fake: &Features, k: i64) -> Result<Vec<f64>, MathsError> {
    fake.require_width_of(real)?;
    let radii = squared_radii(real, k)?;
    // Radii are compared as distances, not squares: the mean of two middle values differs.
    let median = median(&radii.iter().map(|square| square.sqrt()).collect::<Vec<_>>());
    let small: Vec<i64> = (0..real.count())
        .filter(|&index| radii[index as usize].sqrt() < median)
        .collect();
    if small.is_empty() {
        let expected = "radii that are not all equal".to_owned();
        return Err(MathsError::OutOfRange {
            what: format!("median radius of {}", real.name()),
            found: median.to_string(),
            expected,
        });
    }
    let radii: Vec<f64> = small.iter().map(|&index| radii[index as usize]).collect();
    let pairing = Pairing::new(fake, &real.select(&small)?)?;
    let (low, high) = (
        pairing.scaled(&radii, false).unsqueeze(0),
        pairing.scaled(&radii, true).unsqueeze(0),
    );
    let mut scores = Vec::with_capacity(fake.count() as usize);
    pairing.tiles(
        |Tile {
             first,
             lower,
             upper,
         }| {
            // A certain lower bound of each row's largest ratio; only pairs whose upper bound
            // reaches it are computed exactly. The factor covers the rounding of the division.
            let least = (&low / upper).amax([1i64].as_slice(), true);
            // A lower bound of the distance at or below zero allows any ratio.
            let most = (&high / lower.clamp_min(0.0)).nan_to_num(
                f64::INFINITY,
                f64::INFINITY,
                f64::INFINITY,
            );
            for group in pairs(&most.ge_tensor(&(least * (1.0 - 1e-6)))).chunk_by(|a, b| a.0 == b.0)
            {
                let ratios = group.iter().map(|&(row, column)| {
                    let square = pairing.squared(first + row, column);
                    // 0 / 0 for a copy of a row whose own radius is 0 would be NaN.
                    if square == 0.0 {
                        f64::INFINITY
                    } else {
                        radii[column as usize].sqrt() / square.sqrt()
                    }
                });
                scores.push(ratios.fold(0.0, f64::max));
            }
        },
    );
    Ok(scores)
}

/// The median of the values, the mean of the middle two for an even number of them.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}
