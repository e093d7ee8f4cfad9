//! What a finished sweep says: curves on equal terms, sample efficiency, uniform labels, agreement
//! of feature spaces.

use super::finished;
use crate::{fixtures::TOML, plan};
use cedm_contract::{
    JobSpec, ListedKind,
    kinds::{
        reference::{ReferenceParams, reference_limit},
        sample::LabelSource,
        score::ScoreParams,
    },
};
use cedm_sweep::outcome::CellOutcome;

#[test]
fn curves_end_on_equal_terms_and_measure_sample_efficiency() {
    let (_, _, outcome) = finished(TOML);
    for cell in &outcome.cells {
        let [first, last] = &cell.snapshots[..] else {
            panic!("two snapshots")
        };
        assert_eq!(
            (
                first.curve_set.as_ref(),
                first.on_equal_terms == first.summary
            ),
            (None, true)
        );
        let set = last.curve_set.as_ref().unwrap();
        assert_eq!(
            (set.images, set.first_seed),
            (100, 0),
            "as large as the earlier ones, from the same seeds"
        );
        assert!(!last.on_equal_terms.is_empty() && last.on_equal_terms != last.summary);
        assert!(!last.on_equal_terms.contains_key("pca/ufd"));
    }
    let best = |label: &str, at: usize| {
        outcome
            .cells
            .iter()
            .find(|c| c.label == label)
            .unwrap()
            .snapshots[at]
            .on_equal_terms["pca/fd"]
            .mean
    };
    let level = best("unconditional", 0).min(best("unconditional", 1));
    let efficiency = outcome.answer.unwrap().efficiency;
    assert_eq!(efficiency.len(), 6, "every conditional network has a curve");
    for one in efficiency {
        let (first, last) = (best(&one.cell, 0), best(&one.cell, 1));
        let expected = if first < level {
            Some(1_024)
        } else {
            (last < level).then_some(2_016)
        };
        assert_eq!(one.nimg, expected, "{one:?}");
        assert_eq!(one.ratio.is_some(), one.nimg.is_some());
        assert_eq!(one.crossing_nimg.is_some(), one.nimg == Some(2_016));
        assert!(
            one.crossing_nimg
                .is_none_or(|at| (1_024.0..=2_016.0).contains(&at)),
            "{one:?}"
        );
    }
    // All sets equally large: nothing more is sampled, and the final sets end the curve.
    let (_, _, outcome) = finished(&TOML.replace("snapshot_images = 100", "snapshot_images = 300"));
    let last = &outcome.cells[0].snapshots[1];
    assert_eq!(
        (&last.curve_set, &last.on_equal_terms),
        (&None, &last.summary)
    );
    // No earlier sets: no curve, and no claim about efficiency.
    let (_, _, outcome) = finished(&TOML.replace("snapshot_images = 100", "snapshot_images = 0"));
    assert_eq!(outcome.answer.unwrap().efficiency, []);
}

#[test]
fn uniform_labels_are_held_against_the_prior_from_the_same_seeds() {
    let toml = TOML.replace("sets = 2", "sets = 2\nuniform_sets = 1");
    let (sweep, observed, outcome) = finished(&toml);
    let conditional = outcome.cells.iter().filter(|cell| cell.method != "none");
    for cell in conditional {
        let last = &cell.snapshots[1];
        let [set] = &last.uniform_sets[..] else {
            panic!("{}", cell.label)
        };
        assert_eq!((set.first_seed, set.images), (0, 300));
        assert!(cell.snapshots[0].uniform_sets.is_empty());
    }
    let unconditional = outcome.cells.last().unwrap();
    assert!(
        unconditional.snapshots[1].uniform_sets.is_empty(),
        "it has no labels"
    );
    let answer = outcome.answer.unwrap();
    assert_eq!(answer.uniform.len(), 6);
    for effect in &answer.uniform {
        let last = &outcome
            .cells
            .iter()
            .find(|cell| cell.label == effect.cell)
            .unwrap()
            .snapshots[1];
        assert_eq!(
            effect.prior, last.summary["pca/fd"].values[0].1,
            "only the set with the same seeds"
        );
        assert!((effect.increase - (last.uniform["pca/fd"].mean - effect.prior)).abs() < 1e-12);
        assert_eq!(
            (effect.sets, effect.images),
            (1, last.summary["pca/fd"].images)
        );
    }
    let plan = plan(&sweep, &observed);
    let uniform = |id: &str| match &plan.node(id).unwrap().job.as_ref().unwrap().spec {
        JobSpec::Sample(params) => params.sampler.labels,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        uniform("sample temi C=5 at 2.016 kimg, uniform set 0, shard 0"),
        LabelSource::Uniform
    );
    assert_eq!(
        uniform("sample temi C=5 at 2.016 kimg, set 0, shard 0"),
        LabelSource::Prior
    );
}

