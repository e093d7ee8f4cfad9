//! The page of a sweep: what it says, how it shows what is missing, and that a browser opens it
//! without errors.

#[path = "page/artefacts.rs"]
mod artefacts;
#[path = "page/browser.rs"]
mod browser;
#[path = "page/digits.rs"]
mod digits;
#[path = "page/networks.rs"]
mod networks;
#[path = "page/results.rs"]
mod results;

use cedm_report::{NoArtefacts, render};
use cedm_sweep::outcome::{CellOutcome, Certainty, Missing, MissingCell, SweepOutcome, SweepState};

#[test]
fn the_page_holds_every_result() {
    let (outcome, artefacts) = digits::sweep();
    let report = render(&outcome, &artefacts);
    for said in [
        "temi C=20 has the lowest FD (pixels)",
        "the best may also be kmeans C=20",
        "Not known: every network was trained once",
        "Shaded: where the best C may lie, kmeans C = 20; temi C = 20",
        "class=\"span s0\"",
        "Which C may be the best",
        "Score against C",
        "Samples from the same seeds",
        "whose labels the authors' script draws uniformly",
        "Real and generated images by cluster",
        "Clusters and classes",
        "Clusters matched to classes",
        "generated images of cluster 7\"",
        "<strong>3</strong><span class=\"quiet\">cluster 6</span>",
        "97.33 %",
        "Most and least confident images",
        "Training curves",
        "Methods at equal C",
        "3 × 500 images against 600",
        "Second: kmeans C=20",
        "4.0× fewer",
        "crosses near 7.3k",
        "best of unconditional",
        "disagrees: temi C=10",
        "C_max is 40, and C = 80 fails: it is known to within 40.",
        "Kendall τ 0.7140 over 7 networks",
        "Uniform labels instead of p(c)",
        "+0.2500",
        "at temperature 0.1 and compared by its logarithm",
        "side by side",
        "lower is better",
        "training images per second",
        "cedm 0.1.0 (abc1234)",
    ] {
        assert!(report.html.contains(said), "the page does not say {said:?}");
    }
    assert_eq!(
        serde_json::from_str::<SweepOutcome>(&report.json).unwrap(),
        outcome,
        "the JSON is the outcome"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json).unwrap();
    assert_eq!(
        json["metrics"][0]["name"], "fd",
        "the JSON says what the scores mean"
    );
    assert_eq!(report.headline, outcome.answer.unwrap().headline);
    let written = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html");
    std::fs::write(written, report.html).unwrap(); // to be looked at
}

#[test]
fn missing_results_are_shown_with_their_reason_and_never_as_zero() {
    let (mut outcome, mut artefacts) = digits::sweep();
    artefacts.lose("temi C=20-24-0-0");
    let html = render(&outcome, &artefacts).html;
    assert!(
        html.contains("features of shard 2 hold 3 values that are not finite"),
        "the failed cell gives its reason"
    );
    assert!(
        html.contains("needs 100 subsets, found 500 images"),
        "a metric without a number gives its reason"
    );
    assert!(
        html.contains("temi C=20-24-0-0 is not in the store"),
        "a lost artefact is named where its picture would stand"
    );
    assert!(
        html.contains("FD (pixels) of temi C=40 at 24k"),
        "the gap in a curve along training is named"
    );
    assert!(
        html.contains("KID (pixels) of "),
        "so are scores that no network has"
    );
    assert!(html.contains("Not comparable with numbers from 50,000 images"));

    outcome.answer = None;
    outcome.state = SweepState::Running;
    outcome
        .cells
        .iter_mut()
        .flat_map(|cell| &mut cell.snapshots)
        .for_each(|snapshot| {
            snapshot.summary.clear();
            snapshot.sets.clear();
            snapshot.training = None;
        });
    let empty = render(&outcome, &NoArtefacts);
    assert!(empty.html.contains("No answer yet") && empty.html.contains("Nothing to draw yet"));
    assert_eq!(empty.headline, "no answer yet");

    outcome.images = None;
    outcome.clusterings.clear();
    outcome.bounds.clear();
    outcome.cells.clear();
    outcome.lineage.clear();
    outcome.costs.clear();
    outcome.missing.clear();
    assert!(
        render(&outcome, &NoArtefacts)
            .html
            .contains("its manifest cannot be read")
    );
}

