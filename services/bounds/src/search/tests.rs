//! The search on published tables, against brute force, and in edge cases.

use super::*;
use proptest::prelude::*;

fn params(alpha: f64, start: u32, cap: u32, fine: FineGrid) -> BoundParams {
    BoundParams {
        alpha,
        start,
        cap,
        fine,
        seeds: 1,
    }
}

/// The published utilisation of CIFAR-10, TEMI beta 0.6 on DINO ViT-B/16 (spec §14).
fn cifar10(clusters: u32) -> u32 {
    match clusters {
        50 => 50,
        100 => 100,
        200 => 199,
        300 => 295,
        400 => 391,
        500 => 490,
        600 => 558,
        800 => 741,
        other => panic!("C = {other} is not in the published table"),
    }
}

fn c_max(result: &BoundResult) -> Option<u32> {
    match &result.decision {
        BoundDecision::Found { c_max, .. } => *c_max,
        BoundDecision::Probe { .. } => panic!("the search is not over"),
    }
}

#[test]
fn the_published_table_of_cifar10_gives_500() {
    let grid = FineGrid::Step { step: 100 };
    for (alpha, expected) in [
        (0.90, 800),
        (0.94, 700),
        (0.95, 500),
        (0.96, 500),
        (0.97, 500),
    ] {
        let result = if alpha > 0.92 {
            search(&params(alpha, 50, 800, grid), 50_000, |c| {
                vec![if c == 700 { 660 } else { cifar10(c) }]
            })
        } else {
            search(&params(alpha, 50, 800, grid), 50_000, |c| vec![cifar10(c)])
        };
        assert_eq!(
            c_max(&result.expect("a valid search")),
            Some(expected),
            "alpha {alpha}"
        );
    }
}

#[test]
fn a_failure_by_noise_ends_doubling() {
    let result = search(
        &params(0.98, 50, 12_800, FineGrid::Step { step: 100 }),
        50_000,
        |c| vec![cifar10(c)],
    )
    .expect("valid");
    assert_eq!(c_max(&result), Some(300));
    assert_eq!(
        result.probes.iter().map(|p| p.clusters).collect::<Vec<_>>(),
        [50, 100, 200, 300, 400]
    );
}

#[test]
fn ties_fail_because_the_comparison_is_strict() {
    let result = search(
        &params(0.96, 600, 600, FineGrid::Step { step: 100 }),
        50_000,
        |_| vec![576],
    )
    .expect("valid");
    assert_eq!(c_max(&result), None);
}

#[test]
fn the_highest_passing_c_wins_over_the_first_failure() {
    let used = |c: u32| {
        if c == 20 || c == 60 || c <= 10 {
            c
        } else {
            c / 2
        }
    };
    let result = search(
        &params(0.9, 10, 1000, FineGrid::Step { step: 10 }),
        5_000,
        |c| vec![used(c)],
    )
    .expect("valid");
    assert_eq!(c_max(&result), Some(20));
    let result = search(
        &params(0.9, 20, 1000, FineGrid::Step { step: 5 }),
        5_000,
        |c| vec![if c == 35 { 35 } else { used(c) }],
    )
    .expect("valid");
    assert_eq!(c_max(&result), Some(35), "25 and 30 fail, 35 passes");
}

#[test]
fn the_first_c_may_fail() {
    let result = search(
        &params(0.96, 50, 800, FineGrid::Step { step: 100 }),
        50_000,
        |_| vec![10],
    )
    .expect("valid");
    assert_eq!(c_max(&result), None);
    assert_eq!(result.probes.len(), 1);
}

#[test]
fn a_start_above_the_images_probes_nothing() {
    let result = search(
        &params(0.96, 50, 800, FineGrid::Step { step: 100 }),
        40,
        |_| panic!("nothing to probe"),
    )
    .expect("valid");
    assert_eq!(c_max(&result), None);
}

