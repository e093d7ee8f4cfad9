//! The feature space in which images are clustered, and how well it tells labels apart.

use crate::{
    facts::Facts,
    section::{Section, absent},
    words,
};
use maud::{Markup, html};

/// Extractor, adaptation and judgement.
pub fn section(facts: &Facts) -> Option<Section> {
    let features = facts.outcome.features.as_ref()?;
    let labelled = facts
        .outcome
        .images
        .as_ref()
        .is_some_and(|images| images.set.classes > 1);
    let judgement: Markup = match &features.judged {
        Some(judged) => html! {
            p { "Against the labels, which nothing else here has seen: k-nearest-neighbour \
                accuracy (k = 20, cosine, temperature 0.07) "
                strong { (share(judged.knn_accuracy)) } ", linear probe on a held-out fifth " strong { (share(judged.probe_accuracy)) }
                " (" (words::count(judged.count)) " images, " (judged.classes) " classes)." }
        },
        None if labelled => absent("judgement of the features", "it is not finished"),
        None => absent("judgement of the features", "the image set has no labels"),
    };
    let body = html! {
        p { "Extractor " code { (features.extractor) } ", " (words::counted(features.dim.into(), "number")) " for each image." }
        @if let Some(adapted) = &features.adapted {
            p { "Adapted to these images by DINO training without \
                labels: " (words::counted(adapted.steps, "step"))
                ", mean loss of the last epoch " (words::number(adapted.loss)) "." }
        }
        (judgement)
    };
    Some(Section {
        id: "features",
        title: "Features",
        body,
    })
}

fn share(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}
