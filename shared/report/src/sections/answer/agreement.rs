//! What other feature spaces say.

use crate::{context::ReportContext, format};
use cedm_sweep::outcome::Answer;
use maud::{Markup, html};

/// FID against FDD: whether the deciding metrics of other feature spaces name the same C.
pub fn markup(context: &ReportContext, answer: &Answer) -> Markup {
    html! {
        @if !answer.agreement.is_empty() {
            div {
                h3 { "What other feature spaces say" }
                table.plain {
                    @for one in &answer.agreement {
                        tr {
                            td { (context.title_of(&one.metric)) }
                            td class=(if one.same { "better" } else { "worse" }) { @if one.same { "agrees: " } @else { "disagrees: " } (one.best) }
                            td { @match one.within_bound { Some(true) => "within C_max", Some(false) => "above C_max", None => "" } }
                            td.quiet { @match one.tau {
                                Some(tau) => { "Kendall τ " (format::number(tau)) " over " (format::counted(one.networks.into(), "network")) }
                                None => { "too few networks to compare orders" }
                            } }
                        }
                    }
                }
                p.note { "τ compares the order of all networks: 1 is the same order, −1 the opposite." }
            }
        }
    }
}
