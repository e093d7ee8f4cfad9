//! Most and least confident images, beside the unconditional network's from the same seeds (spec
//! §11).

mod ranking;

use crate::{
    artefacts::Picture,
    context::{ReportContext, sampled},
    format,
    section::{Section, absent},
    tiles,
};
use cedm_sweep::outcome::CellOutcome;
use maud::{Markup, html};
use ranking::{Ranking, ranked};

/// Images on each side.
const SHOWN: usize = 24;
const COLUMNS: usize = 8;

/// The images of the best network whose clustering knows a confidence.
pub fn section(context: &ReportContext) -> Option<Section> {
    let confident = |cell: &&CellOutcome| {
        let clustering = context.condition(cell);
        clustering.is_some_and(|clustering| clustering.result.mean_confidence.is_some())
    };
    let others = || context.best_of(context.outcome.cells.iter().filter(confident));
    let cell = context.best().filter(confident).or_else(others)?;
    let clustering = context.condition(cell)?;
    let body = match ranked(context, cell, clustering) {
        Ok(ranking) => gallery(context, &ranking),
        Err(reason) => absent("most and least confident images", &reason),
    };
    Some(Section {
        id: "confidence",
        title: "Most and least confident images",
        body: html! { p.subject { (cell.label) } (body) },
    })
}

fn gallery(context: &ReportContext, ranking: &Ranking) -> Markup {
    let rows = |row: &usize| *row as u64;
    let least: Vec<u64> = ranking.rows.iter().take(SHOWN).map(rows).collect();
    let most: Vec<u64> = ranking.rows.iter().rev().take(SHOWN).map(rows).collect();
    let rule = if ranking.by_image {
        "Generated images by the largest softmax probability of the TEMI head that made the \
         clusters, at temperature 0.1 and compared by its logarithm: many probabilities round to 1."
    } else {
        "Generated images by the mean confidence of the real images of their cluster: this sweep \
         did not ask for the metric `confidence`, so no generated image was passed through the head."
    };
    html! {
        p { (rule) " Beside them: the unconditional network's images from the same seeds." }
        div.pairs {
            (side(context, ranking, "least confident", &least))
            (side(context, ranking, "most confident", &most))
        }
    }
}

/// Images in these rows, and the unconditional network's from the same seeds.
fn side(context: &ReportContext, ranking: &Ranking, name: &str, rows: &[u64]) -> Markup {
    let set = &ranking.samples.result;
    let own = context.artefacts.pictures(&set.shards, rows);
    let seeds: Vec<u64> = rows.iter().map(|row| set.first_seed + row).collect();
    let show = |what: &str, pictures: Result<Vec<Option<Picture>>, String>| match pictures {
        Ok(pictures) => tiles::half_grid(&pictures, COLUMNS, what),
        Err(reason) => absent(what, &reason),
    };
    html! {
        div.pair.wide-pair {
            div.name { strong { (name) } span.quiet { (format::counted(rows.len() as u64, "image")) } }
            div { (show(&format!("{name} images"), own)) p.quiet { "conditional" } }
            div {
                (show(&format!("unconditional images of the same seeds as the {name} ones"), unconditional(context, &seeds)))
                p.quiet { "unconditional, same seeds" }
            }
        }
    }
}

/// The unconditional network's images from these seeds; `None` for seeds that it has no image of.
fn unconditional(context: &ReportContext, seeds: &[u64]) -> Result<Vec<Option<Picture>>, String> {
    let cell = context.unconditional();
    let cell = cell.ok_or("the sweep has no unconditional network")?;
    let set = &sampled(cell)?.1.result;
    let row = |seed: &u64| {
        let row = seed.checked_sub(set.first_seed);
        row.filter(|row| *row < set.count).unwrap_or(u64::MAX)
    };
    let rows: Vec<u64> = seeds.iter().map(row).collect();
    if rows.iter().all(|row| *row == u64::MAX) {
        return Err("its sample set holds none of these seeds".to_owned());
    }
    context.artefacts.pictures(&set.shards, &rows)
}
