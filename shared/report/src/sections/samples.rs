//! The same seeds through every network.

use crate::{
    artefacts::Picture,
    context::{ReportContext, newest_sampled, sampled},
    format,
    section::{Section, absent},
    tiles,
};
use cedm_contract::{ShardRef, kinds::sample::LabelSource};
use cedm_sweep::outcome::CellOutcome;
use maud::{Markup, html};

/// Pictures of each network.
const PER_ROW: u64 = 16;

/// One row of pictures for each network, and one of real images.
pub fn section(context: &ReportContext) -> Option<Section> {
    let mut cells = context.outcome.cells.iter();
    cells.find(|cell| newest_sampled(cell).is_some())?;
    let body = html! {
        p { "Each column is one seed: every network starts from the same noise. " (labels(context))
            " Nothing is selected: these are the first images of the first set." }
        div.strips {
            @for cell in &context.outcome.cells {
                @match strip(context, cell) {
                    Ok(strip) => (strip),
                    Err(reason) => (absent(&format!("samples of {}", cell.label), &reason)),
                }
            }
            @if let Some(strip) = real_strip(context) { (strip) }
        }
    };
    Some(Section {
        id: "samples",
        title: "Samples from the same seeds",
        body,
    })
}

/// How the seeds get their labels, in every set of the sweep.
fn labels(context: &ReportContext) -> &'static str {
    let on_labels = context.outcome.cells.iter().any(CellOutcome::is_on_labels);
    match (&context.outcome.spec.sampling.sampler.labels, on_labels) {
        (LabelSource::Prior, false) => "Each network's own p(c) decides which label the seed gets.",
        (LabelSource::Prior, true) => {
            "Each network's own p(c) decides which label the seed gets, that of the classes for \
             ground truth, whose labels the authors' script draws uniformly."
        }
        (LabelSource::Uniform, _) => "Every label is as likely, in all networks.",
        (LabelSource::Fixed { .. }, _) => "Every seed gets the same label.",
    }
}

fn strip(context: &ReportContext, cell: &CellOutcome) -> Result<Markup, String> {
    let (nimg, samples) = sampled(cell)?;
    let set = &samples.result;
    let pictures = first_pictures(context, &set.shards, set.count)?;
    let (first, last) = (set.first_seed, set.first_seed + pictures.len() as u64 - 1);
    Ok(html! {
        div.strip {
            div.name { strong { (cell.label) } span.quiet { "seeds " (first) "–" (last) ", " (format::images(nimg)) " training images" } }
            (tiles::grid(&pictures, PER_ROW as usize, &format!("samples of {}", cell.label)))
        }
    })
}

/// The first real images; nothing where they cannot be read.
fn real_strip(context: &ReportContext) -> Option<Markup> {
    let images = context.outcome.images.as_ref()?;
    let pictures = first_pictures(context, &images.set.shards, images.set.count).ok()?;
    Some(html! {
        div.strip {
            div.name { strong { "real images" } span.quiet { "the first of " (images.name) } }
            (tiles::grid(&pictures, PER_ROW as usize, "real images"))
        }
    })
}

fn first_pictures(
    context: &ReportContext,
    shards: &[ShardRef],
    count: u64,
) -> Result<Vec<Option<Picture>>, String> {
    let rows: Vec<u64> = (0..count.min(PER_ROW)).collect();
    context.artefacts.pictures(shards, &rows)
}
