//! The bound search: utilisation of every probe, C_max, and the lower bound.

use crate::{
    chart::{Axis, Chart, Level, Line, Point, Series},
    context::ReportContext,
    format,
    section::{absent, figure},
};
use cedm_contract::kinds::bound::{BoundDecision, BoundResult, Probe};
use cedm_sweep::outcome::{BoundOutcome, LowerBound};
use maud::{Markup, html};

/// The search of one clustering.
pub fn markup(context: &ReportContext, bound: &BoundOutcome) -> Markup {
    let Some(result) = &bound.result else {
        return absent(
            &format!("bound search of {}", bound.clustering),
            "no step of it is done",
        );
    };
    let ending = match &result.decision {
        BoundDecision::Found { reason, .. } => reason.clone(),
        BoundDecision::Probe { clusters } => format!("still running, next at C = {clusters:?}"),
    };
    html! {
        h3 { "Upper bound, " (bound.clustering) }
        @if let Some(close) = closeness(result) { p { (close) } }
        (figure(&chart(context, bound, result), &format!("Utilisation of every probe of the search for the largest C with \
            r_C > {}. The search: {ending}.", bound.alpha)))
        @if let Some(lower) = &bound.lower { (lower_bound(lower)) }
    }
}

/// How closely C_max is known: by what was tried above it.
pub(in crate::sections) fn closeness(result: &BoundResult) -> Option<String> {
    let c_max = result.c_max()?;
    Some(match result.fails_above() {
        Some(fails) => format!(
            "C_max is {c_max}, and C = {fails} fails: it is known to within {}.",
            fails - c_max
        ),
        None => format!("C_max is at least {c_max}: no larger C was tried."),
    })
}

fn lower_bound(lower: &LowerBound) -> Markup {
    html! {
        p { "Lower bound (used clusters of TEMI with β = 1): C" sub { "min" } " ≈ " (format::spread(lower.mean, lower.std)) " from "
            @for (index, (clusters, used)) in lower.probes.iter().enumerate() {
                @if index > 0 { ", " }
                "U = " (used) " at C = " (format::count((*clusters).into()))
            } "." }
    }
}

fn chart(context: &ReportContext, bound: &BoundOutcome, result: &BoundResult) -> Chart {
    let point = |probe: &Probe| {
        let used: Vec<String> = probe.used.iter().map(u32::to_string).collect();
        let passes = if probe.passes { "passes" } else { "fails" };
        Point {
            x: f64::from(probe.clusters),
            y: probe.utilisation,
            error: probe.utilisation_std,
            tooltip: format!(
                "C={}: U = {}, r_C = {:.4}, {passes}",
                probe.clusters,
                used.join(", "),
                probe.utilisation
            ),
        }
    };
    let series = Series {
        name: bound.clustering.clone(),
        style: context.style(&bound.clustering),
        line: Line::JoinedMarks,
        points: result.probes.iter().map(point).collect(),
    };
    let y = Axis::linear("r_C, share of clusters in use").within((0.0, 1.0));
    Chart {
        levels: vec![Level {
            name: format!("α = {}", bound.alpha),
            style: None,
            y: bound.alpha,
        }],
        verticals: bound
            .c_max
            .iter()
            .map(|c_max| (f64::from(*c_max), format!("C_max {c_max}")))
            .collect(),
        ..Chart::new(Axis::clusters(), y, [series])
    }
}
