//! Golden numbers of the specification.

use crate::{set, waves};
use cedm_maths::{Moments, frechet, kid, prdc};

#[test]
fn frechet_distance() {
    let x = set("x", &waves(200, 1.7, 0.0, 1.0, 0.0), 4);
    let y = set("y", &waves(240, 2.3, 0.2, 1.1, 0.1), 4);
    let fd = frechet(
        &Moments::of(&x).gaussian().unwrap(),
        &Moments::of(&y).gaussian().unwrap(),
    )
    .unwrap();
    // Waves lie in a plane: two eigenvalues are float32 rounding, and the golden number carries
    // their square roots (1e-8).
    assert!((fd.distance - 1.0426471064818432).abs() < 1e-7, "{fd:?}");
}

#[test]
fn precision_recall_density_coverage() {
    let real = set("real", &waves(120, 1.7, 0.0, 1.0, 0.0), 3);
    let fake = set("fake", &waves(90, 2.3, 0.2, 0.9, 0.0), 3);
    let found = prdc(&real, &fake, 5).unwrap();
    assert!((found.precision - 0.5666666666666667).abs() < 1e-15);
    assert!((found.recall - 0.875).abs() < 1e-15);
    assert!((found.density - 0.26666666666666666).abs() < 1e-15);
    assert!((found.coverage - 0.525).abs() < 1e-15);
}

#[test]
fn kernel_distance() {
    let x = set("x", &waves(200, 1.7, 0.0, 1.0, 0.0), 4);
    let y = set("y", &waves(200, 2.3, 0.2, 1.1, 0.1), 4);
    let all: Vec<i64> = (0..50).collect();
    let found = kid(&x, &y, &[(all.clone(), all)]).unwrap();
    assert!((found[0] - 0.2692150679246552).abs() < 1e-12, "{found:?}");
}
