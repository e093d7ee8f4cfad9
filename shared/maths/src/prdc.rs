//! Precision, recall, density, coverage and realism (spec §10.5).

use crate::{
    Features, MathsError,
    distances::{Pairing, Tile, pairs, squared_radii},
};
use tch::{Kind, Tensor};

/// Four numbers about two sets; a ball reaches from a row to its k-th nearest other row of the same
/// set, and a row is inside only if it is strictly nearer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prdc {
    /// Share of generated rows inside some real ball.
    pub precision: f64,
    /// Share of real rows inside some generated ball.
    pub recall: f64,
    /// Real balls that hold a generated row, on average, divided by k.
    pub density: f64,
    /// Share of real rows whose ball holds some generated row.
    pub coverage: f64,
}

/// What the tiles add up.
struct Tally {
    in_real: Vec<bool>,
    real_in_fake: Vec<bool>,
    real_covered: Vec<bool>,
    memberships: u64,
}

/// Precision, recall, density and coverage of `fake` against `real` with k neighbours (5 in the
/// literature).
///
/// # Errors
/// [`MathsError::TooFew`] when a set has not more than k rows, [`MathsError::Width`] for sets of
/// different width.
pub fn prdc(real: &Features, fake: &Features, k: i64) -> Result<Prdc, MathsError> {
    fake.require_width_of(real)?;
    let (real_radii, fake_radii) = (squared_radii(real, k)?, squared_radii(fake, k)?);
    let (reals, fakes) = (real.count() as usize, fake.count() as usize);
    let mut tally = Tally {
        in_real: vec![false; fakes],
        real_in_fake: vec![false; reals],
        real_covered: vec![false; reals],
        memberships: 0,
    };
    let pairing = Pairing::new(fake, real)?;
    let real_bounds = [false, true].map(|up| pairing.scaled(&real_radii, up).unsqueeze(0));
    let fake_bounds = [false, true].map(|up| pairing.scaled(&fake_radii, up).unsqueeze(1));
    pairing.tiles(|tile| {
        let rows = tile.lower.size()[0];
        let own = [0, 1].map(|side| fake_bounds[side].narrow(0, tile.first, rows));
        tally.real_balls(&pairing, &tile, &real_bounds, &real_radii);
        tally.fake_balls(&pairing, &tile, &own, &fake_radii);
    });
    let share =
        |flags: &[bool]| flags.iter().filter(|&&flag| flag).count() as f64 / flags.len() as f64;
    Ok(Prdc {
        precision: share(&tally.in_real),
        recall: share(&tally.real_in_fake),
        density: tally.memberships as f64 / (k as f64 * fakes as f64),
        coverage: share(&tally.real_covered),
    })
}

impl Tally {
    fn real_balls(
        &mut self,
        pairing: &Pairing,
        tile: &Tile,
        [low, high]: &[Tensor; 2],
        radii: &[f64],
    ) {
        let (inside, unsure) = judge(tile, low, high);
        mark(
            &mut self.in_real[tile.first as usize..],
            &inside.any_dim(1, false),
        );
        mark(&mut self.real_covered, &inside.any_dim(0, false));
        self.memberships += inside.sum(Kind::Int64).int64_value(&[]) as u64;
        for (row, real) in unsure {
            let fake = tile.first + row;
            if pairing.squared(fake, real) < radii[real as usize] {
                self.in_real[fake as usize] = true;
                self.real_covered[real as usize] = true;
                self.memberships += 1;
            }
        }
    }

    fn fake_balls(
        &mut self,
        pairing: &Pairing,
        tile: &Tile,
        [low, high]: &[Tensor; 2],
        radii: &[f64],
    ) {
        let (inside, unsure) = judge(tile, low, high);
        mark(&mut self.real_in_fake, &inside.any_dim(0, false));
        for (row, real) in unsure {
            let fake = tile.first + row;
            if !self.real_in_fake[real as usize]
                && pairing.squared(fake, real) < radii[fake as usize]
            {
                self.real_in_fake[real as usize] = true;
            }
        }
    }
}

/// Pairs that are inside for certain, and pairs that only the exact distance can decide.
fn judge(tile: &Tile, low: &Tensor, high: &Tensor) -> (Tensor, Vec<(i64, i64)>) {
    let inside = tile.upper.lt_tensor(low);
    let unsure = pairs(
        &tile
            .lower
            .lt_tensor(high)
            .logical_and_(&inside.logical_not()),
    );
    (inside, unsure)
}

fn mark(flags: &mut [bool], found: &Tensor) {
    let found: Vec<bool> =
        Vec::try_from(found.to_device(tch::Device::Cpu)).expect("invariant: a vector of flags");
    for (flag, found) in flags.iter_mut().zip(found) {
        *flag |= found;
    }
}

/// Realism \[n\] of each generated row: the largest r_i / d(i, j) over real rows i whose radius r_i
/// (to the k-th neighbour) is below the median radius. Infinite for a row that copies such a real
/// one.
///
/// # Errors
/// As [`prdc`].
pub fn realism(real: &Features, fake: &Features, k: i64) -> Result<Vec<f64>, MathsError> {
    fake.require_width_of(real)?;
    let radii = squared_radii(real, k)?;
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

/// The median; the mean of the middle two of an even number.
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
