//! Seeds of random streams, derived from (seed of the run, purpose, step, part) and never from the
//! state of an earlier stream: a run can be killed anywhere and resumed with the same draws, and
//! data-parallel parts can draw their own.

/// What a stream is used for; two purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights of the network.
    Init = 1,
    /// Order of the data within an epoch.
    Order = 2,
    /// Noise levels and noise of a training step.
    Noise = 3,
    /// Augmentation of a training step.
    Augment = 4,
    /// The choice of labels that are dropped in a training step.
    LabelDropout = 5,
    /// Dropout inside the network; one stream per accumulation round.
    Dropout = 6,
}

/// The seed of one stream. Each word is mixed before it is folded in, so that small counts such as
/// steps 0, 1, 2 give unrelated seeds.
pub fn derive(seed: u64, purpose: Purpose, step: u64, part: u64) -> u64 {
    [purpose as u64, step, part]
        .into_iter()
        .fold(mix(mix(seed)), |state, word| mix(state ^ mix(word)))
}

/// SplitMix64's step: a bijection of 64 bits in which every input bit reaches every output bit
/// (Steele, Lea, Flood 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Seeds libtorch's default generators (CPU and GPU) with this stream.
pub fn seed_generators(seed: u64, purpose: Purpose, step: u64, part: u64) {
    tch::manual_seed(derive(seed, purpose, step, part) as i64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_streams_share_a_seed() {
        let mut seen = HashSet::new();
        for seed in 0..4 {
            for purpose in [
                Purpose::Init,
                Purpose::Order,
                Purpose::Noise,
                Purpose::Augment,
                Purpose::LabelDropout,
                Purpose::Dropout,
            ] {
                for step in 0..50 {
                    for part in 0..4 {
                        assert!(
                            seen.insert(derive(seed, purpose, step, part)),
                            "{seed} {purpose:?} {step} {part}"
                        );
                    }
                }
            }
        }
    }
}