#[test]
fn a_cap_ends_the_search_and_is_itself_allowed() {
    let result = search(
        &params(0.96, 10, 35, FineGrid::Step { step: 5 }),
        1_000,
        |c| vec![c],
    )
    .expect("valid");
    assert_eq!(c_max(&result), Some(35));
    let by_images = search(
        &params(0.96, 10, 800, FineGrid::Step { step: 5 }),
        30,
        |c| vec![c],
    )
    .expect("valid");
    assert_eq!(c_max(&by_images), Some(30));
    let BoundDecision::Found { reason, .. } = by_images.decision else {
        panic!("over")
    };
    assert!(reason.contains("30 images"), "{reason}");
}

/// The published utilisation of FFHQ, TEMI beta 0.6 on DINO ViT-B/16 (spec §14).
fn ffhq(clusters: u32) -> u32 {
    match clusters {
        50 | 100 => clusters,
        200 => 197,
        400 => 392,
        500 => 488,
        600 => 578,
        700 => 665,
        800 => 756,
        other => panic!("C = {other} is not in the published table"),
    }
}

#[test]
fn the_default_grid_is_that_of_the_published_runs() {
    type Used = fn(u32) -> u32;
    let tables: [(Used, u32); 2] = [(cifar10, 500), (ffhq, 600)];
    for (table, expected) in tables {
        let defaults = BoundParams::default();
        let result = search(&defaults, 70_000, |c| {
            vec![if c == 700 { 665 } else { table(c) }]
        });
        let result = result.expect("valid");
        assert_eq!(c_max(&result), Some(expected));
        let probed: Vec<u32> = result.probes.iter().map(|probe| probe.clusters).collect();
        assert_eq!(probed, [50, 100, 200, 400, 500, 600, 700, 800]);
        assert_eq!(result.fails_above(), Some(expected + 100));
    }
}

#[test]
fn the_step_follows_the_interval() {
    // Up to 80 every cluster is used, from there on 80 are: doubling fails at 100 already.
    let used = |c: u32| vec![c.min(80)];
    let result = search(&BoundParams::default(), 1_000, used).expect("valid");
    let probed: Vec<u32> = result.probes.iter().map(|probe| probe.clusters).collect();
    assert_eq!(probed, [50, 62, 75, 87, 100]);
    assert_eq!((c_max(&result), result.fails_above()), (Some(75), Some(87)));
    let said = "doubling passed at 50 and failed at 100, with 3 finer C between them; C_max is \
                known to lie from 75 to below 87";
    let reason = |result: &BoundResult| match &result.decision {
        BoundDecision::Found { reason, .. } => reason.clone(),
        BoundDecision::Probe { .. } => panic!("the search is not over"),
    };
    assert_eq!(reason(&result), said);
    // A step that was asked for and is as large as the interval finds nothing in it, and says so.
    let coarse = params(0.96, 50, 800, FineGrid::Step { step: 100 });
    let result = search(&coarse, 1_000, used).expect("valid");
    assert_eq!(c_max(&result), Some(50));
    let said = "doubling passed at 50 and failed at 100, and no C between them was tried; C_max is \
                known to lie from 50 to below 100";
    assert_eq!(reason(&result), said);
    // The cap is itself allowed.
    let capped = params(0.96, 10, 35, FineGrid::default());
    let result = search(&capped, 1_000, used).expect("valid");
    assert_eq!((c_max(&result), result.fails_above()), (Some(35), None));
}

#[test]
fn seeds_are_averaged() {
    let observation = Observation {
        clusters: 100,
        used: vec![95, 99],
    };
    assert_eq!(utilisation(&observation), 0.97);
    assert!((spread(&observation).unwrap() - 0.02 * 2f64.sqrt()).abs() < 1e-15);
    let grid = FineGrid::Step { step: 100 };
    let result = next(&[observation], &params(0.96, 100, 100, grid), 1_000).expect("valid");
    assert_eq!(
        (c_max(&result), result.probes[0].used.len()),
        (Some(100), 2),
        "the mean decides"
    );
    assert_eq!(
        spread(&Observation {
            clusters: 7,
            used: vec![5]
        }),
        None
    );
}

