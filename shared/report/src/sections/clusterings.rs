//! Clusterings: the bound search, sizes, agreement with labels.

pub(super) mod bound_search;
mod sizes;

use crate::{
    context::ReportContext,
    format,
    section::{Section, Table, absent, figure, optional},
};
use cedm_sweep::outcome::ClusteringOutcome;
use maud::{Markup, html};

/// Bounds, sizes and agreement with labels.
pub fn section(context: &ReportContext) -> Option<Section> {
    if context.outcome.clusterings.is_empty() && context.outcome.bounds.is_empty() {
        return None;
    }
    let (sizes, unread) = sizes::chart(context);
    let body = html! {
        @for bound in &context.outcome.bounds { (bound_search::markup(context, bound)) }
        h3 { "Cluster sizes" }
        (figure(&sizes, "Sizes of the used clusters, largest first, of the clusterings that \
            condition networks: 1 means that all clusters are equally large."))
        @for (label, reason) in &unread { (absent(&format!("sizes of {label}"), reason)) }
        h3 { "All clusterings" }
        (table(context))
    };
    Some(Section {
        id: "clusterings",
        title: "Clusterings",
        body,
    })
}

fn table(context: &ReportContext) -> Markup {
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
    let labelled = context
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
            html! { (format::count(clustering.clusters.into())) },
            html! { (format::count(result.used.into())) },
            html! { (format!("{:.4}", result.utilisation)) },
            html! { (format::count(result.smallest)) },
            html! { (format::count(result.largest)) },
            html! { (format::number(result.marginal_entropy)) },
            html! { (format::number(result.kl_uniform)) },
            result.mean_confidence.map_or_else(
                || format::inapplicable("only TEMI has a confidence"),
                |value| html! { (format::number(value)) },
            ),
            result.neighbour_agreement.map_or_else(
                || format::inapplicable("its neighbours were not computed"),
                |value| html! { (format::number(value)) },
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
        rows: context.outcome.clusterings.iter().map(row).collect(),
    }
    .markup()
}
