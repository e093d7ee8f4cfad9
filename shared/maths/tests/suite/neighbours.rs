//! Neighbours and balls against loops over all pairs. Features are small whole numbers, so that
//! exact ties are everywhere.

use crate::set;
use cedm_maths::{Features, authenticity, nearest, prdc, radii, realism};
use proptest::prelude::*;

const WIDTH: usize = 3;

fn rows(least: usize) -> impl Strategy<Value = Vec<f64>> {
    (least..40usize)
        .prop_flat_map(|n| proptest::collection::vec((-3i32..4).prop_map(f64::from), n * WIDTH))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y) * (x - y))
        .sum::<f64>()
        .sqrt()
}

fn row(values: &[f64], index: usize) -> &[f64] {
    &values[index * WIDTH..][..WIDTH]
}

fn plain_radii(values: &[f64], k: usize) -> Vec<f64> {
    let n = values.len() / WIDTH;
    (0..n)
        .map(|i| {
            let mut others: Vec<f64> = (0..n)
                .filter(|&j| j != i)
                .map(|j| distance(row(values, i), row(values, j)))
                .collect();
            others.sort_by(f64::total_cmp);
            others[k - 1]
        })
        .collect()
}

fn plain_prdc(real: &[f64], fake: &[f64], k: usize) -> [f64; 4] {
    let (real_radii, fake_radii) = (plain_radii(real, k), plain_radii(fake, k));
    let (n, m) = (real_radii.len(), fake_radii.len());
    let d = |i: usize, j: usize| distance(row(real, i), row(fake, j));
    let share = |hits: usize, of: usize| hits as f64 / of as f64;
    let memberships = (0..n)
        .map(|i| (0..m).filter(|&j| d(i, j) < real_radii[i]).count())
        .sum::<usize>();
    [
        share(
            (0..m)
                .filter(|&j| (0..n).any(|i| d(i, j) < real_radii[i]))
                .count(),
            m,
        ),
        share(
            (0..n)
                .filter(|&i| (0..m).any(|j| d(i, j) < fake_radii[j]))
                .count(),
            n,
        ),
        memberships as f64 / (k * m) as f64,
        share(
            (0..n)
                .filter(|&i| (0..m).any(|j| d(i, j) < real_radii[i]))
                .count(),
            n,
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn balls_are_strict_and_exact(real in rows(6), fake in rows(6), k in 1usize..6) {
        let expected = plain_prdc(&real, &fake, k);
        for kind in [tch::Kind::Double, tch::Kind::Float] {
            let typed = |name: &str, values: &[f64]| Features::new(name, &set(name, values, WIDTH).rows().to_kind(kind)).unwrap();
            let found = prdc(&typed("real", &real), &typed("fake", &fake), k as i64).unwrap();
            prop_assert_eq!([found.precision, found.recall, found.density, found.coverage], expected);
        }
    }

    #[test]
    fn what_is_precision_one_way_is_recall_the_other(real in rows(6), fake in rows(6)) {
        let (real, fake) = (set("real", &real, WIDTH), set("fake", &fake, WIDTH));
        let (there, back) = (prdc(&real, &fake, 5).unwrap(), prdc(&fake, &real, 5).unwrap());
        prop_assert_eq!((there.precision, there.recall), (back.recall, back.precision));
    }

    #[test]
    fn radii_and_nearest_are_exact(real in rows(7), fake in rows(1), k in 1usize..7) {
        let (a, b) = (set("real", &real, WIDTH), set("fake", &fake, WIDTH));
        prop_assert_eq!(radii(&a, k as i64).unwrap(), plain_radii(&real, k));
        for (j, near) in nearest(&b, &a).unwrap().into_iter().enumerate() {
            let distances: Vec<f64> = (0..real.len() / WIDTH).map(|i| distance(row(&real, i), row(&fake, j))).collect();
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let first = distances.iter().position(|&d| d == least).unwrap();
            prop_assert_eq!((near.index, near.distance), (first as i64, least));
        }
    }

    #[test]
    fn realism_is_the_largest_ratio(real in rows(6), fake in rows(1)) {
        let radii = plain_radii(&real, 2);
        let mut sorted = radii.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
        let small: Vec<usize> = (0..radii.len()).filter(|&i| radii[i] < median).collect();
        prop_assume!(!small.is_empty() && small.iter().any(|&i| radii[i] > 0.0));
        let found = realism(&set("real", &real, WIDTH), &set("fake", &fake, WIDTH), 2).unwrap();
        for (j, score) in found.into_iter().enumerate() {
            let ratio = |&i: &usize| {
                let d = distance(row(&real, i), row(&fake, j));
                if d == 0.0 { f64::INFINITY } else { radii[i] / d }
            };
            let expected = small.iter().map(ratio).fold(0.0, f64::max);
            prop_assert!(score == expected || (score / expected - 1.0).abs() < 1e-12, "{score} \
                {expected}");
        }
    }

    #[test]
    fn copies_are_never_authentic(real in rows(2)) {
        let real = set("real", &real, WIDTH);
        prop_assert_eq!(authenticity(&real, &real).unwrap().percent, 0.0);
    }
}

#[test]
fn far_from_the_origin_and_in_many_tiles_nothing_changes() {
    // A mean a million times the spread would drown a plain dot-product expansion, and 5,000 rows
    // need several tiles.
    let values: Vec<f64> = (0..5_000 * WIDTH)
        .map(|i| 1e6 + (i as f64 * 0.7).sin())
        .collect();
    let found = radii(&set("far", &values, WIDTH), 3).unwrap();
    for i in [0, 1234, 4999] {
        let mut others: Vec<f64> = (0..5_000)
            .filter(|&j| j != i)
            .map(|j| distance(row(&values, i), row(&values, j)))
            .collect();
        others.sort_by(f64::total_cmp);
        assert_eq!(found[i], others[2]);
    }
}
