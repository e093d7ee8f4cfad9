//! Golden numbers of the reference implementation: golden.json `temi_tiny`.
//!
//! Two heads, D = 4, C = 3, B = 3, hidden 512, bottleneck 256. Fill rule: parameter names in byte
//! order, j = place in that order, i = flat index, value = 0.05 sin(1 + j + offset + 0.37 i) in
//! float64, cast to float32; lengths add 1.

use cedm_clustering::temi::{Marginal, Model, from_upstream, student_loss, targets};
use cedm_contract::kinds::cluster::TemiParams;
use std::collections::{BTreeMap, HashMap};
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn filled(offset: f64) -> Model {
    let mut shapes = BTreeMap::new();
    for head in 0..2 {
        let parts: [(&str, &[i64]); 6] = [
            ("mlp.0.weight", &[512, 4]),
            ("mlp.0.bias", &[512]),
            ("mlp.2.weight", &[256, 512]),
            ("mlp.2.bias", &[256]),
            ("last_layer.weight_g", &[3, 1]),
            ("last_layer.weight_v", &[3, 256]),
        ];
        shapes.extend(parts.map(|(name, shape)| (format!("head.heads.{head}.{name}"), shape)));
    }
    let fill = |(j, (name, shape)): (usize, (String, &[i64]))| {
        let count: i64 = shape.iter().product();
        let value = (Tensor::arange(count, F64) * 0.37 + (1.0 + j as f64 + offset)).sin() * 0.05;
        let value = if name.ends_with("weight_g") {
            value + 1.0
        } else {
            value
        };
        (name, value.view(shape).to_kind(Kind::Float))
    };
    let named: HashMap<String, Tensor> = shapes.into_iter().enumerate().map(fill).collect();
    from_upstream(&named, false).unwrap()
}

fn check(what: &str, found: &Tensor, expected: &[f64]) {
    let found = Vec::<f64>::try_from(found.to_kind(Kind::Double).contiguous().view(-1)).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 2e-6,
            "{what}: {found} against {expected}"
        );
    }
}

#[test]
fn heads_loss_marginal_and_weight() {
    let views = [0.0, 0.4].map(|phase| (Tensor::arange(12, F64) * 0.9 + phase).sin().view([3, 4]));
    let z = Tensor::cat(&views, 0).to_kind(Kind::Float);
    let (student, teacher) = (filled(0.0).heads.forward(&z), filled(0.5).heads.forward(&z));
    let logits = student.get(0).contiguous().view(-1);
    check(
        "student head 0",
        &logits.narrow(0, 0, 6),
        &[
            -0.1740642, -0.1452255, -0.0832076, -0.1731595, -0.1445317, -0.0828841,
        ],
    );
    check(
        "student head 0, end",
        &logits.narrow(0, 15, 3),
        &[-0.173549, -0.1447861, -0.0829444],
    );
    let logits = teacher.get(1).contiguous().view(-1);
    check(
        "teacher head 1",
        &logits.narrow(0, 0, 6),
        &[
            -0.1740822, -0.1432204, -0.0799, -0.1733688, -0.1426874, -0.0796684,
        ],
    );

    let params = TemiParams::default();
    let mut marginal = Marginal::uniform(2, 3, Kind::Float, Device::Cpu);
    let targets = targets(&teacher, 0.1, &params, &mut marginal);
    let (losses, _) = student_loss(&student, &targets, &params, 2);
    check(
        "head losses",
        &losses,
        &[-0.34283924102783203, -0.3427152633666992],
    );
    check("loss", &losses.mean(Kind::Float), &[-0.3427772521972656]);
    check(
        "marginal",
        &marginal.shares,
        &[
            0.31986549496650696,
            0.3276534676551819,
            0.35248106718063354,
            0.3203297257423401,
            0.32765692472457886,
            0.35201337933540344,
        ],
    );
    check(
        "weight",
        &targets.instance_weights(),
        &[
            0.39011794328689575,
            0.38966697454452515,
            0.38979634642601013,
        ],
    );
}
