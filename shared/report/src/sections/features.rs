//! The feature space in which images are clustered, and how well it separates the labels.

use crate::{
    context::ReportContext,
    format,
    section::{Section, absent},
};
use maud::{Markup, html};

/// Extractor, adaptation and evaluation against labels.
pub fn section(context: &ReportContext) -> Option<Section> {
    let features = context.outcome.features.as_ref()?;
    let labelled = context
        .outcome
        .images
        .as_ref()
        .is_some_and(|images| images.set.classes > 1);
    let evaluation: Markup = match &features.evaluation {
        Some(found) => html! {
            p { "Accuracy against the labels, which nothing else here has seen: k nearest \
                neighbours (k = 20, cosine, temperature 0.07) "
                strong { (format::share(found.knn_accuracy)) } ", linear probe on a held-out fifth " strong { (format::share(found.probe_accuracy)) }
                " (" (format::count(found.count)) " images, " (found.classes) " classes)." }
        },
        None if labelled => absent("evaluation of the features", "it is not finished"),
        None => absent("evaluation of the features", "the image set has no labels"),
    };
    let body = html! {
        p { "Extractor " code { (features.extractor) } ", " (format::counted(features.dim.into(), "number")) " per image." }
        @if let Some(adapted) = &features.adapted {
            p { "Adapted to these images by DINO training without \
                labels: " (format::counted(adapted.steps, "step"))
                ", mean loss of the last epoch " (format::number(adapted.loss)) "." }
        }
        (evaluation)
    };
    Some(Section {
        id: "features",
        title: "Features",
        body,
    })
}