#[test]
fn feature_spaces_agree_or_not() {
    let toml = format!(
        "{}\n[[evaluation]]\nextractor = \"pixels\"\nmetrics = [\"fd\", \"precision\"]\n",
        TOML.replace("[evaluation]", "[[evaluation]]")
    );
    let (_, _, outcome) = finished(&toml);
    let answer = outcome.answer.unwrap();
    let [agreement] = &answer.agreement[..] else {
        panic!("{answer:?}")
    };
    let pixels = |cell: &CellOutcome| cell.snapshots[1].summary["pixels/fd"].mean;
    let choices = outcome
        .cells
        .iter()
        .filter(|cell| ["temi", "kmeans"].contains(&cell.method.as_str()));
    let best = choices
        .min_by(|a, b| pixels(a).total_cmp(&pixels(b)))
        .unwrap();
    assert_eq!(
        (
            agreement.metric.as_str(),
            &agreement.best,
            agreement.networks
        ),
        ("pixels/fd", &best.label, 7)
    );
    assert_eq!(agreement.same, best.label == answer.best);
    assert!(agreement.tau.unwrap().abs() <= 1.0);
    let second = answer.runner_up.unwrap();
    assert!(
        second.difference > 0.0 && second.standard_error.is_none() && second.cell != answer.best,
        "trained once each: no error of the difference is known"
    );
}

#[test]
fn the_head_judges_samples_of_its_own_networks_alone() {
    let toml = TOML.replace(
        "dim = 16 }\nmetrics = [\"fd\", \"ufd\", \"precision\"]",
        "dim = 32 }\nmetrics = [\"fd\", \"confidence\"]",
    );
    let (sweep, observed, outcome) = finished(&toml);
    for cell in &outcome.cells {
        let has = |at: usize| cell.snapshots[at].summary.contains_key("pca/confidence");
        assert_eq!(
            (has(0), has(1)),
            (false, cell.method == "temi"),
            "{}",
            cell.label
        );
    }
    let plan = plan(&sweep, &observed);
    let condition_of = |id: &str| {
        let job = plan.node(id).unwrap().job.as_ref().unwrap();
        let inputs = job.inputs_of::<ScoreParams>().unwrap();
        inputs.condition.map(|input| input.key.clone())
    };
    let condition = plan
        .node("cluster temi C=5")
        .unwrap()
        .job
        .as_ref()
        .unwrap()
        .key
        .clone();
    assert_eq!(
        condition_of("score pca temi C=5 at 2.016 kimg, set 0"),
        Some(condition)
    );
    assert_eq!(
        condition_of("score pca kmeans C=10 at 2.016 kimg, set 0"),
        None
    );
}

#[test]
fn a_set_is_held_against_the_unconditional_set_from_the_same_seeds() {
    let (sweep, observed, _) = finished(TOML);
    let plan = plan(&sweep, &observed);
    let key_of = |id: String| {
        let node = plan.node(&id).unwrap_or_else(|| panic!("no {id}"));
        node.job.as_ref().unwrap().key.clone()
    };
    for network in ["temi C=5", "kmeans C=20", "ground-truth C=10"] {
        for set in [0, 1] {
            let id = format!("score pca {network} at 2.016 kimg, set {set}");
            let job = plan.node(&id).unwrap().job.as_ref().unwrap();
            let inputs = job.inputs_of::<ScoreParams>().unwrap();
            let other = key_of(format!(
                "reference pca-16 unconditional at 2.016 kimg, set {set}"
            ));
            assert_eq!(inputs.unconditional.unwrap().key, other, "{id}");
        }
    }
}

#[test]
fn every_network_is_trained_with_every_seed_and_the_first_keeps_its_keys() {
    let seeds = TOML.replace("budget_kimg = 2", "budget_kimg = 2\nseeds = [0, 7]");
    let (sweep, observed, outcome) = finished(&seeds);
    assert_eq!(outcome.cells.len(), 2 * 7);
    assert_eq!(outcome.cells[1].label, "temi C=5 seed 7");
    assert_eq!(
        (outcome.cells[1].granularity(), outcome.cells[1].seed),
        ("temi C=5", Some(7))
    );
    let several = plan(&sweep, &observed);
    let job = |id: &str| {
        let node = several.node(id).unwrap_or_else(|| panic!("no {id}"));
        node.job.clone().unwrap()
    };
    // What one seed made is done already: a sweep of one seed and one of several share it.
    let (one, observed, _) = finished(TOML);
    let single = plan(&one, &observed);
    for (of_one, of_several) in [
        (
            "train temi C=5 to 2.016 kimg",
            "train temi C=5 seed 0 to 2.016 kimg",
        ),
        (
            "score pca temi C=5 at 2.016 kimg, set 1",
            "score pca temi C=5 seed 0 at 2.016 kimg, set 1",
        ),
    ] {
        let single = single.node(of_one).unwrap().job.as_ref().unwrap();
        assert_eq!(single.key, job(of_several).key);
    }
    let trained = job("train temi C=5 seed 7 to 2.016 kimg");
    assert!(matches!(&trained.spec, JobSpec::Train(params) if params.seed == 7));
    // Two trainings are compared with the unconditional one of the same seed.
    let score = job("score pca temi C=5 seed 7 at 2.016 kimg, set 1");
    let reference = job("reference pca-16 unconditional seed 7 at 2.016 kimg, set 1");
    let inputs = score.inputs_of::<ScoreParams>().unwrap();
    assert_eq!(inputs.unconditional.unwrap().key, reference.key);
    assert_eq!(outcome.answer.unwrap().certainty.trainings, 2);
}

#[test]
fn large_references_are_cut_where_the_literature_cuts_them() {
    assert_eq!(reference_limit("dinov2_vitl14"), Some(50_000));
    assert_eq!(reference_limit("inception_fid"), None);
    let (sweep, observed, _) = finished(TOML);
    let plan = plan(&sweep, &observed);
    let node = plan.node("reference pca-16 training images").unwrap();
    let params = ReferenceParams::in_spec(&node.job.as_ref().unwrap().spec).unwrap();
    assert_eq!(params.at_most, None, "1,797 images are not cut");
}
