//! Against numbers that a script computed in other ways: `tests/statistics/expected.py`.

use super::{Mean, Spread, components, critical_against, half_width, standings};
use super::{normal::Chi, ranges};
use serde_json::Value;
use std::path::PathBuf;

fn expected() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/statistics/expected.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn close(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1.0),
        "{what}: found {found}, expected {expected}"
    );
}

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().unwrap().iter();
    all.map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn quantiles_are_those_of_the_independent_script() {
    let expected = expected();
    for case in expected["studentised_range"].as_array().unwrap() {
        let degrees = case["degrees"].as_u64().unwrap() as u32;
        let count = case["count"].as_u64().unwrap() as usize;
        let found = ranges::quantile(0.95, count, &Chi::new(degrees));
        close(found, &case["quantile"], 1e-7, &case.to_string());
    }
    for case in expected["dunnett"].as_array().unwrap() {
        let means: Vec<Mean> = numbers(&case["trainings"])
            .into_iter()
            .map(|trainings| Mean {
                value: 0.0,
                trainings: trainings as u32,
            })
            .collect();
        let chi = Chi::new(case["degrees"].as_u64().unwrap() as u32);
        close(
            critical_against(&means, 0, &chi),
            &case["quantile"],
            1e-7,
            &case.to_string(),
        );
    }
}

#[test]
fn standings_and_components_are_those_of_the_independent_script() {
    for case in expected()["standings"].as_array().unwrap() {
        let scores: Vec<Vec<Vec<f64>>> = serde_json::from_value(case["scores"].clone()).unwrap();
        let found = components(&scores);
        let of_means = found.of_means.unwrap();
        close(
            of_means.deviation,
            &case["of_means"],
            1e-12,
            "spread of means",
        );
        assert_eq!(
            u64::from(of_means.degrees),
            case["degrees"].as_u64().unwrap()
        );
        close(
            found.training.unwrap(),
            &case["training"],
            1e-12,
            "training",
        );
        close(
            found.sampling.unwrap().deviation,
            &case["sampling"],
            1e-12,
            "sampling",
        );
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means: Vec<Mean> = scores
            .iter()
            .map(|network| Mean {
                value: mean(&network.iter().map(|sets| mean(sets)).collect::<Vec<_>>()),
                trainings: network.len() as u32,
            })
            .collect();
        let all = standings(&means, of_means);
        for (at, (found, wanted)) in all
            .iter()
            .zip(case["means"].as_array().unwrap())
            .enumerate()
        {
            let what = format!("mean {at}");
            assert_eq!(
                found.may_be_best,
                wanted["may_be_best"].as_bool().unwrap(),
                "{what}"
            );
            close(found.probability, &wanted["probability"], 1e-6, &what);
            close(found.behind.0, &wanted["behind"][0], 1e-6, &what);
            close(found.behind.1, &wanted["behind"][1], 1e-6, &what);
        }
        let half = half_width(means.len(), of_means, (means[0], means[1]));
        close(
            half,
            &case["half_width"],
            1e-6,
            "half width of the first pair",
        );
        let sum: f64 = all.iter().map(|standing| standing.probability).sum();
        assert!((sum - 1.0).abs() < 1e-9, "probabilities sum to {sum}");
    }
}

#[test]
fn without_any_spread_the_least_is_best_for_certain() {
    let mean = |value| Mean {
        value,
        trainings: 2,
    };
    let spread = Spread {
        deviation: 0.0,
        degrees: 3,
    };
    let all = standings(&[mean(2.0), mean(1.0), mean(3.0)], spread);
    let probabilities: Vec<f64> = all.iter().map(|one| one.probability).collect();
    assert_eq!(probabilities, [0.0, 1.0, 0.0]);
    let best: Vec<bool> = all.iter().map(|one| one.may_be_best).collect();
    assert_eq!(best, [false, true, false]);
}

#[test]
fn one_training_each_has_no_spread_of_means() {
    let found = components(&[vec![vec![1.0, 1.1]], vec![vec![2.0, 2.3]]]);
    assert_eq!((found.of_means, found.training), (None, None));
    assert_eq!(found.sampling.unwrap().degrees, 2);
}
