//! Clusterings: the bound search, sizes, agreement with labels.

use crate::{
    chart::{Axis, Chart, Level, Point, Series},
    facts::Facts,
    section::{Section, Table, absent, figure, optional},
    words,
};
use cedm_contract::kinds::{bound::BoundDecision, cluster::assignments::COUNTS};
use cedm_sweep::outcome::{BoundOutcome, ClusteringOutcome};
use maud::{Markup, html};

/// Bounds, sizes and qualities.
pub fn section(facts: &Facts) -> Option<Section> {
    if facts.outcome.clusterings.is_empty() && facts.outcome.bounds.is_empty() {
        return None;
    }
    let (sizes, unread) = sizes(facts);
    let body = html! {
        @for bound in &facts.outcome.bounds { (bound_search(facts, bound)) }
        h3 { "Cluster sizes" }
        (figure(&sizes, "Sizes of the used clusters, largest first, of the clusterings that \
            condition networks: 1 means that all clusters are equally large."))
        @for (label, reason) in &unread { (absent(&format!("sizes of {label}"), reason)) }
        h3 { "All clusterings" }
        (table(facts))
    };
    Some(Section {
        id: "clusterings",
        title: "Clusterings",
        body,
    })
}

fn bound_search(facts: &Facts, bound: &BoundOutcome) -> Markup {
    let Some(result) = &bound.result else {
        return absent(
            &format!("bound search of {}", bound.clustering),
            "no step of it is done",
        );
    };
    let points = result.probes.iter().map(|probe| {
        let used: Vec<String> = probe.used.iter().map(u32::to_string).collect();
        let verdict = if probe.passes { "passes" } else { "fails" };
        let tip = format!(
            "C={}: U = {}, r_C = {:.4}, {verdict}",
            probe.clusters,
            used.join(", "),
            probe.utilisation
        );
        Point {
            x: f64::from(probe.clusters),
            y: probe.utilisation,
            error: probe.utilisation_std,
            tip,
        }
    });
    let chart = Chart {
        x: Axis::clusters(),
        y: Axis::linear("r_C, share of clusters in use"),
        right: None,
        series: vec![Series {
            name: bound.clustering.clone(),
            style: facts.style(&bound.clustering),
            joined: true,
            marked: true,
            points: points.collect(),
        }],
        levels: vec![Level {
            name: format!("α = {}", bound.alpha),
            style: None,
            y: bound.alpha,
        }],
        uprights: bound
            .c_max
            .iter()
            .map(|c| (f64::from(*c), format!("C_max {c}")))
            .collect(),
    };
    let ending = match &result.decision {
        BoundDecision::Found { reason, .. } => reason.clone(),
        BoundDecision::Probe { clusters } => format!("still at work, next at C = {clusters:?}"),
    };
    html! {
        h3 { "Upper bound, " (bound.clustering) }
        (figure(&chart, &format!("Utilisation of every probe of the search for the largest C with \
            r_C > {}. The search: {ending}.", bound.alpha)))
        @if let Some(lower) = &bound.lower {
            p { "Lower bound (used clusters of TEMI with β = 1): C" sub { "min" } " ≈ " (words::spread(lower.mean, lower.std)) " from "
                @for (index, (clusters, used)) in lower.probes.iter().enumerate() { @if index > 0 { ", " } "U = " (used) " at C = " (words::count((*clusters).into())) } "." }
        }
    }
}

/// Sizes relative to equal shares, and what could not be read.
fn sizes(facts: &Facts) -> (Chart, Vec<(String, String)>) {
    let (mut series, mut unread) = (Vec::new(), Vec::new());
    for clustering in facts
        .outcome
        .clusterings
        .iter()
        .filter(|clustering| clustering.trained)
    {
        let label = format!("{} C={}", clustering.name, clustering.clusters);
        match counts(facts, clustering) {
            Err(reason) => unread.push((label, reason)),
            Ok(mut counts) => {
                counts.sort_unstable_by(|a, b| b.cmp(a));
                let (total, used) = (counts.iter().sum::<i64>() as f64, counts.len() as f64);
                let point = |(rank, count): (usize, &i64)| Point {
                    x: (rank as f64 + 0.5) / used,
                    y: *count as f64 * used / total,
                    error: None,
                    tip: format!("{label}, rank {}: {count} images", rank + 1),
                };
                let style = series.len();
                series.push(Series {
                    name: label.clone(),
                    style,
                    joined: true,
                    marked: counts.len() <= 24,
                    points: counts.iter().enumerate().map(point).collect(),
                });
            }
        }
    }
    let (x, y) = (
        Axis::fraction("rank of the cluster / number of used clusters"),
        Axis::from_zero("images × U / all images"),
    );
    let levels = vec![Level {
        name: "equal shares".to_owned(),
        style: None,
        y: 1.0,
    }];
    (
        Chart {
            x,
            y,
            right: None,
            series,
            levels,
            uprights: Vec::new(),
        },
        unread,
    )
}

fn counts(facts: &Facts, clustering: &ClusteringOutcome) -> Result<Vec<i64>, String> {
    let object = clustering
        .assignments
        .as_ref()
        .ok_or("the clustering has no assignments file")?;
    let counts = facts
        .artefacts
        .integers(object, COUNTS.name)?
        .ok_or("the assignments file holds no counts")?;
    if counts.iter().sum::<i64>() > 0 {
        Ok(counts)
    } else {
        Err("the assignments file counts no images".to_owned())
    }
}

fn table(facts: &Facts) -> Markup {
    let heads = [
        "clustering",
        "#C",
        "#U",
        "#r_C",
        "#smallest",
        "#largest",
        "#entropy of p(c), nats",
        "#KL(uniform‖p), nats",
        "#confidence",
        "#neighbour agreement",
        "#NMI",
        "#ANMI",
        "#ARI",
        "#ACC",
        "network",
    ];
    let labelled = facts
        .outcome
        .images
        .as_ref()
        .is_some_and(|images| images.set.classes > 0);
    let no_labels = if labelled {
        "not computed for this clustering"
    } else {
        "the images have no labels"
    };
    let row = |clustering: &ClusteringOutcome| {
        let result = &clustering.result;
        let quality = |pick: fn(&cedm_contract::kinds::cluster::ClusterQuality) -> f64| {
            optional(result.quality.as_ref().map(pick), no_labels)
        };
        vec![
            html! { (clustering.name) @if clustering.lower_bound { " (β = 1)" } @if clustering.seed != 0 { " seed " (clustering.seed) } },
            html! { (words::count(clustering.clusters.into())) },
            html! { (words::count(result.used.into())) },
            html! { (format!("{:.4}", result.utilisation)) },
            html! { (words::count(result.smallest)) },
            html! { (words::count(result.largest)) },
            html! { (words::number(result.marginal_entropy)) },
            html! { (words::number(result.kl_uniform)) },
            result.mean_confidence.map_or_else(
                || words::inapplicable("only TEMI has a confidence"),
                |value| html! { (words::number(value)) },
            ),
            result.neighbour_agreement.map_or_else(
                || words::inapplicable("nobody looked at its neighbours"),
                |value| html! { (words::number(value)) },
            ),
            quality(|q| q.nmi),
            quality(|q| q.anmi),
            quality(|q| q.ari),
            quality(|q| q.acc),
            html! { @if clustering.trained { "trained" } @else { span.quiet { "probe" } } },
        ]
    };
    Table {
        name: "clusterings-table",
        heads: heads.map(str::to_owned).to_vec(),
        rows: facts.outcome.clusterings.iter().map(row).collect(),
    }
    .markup()
}