#[test]
fn a_reason_belongs_to_one_network_even_where_names_begin_alike() {
    let (mut outcome, artefacts) = digits::sweep();
    let at = |label: &str, outcome: &SweepOutcome| {
        let mut cells = outcome.cells.iter();
        cells.position(|cell| cell.label == label).unwrap()
    };
    let (ten, hundred) = (at("temi C=10", &outcome), at("temi C=20", &outcome));
    outcome.cells[hundred].label = "temi C=100".to_owned();
    outcome.cells[hundred].clusters = Some(100);
    outcome.missing.clear();
    for (cell, reason) in [
        (hundred, "the disk was full"),
        (ten, "the network was down"),
    ] {
        let cell = &mut outcome.cells[cell];
        let snapshot = cell.snapshots.last_mut().unwrap();
        snapshot.sets.iter_mut().for_each(|set| set.scores.clear());
        snapshot.summary.clear();
        outcome.missing.push(Missing {
            what: format!("score {} at 24 kimg, set 0", cell.label),
            reason: reason.to_owned(),
            key: None,
            pending: false,
            cell: Some(MissingCell {
                clustering: cell.clustering.clone(),
                clusters: cell.clusters,
                seed: None,
                nimg: Some(24_000),
                score: None,
            }),
        });
    }
    let html = render(&outcome, &artefacts).html;
    for (label, reason) in [
        ("C=10", "the network was down"),
        ("C=100", "the disk was full"),
    ] {
        let said = format!("FD (pixels) of temi {label}</strong> — missing: {reason}");
        assert!(html.contains(&said), "the page does not say {said:?}");
    }
}

#[test]
fn clusters_are_matched_to_classes_only_where_both_were_trained() {
    let (mut outcome, artefacts) = digits::sweep();
    outcome
        .cells
        .retain(|cell| cell.clusters != Some(10) || cell.method == "ground_truth");
    let said = "no network is conditioned on as many clusters as there are classes, 10";
    assert!(render(&outcome, &artefacts).html.contains(said));
    outcome.cells.retain(|cell| cell.method != "ground_truth");
    assert!(
        !render(&outcome, &artefacts)
            .html
            .contains("Clusters matched to classes")
    );
}

#[test]
fn csv_files_hold_every_number_and_leave_missing_ones_empty() {
    let (outcome, artefacts) = digits::sweep();
    let csvs = render(&outcome, &artefacts).csvs;
    let find = |name: &str| &csvs.iter().find(|csv| csv.name == name).unwrap().text;
    let scores = find("scores.csv");
    let columns = scores.lines().next().unwrap().split(',').count();
    let kid = scores.lines().find(|line| line.contains(",kid,")).unwrap();
    assert!(
        kid.contains(",kid,,,500,600,"),
        "a missing number is an empty cell: {kid}"
    );
    assert!(kid.contains("\"needs 100 subsets, found 500 images\""));
    assert_eq!(scores.lines().nth(1).unwrap().split(',').count(), columns);
    assert_eq!(
        find("clusterings.csv").lines().count(),
        1 + outcome.clusterings.len()
    );
    assert_eq!(find("jobs.csv").lines().count(), 1 + outcome.lineage.len());
    assert!(find("curves.csv").lines().count() > 1000);
    assert!(find("bounds.csv").contains("temi,0.96,40,"));
    assert!(find("efficiency.csv").contains("pixels/fd,kmeans C=20,12000,7300,24000,2,500"));
    assert!(find("agreement.csv").contains("pca/fd,temi C=10,10,false,true,0.714,7"));
    assert!(find("uniform.csv").contains("kmeans C=20,pixels/fd,0.7,0.95,0.25,1,500"));
    assert_eq!(find("comparisons.csv").lines().count(), 4);
    assert!(find("granularities.csv").contains("pixels/fd,kmeans C=20,kmeans,20,0.70"));
    assert_eq!(find("metrics.csv").lines().count(), 7);
}

