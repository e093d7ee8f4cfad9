//! Features and neighbours: parts, adapted backbones, evaluations.

use super::finished;
use crate::{fixtures::TOML, plan};
use cedm_contract::{Kind, kinds::extract::ExtractParams};

#[test]
fn neighbours_of_a_large_set_are_searched_in_parts_that_read_only_features() {
    let (sweep, observed, _) =
        finished(&TOML.replace("[training]", "[neighbours]\npart_rows = 400\n[training]"));
    let plan = plan(&sweep, &observed);
    let job = |id: &str| {
        plan.node(id)
            .unwrap_or_else(|| panic!("no {id}"))
            .job
            .clone()
            .unwrap()
    };
    let merge = job("neighbours pca-32 k=50");
    let roles: Vec<&str> = merge
        .inputs
        .iter()
        .map(|input| input.role.as_str())
        .collect();
    assert_eq!(
        roles,
        [
            "features",
            "part/00000",
            "part/00001",
            "part/00002",
            "part/00003",
            "part/00004"
        ]
    );
    for index in 0..5 {
        let part = job(&format!("neighbours pca-32 k=50 part {index}"));
        assert_eq!(
            part.inputs
                .iter()
                .map(|input| input.role.as_str())
                .collect::<Vec<_>>(),
            ["features"]
        );
    }
    // one job where the set is small, and the key that it always had
    let (whole, observed, _) = finished(TOML);
    let plan = crate::plan(&whole, &observed);
    let alone: Vec<_> = plan
        .nodes
        .iter()
        .filter(|node| node.kind == Kind::Neighbours)
        .collect();
    assert_eq!((alone.len(), alone[0].work.amount), (1, 1_797.0));
}

#[test]
fn an_adapted_backbone_comes_before_every_extraction() {
    let toml = TOML.replacen(
        "name = \"pca\"\ndim = 32",
        "name = \"vit\"\nadapt = { epochs = 3 }",
        1,
    );
    let (sweep, observed, outcome) = finished(&toml);
    let plan = plan(&sweep, &observed);
    let adapt = plan
        .nodes
        .iter()
        .find(|node| node.kind == Kind::Adapt)
        .unwrap();
    assert_eq!(adapt.id, "adapt vit-adapted");
    let key = &adapt.job.as_ref().unwrap().key;
    for node in plan.nodes.iter().filter(|node| node.kind == Kind::Extract) {
        assert_eq!(
            node.job
                .as_ref()
                .and_then(|job| job.inputs_of::<ExtractParams>().ok()?.adapted)
                .map(|input| &input.key),
            Some(key),
            "{}",
            node.id
        );
    }
    let features = outcome.features.unwrap();
    assert_eq!(
        (
            features.adapted.unwrap().steps,
            features.evaluation.unwrap().knn_accuracy
        ),
        (10, 0.9)
    );
}

#[test]
fn features_are_evaluated_where_they_are_clustered_and_labels_exist() {
    let evaluations = |toml: &str| {
        let (sweep, observed, _) = finished(toml);
        plan(&sweep, &observed)
            .nodes
            .iter()
            .filter(|node| node.kind == Kind::FeatureEvaluation)
            .count()
    };
    assert_eq!(evaluations(TOML), 1);
    let start = TOML.find("[[clustering]]").unwrap();
    let end = TOML.find("[bound]").unwrap();
    let without = TOML.replacen(&TOML[start..end], "[[clustering]]\nmethod = \"none\"\n", 1);
    assert_eq!(
        evaluations(&without),
        0,
        "nothing is extracted for a feature evaluation alone"
    );
}
