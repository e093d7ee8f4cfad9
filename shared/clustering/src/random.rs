//! Random streams derived from (seed, purpose, index). No generator is kept from one use to the
//! next, so a saved state holds no generator state.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream is used for; part of its key, so that purposes never share draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Initial weights of one head.
    HeadWeights = 1,
    /// Order of the images in one epoch, and the partner of each.
    Epoch = 2,
    /// k-means++ of one start of k-means.
    Seeding = 3,
    /// Rows of one mini-batch of k-means.
    MiniBatch = 4,
}

/// The stream of this seed, purpose and index. All three are parts of the 32-byte key, so streams
/// differ by construction; the last eight bytes separate them from other users of the same seed.
pub(crate) fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    key[24..].copy_from_slice(b"cedm/clu");
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_by_every_part_of_their_key() {
        let first = |seed, purpose, index| stream(seed, purpose, index).random::<u64>();
        let base = first(1, Purpose::Epoch, 0);
        assert_eq!(base, first(1, Purpose::Epoch, 0));
        for other in [
            first(2, Purpose::Epoch, 0),
            first(1, Purpose::Seeding, 0),
            first(1, Purpose::Epoch, 1),
        ] {
            assert_ne!(base, other);
        }
    }
}
