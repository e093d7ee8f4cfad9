//! Sample efficiency: training images to beat the unconditional network (spec §13).

use crate::{context::ReportContext, format, section::absent};
use cedm_sweep::outcome::Answer;
use maud::{Markup, html};

/// Training images at which each network first beats the best of the unconditional one.
pub fn markup(context: &ReportContext, answer: &Answer) -> Markup {
    let Some(first) = answer.efficiency.first() else {
        return html! {
            @if let Some(reason) = why_none(context) {
                div { h3 { "Sample efficiency" } (absent("sample efficiency", reason)) }
            }
        };
    };
    html! {
        div {
            h3 { "Training images to beat the unconditional best" }
            table.plain {
                @for one in &answer.efficiency {
                    tr {
                        td { (one.cell) }
                        @match one.nimg {
                            Some(nimg) => {
                                td.number { (format::images(nimg)) }
                                td.number { @if let Some(ratio) = one.ratio { (times(ratio)) } }
                                td.quiet { @if let Some(at) = one.crossing_nimg { "crosses near " (format::images(at as u64)) } @else { "at its first snapshot" } }
                            }
                            None => td colspan="3" { "never, within this budget" }
                        }
                    }
                }
            }
            p.note { "First snapshot that beats the unconditional network's best, reached after " (format::images(first.unconditional_nimg)) "; every snapshot is evaluated on "
                (format::count(first.images)) " images. The crossing is interpolated linearly between snapshots." }
        }
    }
}

/// "4.0× fewer": the unconditional network's images over this one's.
fn times(ratio: f64) -> String {
    if (ratio - 1.0).abs() < 0.005 {
        "equally many".to_owned()
    } else if ratio > 1.0 {
        format!("{ratio:.1}× fewer")
    } else {
        format!("{:.1}× more", 1.0 / ratio)
    }
}

fn why_none(context: &ReportContext) -> Option<&'static str> {
    if context.unconditional().is_none() {
        Some("the sweep has no unconditional network to beat")
    } else if context.outcome.spec.training.snapshots_nimg.len() < 2 {
        Some("one snapshot makes no curve: set `snapshots` in [training]")
    } else if context.outcome.spec.sampling.snapshot_images == 0 {
        Some("snapshots before the last were not sampled: set `snapshot_images` in [sampling]")
    } else {
        None
    }
}
