//! Random streams derived from what they are for, never carried along: a resumed training draws
//! the same numbers, whatever the order of the threads.

use cedm_contract::Digest;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream of one view of one image at one step.
pub(crate) fn view_stream(seed: u64, step: u64, image: u64, view: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, step, image, view]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The stream that shuffles the images of one epoch. Image and view are the largest numbers: no
/// view of an image ever has this stream.
pub(crate) fn order_stream(seed: u64, epoch: u64) -> ChaCha8Rng {
    view_stream(seed, epoch, u64::MAX, u64::MAX)
}

/// The stream of one tensor's initial values.
pub(crate) fn tensor_stream(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Digest::of(format!("{seed} {name}").as_bytes());
    let mut key = [0u8; 32];
    for (byte, pair) in key
        .iter_mut()
        .zip(digest.as_str().as_bytes().chunks_exact(2))
    {
        let text = std::str::from_utf8(pair).expect("invariant: digests are hexadecimal");
        *byte = u8::from_str_radix(text, 16).expect("invariant: digests are hexadecimal");
    }
    ChaCha8Rng::from_seed(key)
}