#[test]
fn trainings_of_one_network_are_one_mark_and_say_how_sure_the_answer_is() {
    let (mut outcome, artefacts) = digits::sweep();
    outcome.spec.training.seeds = vec![0, 1];
    let second = |cell: &CellOutcome| {
        let mut other = cell.clone();
        (other.label, other.seed) = (format!("{} seed 1", cell.label), Some(1));
        let summaries = other
            .snapshots
            .iter_mut()
            .flat_map(|one| one.summary.values_mut());
        summaries.for_each(|summary| summary.mean += 0.2);
        other
    };
    let more: Vec<CellOutcome> = outcome.cells.iter().map(second).collect();
    for cell in &mut outcome.cells {
        (cell.label, cell.seed) = (format!("{} seed 0", cell.label), Some(0));
    }
    outcome.cells.extend(more);
    let answer = outcome.answer.as_mut().unwrap();
    answer.certainty = Certainty {
        confidence: 0.95,
        trainings: 2,
        sets: 3,
        training_std: Some(0.14),
        sampling_std: Some(0.012),
        degrees: 7,
        unknown: Vec::new(),
    };
    let best = &mut answer.granularities[0];
    (best.behind, best.probability) = (Some((-0.5, 0.125)), Some(0.713));
    answer.comparisons[0].ahead = Some((-0.02, 0.5));
    let report = render(&outcome, &artefacts);
    for said in [
        "Bars: standard deviation over the trainings",
        "<td class=\"number\">71 %</td>",
        "−0.5000 to +0.1250 behind",
        "multiple comparisons with the best over 2 trainings of each, 7 degrees of freedom",
        "Standard deviation of FD (pixels): between trainings 0.1400, between sample sets of one \
         training 0.0120",
        "−0.0200 to +0.5000 ahead",
        // One mark for both trainings: their mean, and the spread between them.
        "<title>temi C=20: FD (pixels) 0.7870 ± 0.1414",
    ] {
        assert!(report.html.contains(said), "the page does not say {said:?}");
    }
}

#[test]
fn markup_in_names_is_escaped() {
    let (mut outcome, artefacts) = digits::sweep();
    let evil = "<script src=\"http://evil.example/x.js\"></script>";
    outcome.cells[0].label = evil.to_owned();
    outcome.toml = evil.to_owned();
    outcome.missing[0].reason = evil.to_owned();
    let html = render(&outcome, &artefacts).html;
    assert!(!html.contains("<script src"), "everything is escaped");
}

#[test]
fn the_same_sweep_makes_the_same_report() {
    let (outcome, artefacts) = digits::sweep();
    assert_eq!(render(&outcome, &artefacts), render(&outcome, &artefacts));
}

#[test]
fn a_browser_opens_the_page_at_every_width_without_errors() {
    let (outcome, artefacts) = digits::sweep();
    let html = render(&outcome, &artefacts).html;
    let Some(views) = browser::open(&html, &[360, 768, 1440]) else {
        println!("SKIPPED: no Chromium on this machine (Debian: apt install chromium)");
        return;
    };
    for view in views {
        assert_eq!(
            view["errors"],
            serde_json::json!([]),
            "at {} px",
            view["width"]
        );
        assert_eq!(
            view["requests"],
            serde_json::json!([]),
            "external requests at {} px",
            view["width"]
        );
        assert_eq!(view["broken"], 0, "broken pictures at {} px", view["width"]);
        assert!(view["pictures"].as_u64().unwrap() >= 30, "{view}");
        assert!(view["charts"].as_u64().unwrap() >= 10, "{view}");
        assert_eq!(
            view["overflow"], 0,
            "the page is wider than {} px: {view}",
            view["width"]
        );
        assert!(
            view["smallest_text"].as_f64().unwrap() >= 8.0,
            "chart text is too small to read: {view}"
        );
    }
}
