//! NumPy's legacy permutations: dgm-eval and torch-fidelity fix their subsets and shuffles by a
//! NumPy seed, so the same rows can only be chosen by the same generator (spec §10.2, §10.5).

/// MT19937 as `numpy.random.RandomState(seed)` seeds it; constants are those of the generator's
/// definition (Matsumoto & Nishimura 1998).
struct MersenneTwister {
    state: [u32; 624],
    next: usize,
}

impl MersenneTwister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624 {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(i as u32);
        }
        Self { state, next: 624 }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == 624 {
            // All 624 words are used up: the generator's recurrence makes the next ones.
            for i in 0..624 {
                let mixed =
                    (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % 624] & 0x7fff_ffff);
                let twist = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % 624] ^ (mixed >> 1) ^ twist;
            }
            self.next = 0;
        }
        // Tempering, which improves the distribution of the upper bits.
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in 0..=most, by masking and rejection as NumPy's legacy `interval` does.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= most {
                return value;
            }
        }
    }
}

/// What `numpy.random.RandomState(seed).permutation(count)` returns. Its first k entries are what
/// `choice(count, k, replace=False)` returns.
pub fn numpy_permutation(seed: u32, count: u32) -> Vec<i64> {
    let mut random = MersenneTwister::new(seed);
    let mut order: Vec<i64> = (0..i64::from(count)).collect();
    // Fisher and Yates from the end, with the draws in NumPy's order.
    for last in (1..count).rev() {
        order.swap(last as usize, random.up_to(last) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_equal_those_of_numpy() {
        assert_eq!(
            numpy_permutation(2020, 12),
            [2, 1, 11, 4, 10, 5, 7, 9, 6, 3, 8, 0]
        );
        assert_eq!(
            numpy_permutation(7, 2000)[..6],
            [1072, 1048, 204, 694, 1758, 284]
        );
        let long = numpy_permutation(13579, 50_000);
        assert_eq!(
            [long[0], long[1], long[2], long[49_999]],
            [5447, 36202, 32977, 47296]
        );
        assert_eq!(numpy_permutation(2020, 1), [0]);
        assert!(numpy_permutation(2020, 0).is_empty());
    }
}
