//! Which C up to C_max are worth a network: few, spread evenly on a logarithmic scale, the largest
//! always.

use cedm_contract::kinds::bound::BoundResult;
use cedm_sweep::{BoundSpec, CandidateRule};

/// The C that a clustering which asks for `"bound"` trains, ascending; none where no C passes.
pub(crate) fn candidates(found: &BoundResult, spec: &BoundSpec) -> Vec<u32> {
    let (passing, Some(c_max)) = (found.passing(), found.c_max()) else {
        return Vec::new();
    };
    if !spec.candidate_list.is_empty() {
        let within = spec.candidate_list.iter().copied().filter(|c| *c <= c_max);
        let within: Vec<u32> = within.collect();
        return if within.is_empty() {
            vec![c_max]
        } else {
            within
        };
    }
    match spec.candidate_rule {
        CandidateRule::Probes => spread(&passing, spec.candidates),
        CandidateRule::Logarithmic => {
            let first = passing.first().copied().unwrap_or(c_max);
            logarithmic(first, c_max, spec.candidates)
        }
    }
}

/// At most `count` round numbers from `first` to `last`, evenly spread on a logarithmic scale; both
/// ends as they are, `last` alone for a count of 1. Ascending.
fn logarithmic(first: u32, last: u32, count: u32) -> Vec<u32> {
    let count = count.max(1);
    let (low, high) = (f64::from(first).ln(), f64::from(last).ln());
    let place = |i: u32| {
        let share = f64::from(i) / f64::from(count - 1);
        round((low * (1.0 - share) + high * share).exp()).clamp(first, last)
    };
    let mut chosen: Vec<u32> = match count {
        1 => vec![last],
        _ => (1..count - 1).map(place).chain([first, last]).collect(),
    };
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The roundest number within 5 % of a number: a multiple of the largest of 1, 2, 5, 10, 20, 25,
/// 50, 100, … that allows it.
fn round(value: f64) -> u32 {
    let steps = (0..9).flat_map(|power| {
        let ten = 10f64.powi(power);
        let quarter = (power > 0).then_some(2.5 * ten);
        [Some(ten), Some(2.0 * ten), quarter, Some(5.0 * ten)]
    });
    let nearest = |step: f64| (value / step).round() * step;
    let fits = |rounded: &f64| (rounded - value).abs() <= 0.05 * value;
    let rounded = steps.flatten().map(nearest).rfind(fits);
    rounded.unwrap_or_else(|| value.round()) as u32
}

/// At most `count` of `passing` (ascending), evenly spread on a logarithmic scale, the largest
/// always among them; ascending.
fn spread(passing: &[u32], count: u32) -> Vec<u32> {
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
    use super::{candidates, logarithmic, round, spread};
    use cedm_contract::kinds::bound::{BoundDecision, BoundParams, BoundResult, Probe};
    use cedm_sweep::{BoundSpec, CandidateRule};
    use proptest::prelude::*;

    /// The search on the published utilisations of FFHQ: C_max = 600.
    fn ffhq() -> BoundResult {
        let used = [
            (50, 50),
            (100, 100),
            (200, 197),
            (400, 392),
            (500, 488),
            (600, 578),
            (700, 665),
            (800, 756),
        ];
        let probe = |(clusters, used): (u32, u32)| {
            let utilisation = f64::from(used) / f64::from(clusters);
            Probe {
                clusters,
                used: vec![used],
                utilisation,
                utilisation_std: None,
                passes: utilisation > 0.96,
            }
        };
        BoundResult {
            probes: used.map(probe).into(),
            decision: BoundDecision::Found {
                c_max: Some(600),
                reason: String::new(),
            },
        }
    }

    fn bound(count: u32, rule: CandidateRule, list: &[u32]) -> BoundSpec {
        BoundSpec {
            params: BoundParams::default(),
            candidates: count,
            candidate_rule: rule,
            candidate_list: list.to_vec(),
            lower_bound: false,
            lower_bound_clusters: Vec::new(),
        }
    }

    #[test]
    fn candidates_can_hit_the_published_optimum_of_ffhq() {
        let of = |count, rule, list: &[u32]| candidates(&ffhq(), &bound(count, rule, list));
        let logarithmic = CandidateRule::Logarithmic;
        assert_eq!(of(4, logarithmic, &[]), [50, 120, 250, 600]);
        assert_eq!(
            of(8, logarithmic, &[]),
            [50, 70, 100, 150, 200, 300, 400, 600],
            "C_V = 400 among them"
        );
        assert_eq!(
            of(3, logarithmic, &[100, 400, 800]),
            [100, 400],
            "800 is above C_max"
        );
        assert_eq!(
            of(1, logarithmic, &[800]),
            [600],
            "C_max where all are above"
        );
        // As it was: whatever the count below 8, the probes around 400 are nearer to the ends.
        assert_eq!(of(4, CandidateRule::Probes, &[]), [50, 100, 200, 600]);
    }

    #[test]
    fn numbers_are_as_round_as_five_percent_allow() {
        for (value, expect) in [
            (3.2, 3),
            (17.3, 18),
            (30.0, 30),
            (71.3, 70),
            (262.1, 250),
            (420.7, 400),
            (1_234.0, 1_250),
            (9_700.0, 10_000),
        ] {
            assert_eq!(round(value), expect, "{value}");
        }
    }

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
        fn logarithmic_candidates_lie_within_and_hold_both_ends(first in 2u32..500, more in 0u32..100_000, count in 1u32..20) {
            let last = first + more;
            let chosen = logarithmic(first, last, count);
            prop_assert!(chosen.len() <= count as usize && chosen.last() == Some(&last));
            prop_assert!(count == 1 || chosen.first() == Some(&first));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|c| (first..=last).contains(c)));
        }

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
