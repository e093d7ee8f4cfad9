//! Ticks that are round, or stand at the values themselves, and their labels.

/// Multiples of 1, 2 or 5 times a power of ten within the range, at most about `most`.
pub fn round_ticks((low, high): (f64, f64), most: usize) -> Vec<f64> {
    let least = (high - low) / most as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power);
    // A tick that misses an end by the last bit of a division is still at the end.
    let slack = step * 1e-9;
    let first = ((low - slack) / step).ceil() as i64;
    (0..=2 * most as i64)
        .map(|n| (first + n) as f64 * step)
        .take_while(|tick| *tick <= high + slack)
        .collect()
}

/// The values that occur, less those whose labels would touch; the smallest and the largest stay.
/// `place` gives where a value lies, from 0 to 1.
pub fn thinned(values: &[(f64, f64)], most: usize, place: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = values
        .iter()
        .flat_map(|(low, high)| [*low, *high])
        .filter(|value| value.is_finite())
        .collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let (Some(first), Some(last)) = (all.first().copied(), all.last().copied()) else {
        return Vec::new();
    };
    let gap = 1.0 / most as f64;
    let far = |a: f64, b: f64| (place(a) - place(b)).abs() >= gap;
    let mut kept = vec![first];
    for value in all {
        if value < last && kept.last().is_some_and(|kept| far(value, *kept)) && far(value, last) {
            kept.push(value);
        }
    }
    if last > first {
        kept.push(last);
    }
    kept
}

/// Each tick with its label. All labels of an axis have the same unit and as many decimals as the
/// one that needs most, so that they can be compared at a glance.
pub fn labelled(ticks: Vec<f64>) -> Vec<(f64, String)> {
    let largest = ticks
        .iter()
        .fold(0.0, |most: f64, tick| most.max(tick.abs()));
    if largest > 0.0 && largest < 1e-3 {
        let label = |tick: &f64| {
            if *tick == 0.0 {
                "0".to_owned()
            } else {
                with_minus(format!("{tick:.0e}"))
            }
        };
        return ticks.iter().map(|tick| (*tick, label(tick))).collect();
    }
    let (unit, suffix) = if largest >= 1e6 {
        (1e6, "M")
    } else if largest >= 1e4 {
        (1e3, "k")
    } else {
        (1.0, "")
    };
    // "6.14k" says enough of 6,144: the tooltip holds the exact number.
    let most = if suffix.is_empty() { 4 } else { 2 };
    let places = ticks
        .iter()
        .map(|tick| decimals(tick / unit, most))
        .max()
        .unwrap_or(0);
    let label = |tick: &f64| {
        if *tick == 0.0 {
            "0".to_owned()
        } else {
            with_minus(format!("{:.places$}{suffix}", tick / unit))
        }
    };
    ticks.iter().map(|tick| (*tick, label(tick))).collect()
}

/// Decimals that a value needs, at most `most`.
fn decimals(value: f64, most: usize) -> usize {
    let scaled = |places: usize| value * 10f64.powi(places as i32);
    let whole = |value: f64| (value - value.round()).abs() < 1e-6 * value.abs().max(1.0);
    (0..most)
        .find(|places| whole(scaled(*places)))
        .unwrap_or(most)
}

/// A typographic minus instead of a hyphen.
fn with_minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_ticks_cover_the_range() {
        let third = 3.0 * 0.2; // 0.6000000000000001
        assert_eq!(round_ticks((0.0, 1.0), 5), [0.0, 0.2, 0.4, third, 0.8, 1.0]);
        assert_eq!(round_ticks((3.0, 47.0), 5), [10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn ticks_stand_at_granularities_that_do_not_touch() {
        let values = [2.0, 10.0, 11.0, 12.0, 80.0].map(|c| (c, c));
        let place = |c: f64| (c / 2.0).ln() / 40f64.ln();
        assert_eq!(thinned(&values, 6, place), [2.0, 10.0, 80.0]);
        assert_eq!(thinned(&values[..1], 6, place), [2.0]);
    }

    fn check_labels(ticks: &[f64], expect: &[&str]) {
        let found: Vec<String> = labelled(ticks.to_vec())
            .into_iter()
            .map(|tick| tick.1)
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn labels_of_an_axis_look_alike() {
        check_labels(&[0.0, 0.25, 0.5], &["0", "0.25", "0.50"]);
        check_labels(&[6_000.0, 12_000.0, 24_000.0], &["6k", "12k", "24k"]);
        check_labels(&[6_144.0, 12_288.0], &["6.14k", "12.29k"]);
        check_labels(&[2.5e6, 5e6], &["2.5M", "5.0M"]);
        check_labels(&[-3.0, 0.0], &["−3", "0"]);
        check_labels(&[0.00001, 0.00002], &["1e-5", "2e-5"]);
        check_labels(&[-0.0, 3.0 * 0.2], &["0", "0.6"]);
    }
}