#[test]
fn errors_name_the_parameter_and_the_probe() {
    let grid = FineGrid::Step { step: 10 };
    let text = |history: &[Observation], p: &BoundParams| {
        next(history, p, 100).expect_err("wrong").to_string()
    };
    assert_eq!(
        text(&[], &params(1.0, 10, 80, grid)),
        "bound.alpha is 1, expected a number above 0 and below 1"
    );
    assert_eq!(
        text(&[], &params(0.9, 1, 80, grid)),
        "bound.start is 1, expected at least 2 clusters"
    );
    assert_eq!(
        text(&[], &params(0.9, 10, 80, FineGrid::Step { step: 0 })),
        "bound.step is 0, expected at least 1"
    );
    assert_eq!(
        text(&[], &params(0.9, 10, 80, FineGrid::Interval { parts: 1 })),
        "bound.parts is 0 or 1, expected at least 2"
    );
    let twice = Observation {
        clusters: 10,
        used: vec![10],
    };
    assert_eq!(
        text(&[twice.clone(), twice], &params(0.9, 10, 80, grid)),
        "the probe at C = 10 is given twice"
    );
    let many = Observation {
        clusters: 10,
        used: vec![11],
    };
    assert_eq!(
        text(&[many], &params(0.9, 10, 80, grid)),
        "the probe at C = 10 uses 11 clusters, expected 1 to 10"
    );
}

/// The same search by brute force over a complete table: no state, no early end.
fn brute_force(table: &[u32], alpha: f64, start: u32, cap: u32, step: u32) -> Option<u32> {
    let passes = |c: u32| f64::from(table[c as usize]) / f64::from(c) > alpha;
    let ladder: Vec<u32> = std::iter::successors(Some(start), |c| Some(c * 2))
        .take_while(|&c| c <= cap)
        .collect();
    let climbed = ladder.iter().take_while(|&&c| passes(c)).count();
    let low = *ladder.get(climbed.checked_sub(1)?)?;
    let high = ladder.get(climbed).copied().unwrap_or(cap + 1);
    (low..high)
        .filter(|&c| c == low || c % step == 0)
        .filter(|&c| passes(c))
        .max()
}

proptest! {
    #[test]
    fn agrees_with_brute_force(
        shares in proptest::collection::vec(0.5f64..=1.0, 401),
        alpha in 0.80f64..0.99, start in 2u32..60, cap in 2u32..400, step in 1u32..60,
    ) {
        let table: Vec<u32> = shares.iter().enumerate().map(|(c, share)| ((c as f64 * share) as u32).clamp(1, c.max(1) as u32)).collect();
        let result = search(&params(alpha, start, cap, FineGrid::Step { step }), 400, |c| vec![table[c as usize]]).unwrap();
        prop_assert_eq!(c_max(&result), if start > cap { None } else { brute_force(&table, alpha, start, cap, step) });
    }

    #[test]
    fn bisection_finds_a_passing_c_and_needs_few_probes(edge in 10u32..3000, resolution in 1u32..50) {
        let result = search(&params(0.9, 10, 12_800, FineGrid::Bisect { resolution }), 50_000, |c| vec![if c <= edge { c } else { c / 2 }]).unwrap();
        let best = c_max(&result).unwrap();
        prop_assert!(best <= edge && edge - best < resolution.max(1) + 1);
        prop_assert!(result.probes.len() <= 2 * 12);
    }

    #[test]
    fn the_order_of_the_history_does_not_matter(edge in 10u32..300) {
        let p = params(0.9, 10, 400, FineGrid::Step { step: 10 });
        let whole = search(&p, 400, |c| vec![if c <= edge { c } else { c / 2 }]).unwrap();
        let mut history: Vec<Observation> = whole.probes.iter().map(|q| Observation { clusters: q.clusters, used: q.used.clone() }).collect();
        history.reverse();
        prop_assert_eq!(next(&history, &p, 400).unwrap(), whole);
    }
}
