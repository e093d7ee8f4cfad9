//! Values that change from step to step of a training.

/// Half a cosine from `first` at 0 towards `last` at `total`:
/// last + ½ (first − last)(1 + cos(π at / total)). `last` itself is not reached, since the last
/// step is `total` − 1.
pub fn cosine(first: f64, last: f64, at: u64, total: u64) -> f64 {
    let angle = std::f64::consts::PI * at as f64 / total.max(1) as f64;
    last + 0.5 * (first - last) * (1.0 + angle.cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_begins_at_the_first_value_and_is_half_way_in_the_middle() {
        assert!((cosine(0.04, 0.4, 0, 10) - 0.04).abs() < 1e-15);
        assert!((cosine(0.04, 0.4, 5, 10) - 0.22).abs() < 1e-15);
        assert!(cosine(0.04, 0.4, 9, 10) < 0.4);
        assert_eq!(cosine(0.3, 0.3, 7, 10), 0.3);
        assert_eq!(cosine(1.0, 0.0, 0, 0), 1.0);
    }
}
