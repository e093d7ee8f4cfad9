//! Random streams: every draw starts from a seed that is derived from (seed of the run, purpose,
//! step, part), never from the state of an earlier stream. Killing a run anywhere loses no stream,
//! and data-parallel parts can draw their own.

/// What a stream is for; two purposes never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights.
    Init = 1,
    /// Order of the data within an epoch.
    Order = 2,
    /// Noise levels and noise.
    Noise = 3,
    /// Augmentation.
    Augment = 4,
    /// Which labels are dropped.
    LabelDropout = 5,
    /// Dropout inside the network; one stream per accumulation round.
    Dropout = 6,
}

/// The seed of one stream.
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

/// Points libtorch's generators at this stream.
pub fn begin(seed: u64, purpose: Purpose, step: u64, part: u64) {
    tch::manual_seed(derive(seed, purpose, step, part) as i64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn streams_do_not_meet() {
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
