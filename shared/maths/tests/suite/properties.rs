//! What must hold for any features.

use crate::set;
use cedm_maths::{
    Features, Moments, Order, area_under_roc, frechet, frechet_to, kid, sliced_wasserstein,
    sliced_wasserstein_of_gaussians, vendi,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Random rows with a mean, mixed features and, where `width` exceeds `count`, a singular
/// covariance.
fn random(seed: u64, count: usize, width: usize) -> Features {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mix: Vec<f64> = (0..width * width)
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    let mut values = Vec::with_capacity(count * width);
    for _ in 0..count {
        let row: Vec<f64> = (0..width).map(|_| random.random_range(-1.0..1.0)).collect();
        values.extend(
            (0..width).map(|j| 0.3 + (0..width).map(|i| row[i] * mix[i * width + j]).sum::<f64>()),
        );
    }
    set("random", &values, width)
}

fn moments(features: &Features, from: usize, to: usize) -> Moments {
    Moments::of(
        &features
            .select(&(from as i64..to as i64).collect::<Vec<_>>())
            .unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_set_is_at_no_distance_from_itself(seed: u64, count in 2usize..60, width in 1usize..20) {
        let gaussian = Moments::of(&random(seed, count, width)).gaussian().unwrap();
        let found = frechet(&gaussian, &gaussian).unwrap();
        prop_assert!(found.distance <= 1e-9 * (found.traces[0] + 1e-9), "{found:?}");
    }

    #[test]
    fn distance_is_symmetric(seed: u64, count in 2usize..60, width in 1usize..20) {
        let a = Moments::of(&random(seed, count, width)).gaussian().unwrap();
        let b = Moments::of(&random(seed ^ 1, count + 7, width)).gaussian().unwrap();
        let (there, back) = (frechet(&a, &b).unwrap(), frechet(&b, &a).unwrap());
        // Few rows have a singular covariance. Its roots come from eigenvalues where that costs at
        // most 1e-7 of the distance, and the two ways round differently.
        let is_singular = count <= width;
        let allowed = if is_singular { 2e-7 } else { 1e-9 } * there.distance;
        prop_assert!((there.distance - back.distance).abs() <= allowed, "{there:?} {back:?}");
    }

    #[test]
    fn merged_shards_are_the_whole_whatever_the_cut_and_the_order(
        seed: u64, count in 4usize..80, width in 1usize..24, cuts in proptest::collection::vec(1usize..80, 0..6),
    ) {
        let (whole, other) = (random(seed, count, width), random(seed ^ 1, count, width));
        let reference = Moments::of(&other).gaussian().unwrap();
        let root = reference.root().unwrap();
        let expected = frechet_to(&root, &reference, &Moments::of(&whole).gaussian().unwrap()).unwrap();
        let mut bounds: Vec<usize> = cuts.into_iter().map(|cut| cut % count).filter(|&cut| cut > 0).collect();
        bounds.extend([0, count]);
        bounds.sort_unstable();
        bounds.dedup();
        let mut shards: Vec<Moments> = bounds.windows(2).map(|pair| moments(&whole, pair[0], pair[1])).collect();
        shards.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut merged = shards.pop().unwrap();
        for shard in &shards {
            merged.merge(shard).unwrap();
        }
        prop_assert_eq!(merged.count() as usize, count);
        let found = frechet_to(&root, &reference, &merged.gaussian().unwrap()).unwrap();
        prop_assert!((found.distance - expected.distance).abs() <= 1e-9 * expected.distance, "{found:?} {expected:?}");
    }

    #[test]
    fn distance_is_that_of_diagonal_gaussians_in_closed_form(
        spreads in proptest::collection::vec((0.0f64..3.0, 0.0f64..3.0, -2.0f64..2.0), 1..12),
    ) {
        let gaussian = |mu: Vec<f64>, variance: Vec<f64>| {
            let sigma = tch::Tensor::from_slice(&variance).diag_embed(0, 0, 1);
            cedm_maths::Gaussian::new("diagonal", &tch::Tensor::from_slice(&mu), &sigma).unwrap()
        };
        let a = gaussian(vec![0.0; spreads.len()], spreads.iter().map(|s| s.0 * s.0).collect());
        let b = gaussian(spreads.iter().map(|s| s.2).collect(), spreads.iter().map(|s| s.1 * s.1).collect());
        let expected: f64 = spreads.iter().map(|(x, y, m)| m * m + (x - y) * (x - y)).sum();
        let found = frechet(&a, &b).unwrap();
        prop_assert!((found.distance - expected).abs() <= 1e-9 * (1.0 + expected), "{found:?} \
            {expected}");
    }

    #[test]
    fn the_kernel_distance_is_symmetric(seed: u64, width in 1usize..10) {
        let (a, b) = (random(seed, 20, width), random(seed ^ 1, 25, width));
        let (x, y): (Vec<i64>, Vec<i64>) = ((0..10).collect(), (5..15).collect());
        let there = kid(&a, &b, &[(x.clone(), y.clone())]).unwrap()[0];
        let back = kid(&b, &a, &[(y, x)]).unwrap()[0];
        prop_assert!((there - back).abs() <= 1e-9 * (1.0 + there.abs()));
    }

    #[test]
    fn areas_of_both_ways_sum_to_one(a in proptest::collection::vec(-3i32..4, 1..40), b in proptest::collection::vec(-3i32..4, 1..40)) {
        let (a, b): (Vec<f64>, Vec<f64>) = (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
        prop_assert!((area_under_roc(&a, &b).unwrap() + area_under_roc(&b, &a).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn vendi_counts_between_one_and_all_and_falls_with_the_order(seed: u64, count in 2usize..30, width in 1usize..10) {
        let features = random(seed, count, width);
        let [one, two, infinity] = [Order::One, Order::Two, Order::Infinity].map(|order| vendi(&features, order).unwrap());
        prop_assert!(1.0 - 1e-9 <= infinity && infinity <= two + 1e-9 && two <= one + 1e-9 && one <= count.min(width) as f64 + 1e-9);
    }

    #[test]
    fn sliced_distance_is_the_same_from_features_and_from_moments(seed: u64, count in 2usize..40, width in 1usize..10) {
        let (a, b) = (random(seed, count, width), random(seed ^ 1, count + 3, width));
        let gaussian = |features: &Features| Moments::of(features).gaussian().unwrap();
        let merged = sliced_wasserstein_of_gaussians((&gaussian(&a), a.count()), (&gaussian(&b), b.count())).unwrap();
        let direct = sliced_wasserstein(&a, &b).unwrap();
        prop_assert!((merged - direct).abs() <= 1e-8 * (1.0 + direct), "{merged} {direct}");
    }
}

#[test]
fn sets_of_different_width_are_rejected() {
    let (a, b) = (random(1, 10, 4), random(2, 10, 5));
    let message = frechet(
        &Moments::of(&a).gaussian().unwrap(),
        &Moments::of(&b).gaussian().unwrap(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("5 features per row") && message.contains("has 4"),
        "{message}"
    );
    let message = Moments::of(&random(1, 1, 4))
        .gaussian()
        .unwrap_err()
        .to_string();
    assert_eq!(message, "random has 1 rows, a covariance needs at least 2");
    let message = cedm_maths::prdc(&random(1, 5, 4), &a, 5)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("has 5 rows") && message.contains("at least 6"),
        "{message}"
    );
}
