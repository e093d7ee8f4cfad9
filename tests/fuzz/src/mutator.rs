//! Seeded mutation of sound files.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers that parsers get wrong: ends of ranges, signs, sizes beyond any memory.
const INTERESTING: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// Largest input; what readers do wrong, they do wrong with small ones.
const MAX_BYTES: usize = 256 << 10;

/// Makes damaged files from sound ones.
pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// A mutator of these files, of which there must be at least one.
    pub fn new(seeds: &'a [Vec<u8>]) -> Self {
        assert!(!seeds.is_empty(), "no seeds");
        Self { seeds }
    }

    /// The input with this number: always the same bytes for the same seeds.
    pub fn input(&self, number: u64) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(number);
        let mut bytes = self.seeds[rng.random_range(0..self.seeds.len())].clone();
        for _ in 0..rng.random_range(1..=8) {
            self.change(&mut bytes, &mut rng);
            bytes.truncate(MAX_BYTES);
        }
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        if bytes.is_empty() {
            bytes.push(rng.random());
            return;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..=64)).min(bytes.len());
        match rng.random_range(0..10) {
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = rng.random(),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let piece = bytes[at..end].to_vec();
                for _ in 0..rng.random_range(1..=16) {
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            6 => {
                let other = &self.seeds[rng.random_range(0..self.seeds.len())];
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => digits(bytes, at, rng),
            _ => {
                // Lengths and counts in all widths and both orders of bytes.
                let number = INTERESTING[rng.random_range(0..INTERESTING.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let mut number = number.to_le_bytes()[..width].to_vec();
                if rng.random() {
                    number.reverse();
                }
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number);
            }
        }
    }
}

/// Replaces the next number that is written in digits.
fn digits(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(start) = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) else {
        return;
    };
    let length = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = INTERESTING[rng.random_range(0..INTERESTING.len())].to_string();
    bytes.splice(start..start + length, number.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::Mutator;

    #[test]
    fn an_input_is_made_again_by_its_number() {
        let seeds = [b"shape (3, 4)".to_vec(), vec![0; 100]];
        let mutator = Mutator::new(&seeds);
        let inputs: Vec<_> = (0..200).map(|number| mutator.input(number)).collect();
        assert!((0..200).all(|number| inputs[number as usize] == mutator.input(number)));
        let others = inputs.iter().filter(|input| !seeds.contains(input)).count();
        assert!(others > 190, "{others} of 200 differ from the seeds");
    }
}
