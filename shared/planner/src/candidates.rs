//! Which of the passing C are worth a network: few, spread evenly on a logarithmic scale, the
//! largest always.

/// At most `count` of `passing` (ascending), evenly spread on a logarithmic scale, the largest
/// always among them; ascending.
pub fn spread(passing: &[u32], count: u32) -> Vec<u32> {
    let (Some(first), Some(last)) = (passing.first().copied(), passing.last().copied()) else {
        return Vec::new();
    };
    let count = count.max(1) as usize;
    if passing.len() <= count {
        return passing.to_vec();
    }
    if count == 1 {
        return vec![last];
    }
    let mut left: Vec<u32> = passing.to_vec();
    let mut chosen = Vec::new();
    for i in (0..count).rev() {
        let share = i as f64 / (count - 1) as f64;
        let target = f64::from(first).ln() * (1.0 - share) + f64::from(last).ln() * share;
        // Of two equally near ones the larger: in steps of 1e-9, so that rounding does not decide.
        let off = |index: &usize| ((f64::from(left[*index]).ln() - target).abs() * 1e9).round();
        if let Some(nearest) = (0..left.len())
            .rev()
            .min_by(|a, b| off(a).total_cmp(&off(b)))
        {
            chosen.push(left.remove(nearest));
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::spread;
    use proptest::prelude::*;

    #[test]
    fn candidates_spread_over_the_decades() {
        for (passing, count, expect) in [
            (vec![], 3, vec![]),
            (vec![10], 3, vec![10]),
            (vec![10, 20, 40], 3, vec![10, 20, 40]),
            (vec![10, 20, 40, 80, 85, 90], 1, vec![90]),
            (vec![10, 20, 40, 80, 85, 90], 2, vec![10, 90]),
            (vec![10, 20, 40, 80, 85, 90], 3, vec![10, 40, 90]),
            (vec![5, 10, 20, 40], 3, vec![5, 20, 40]),
            (vec![50, 100, 200, 400, 500], 4, vec![50, 100, 200, 500]),
        ] {
            assert_eq!(spread(&passing, count), expect, "{passing:?} {count}");
        }
    }

    proptest! {
        #[test]
        fn the_largest_is_always_there_and_none_twice(set in prop::collection::btree_set(2u32..100_000, 1..30), count in 1u32..12) {
            let passing: Vec<u32> = set.into_iter().collect();
            let chosen = spread(&passing, count);
            prop_assert_eq!(chosen.len(), passing.len().min(count as usize));
            prop_assert_eq!(chosen.last(), passing.last());
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|c| passing.contains(c)));
        }
    }
}
