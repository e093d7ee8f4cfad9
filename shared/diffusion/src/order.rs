//! The order in which a run visits the images: a fresh shuffle of the whole set for every epoch,
//! a pure function of (seed, position). Upstream shuffles in a sliding window instead; any good
//! reshuffle will do (spec §7.5).

use crate::stream::{Purpose, derive};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// An endless sequence of image indices, reshuffled every epoch.
#[derive(Clone, Debug)]
pub struct DataOrder {
    seed: u64,
    count: u64,
    epoch: Option<(u64, Vec<i64>)>,
}

impl DataOrder {
    /// The order over images 0..`count`; panics when there is none.
    pub fn new(seed: u64, count: u64) -> Self {
        assert!(count > 0, "invariant: a data set holds at least one image");
        Self {
            seed,
            count,
            epoch: None,
        }
    }

    /// Indices of the images at positions `from..from + n` of the run; a position divided by the
    /// number of images is its epoch.
    pub fn at(&mut self, from: u64, n: u64) -> Vec<i64> {
        let count = self.count;
        (from..from + n)
            .map(|position| self.shuffled(position / count)[(position % count) as usize])
            .collect()
    }

    fn shuffled(&mut self, epoch: u64) -> &[i64] {
        if self.epoch.as_ref().is_none_or(|(held, _)| *held != epoch) {
            let mut indices: Vec<i64> = (0..self.count as i64).collect();
            indices.shuffle(&mut ChaCha8Rng::seed_from_u64(derive(
                self.seed,
                Purpose::Order,
                epoch,
                0,
            )));
            self.epoch = Some((epoch, indices));
        }
        &self.epoch.as_ref().expect("invariant: set above").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_holds_every_image_once_in_another_order() {
        let mut order = DataOrder::new(7, 97);
        let epochs: Vec<Vec<i64>> = (0..3).map(|epoch| order.at(epoch * 97, 97)).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..97).collect::<Vec<i64>>());
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    }

    #[test]
    fn a_position_does_not_depend_on_how_it_was_reached() {
        let whole = DataOrder::new(7, 10).at(0, 50);
        assert_eq!(DataOrder::new(7, 10).at(23, 20), whole[23..43]);
        assert_ne!(DataOrder::new(8, 10).at(0, 50), whole);
    }
}
