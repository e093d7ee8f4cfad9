//! Most and least confident images, beside the unconditional network's from the same seeds (spec
//! §11).

use super::galleries::sampled;
use crate::{
    artefacts::Picture,
    facts::{Facts, end},
    section::{Section, absent},
    tiles, words,
};
use cedm_contract::kinds::{
    cluster::assignments::{CONFIDENCE, IDS},
    sample::images::LABELS,
    score::confidence::LOG_CONFIDENCE,
};
use cedm_sweep::outcome::{CellOutcome, ClusteringOutcome, SamplesOutcome};
use maud::{Markup, html};

const SHOWN: usize = 24;
const COLUMNS: usize = 8;

/// The gallery of the best network whose clustering knows a confidence.
pub fn section(facts: &Facts) -> Option<Section> {
    let confident = |cell: &&CellOutcome| {
        facts
            .condition(cell)
            .is_some_and(|clustering| clustering.result.mean_confidence.is_some())
    };
    let cell = facts
        .best()
        .filter(confident)
        .or_else(|| facts.best_of(facts.outcome.cells.iter().filter(confident)))?;
    let clustering = facts.condition(cell)?;
    let body = match ranked(facts, cell, clustering) {
        Ok(ranking) => gallery(facts, &ranking),
        Err(reason) => absent("most and least confident images", &reason),
    };
    Some(Section {
        id: "confidence",
        title: "Most and least confident",
        body: html! { p.subject { (cell.label) } (body) },
    })
}

struct Ranking<'a> {
    /// Rows of the sample set, least confident first.
    rows: Vec<usize>,
    /// Whether each image was judged, or only its cluster.
    by_image: bool,
    samples: &'a SamplesOutcome,
}

/// Generated images by their own confidence where the sample shards hold one, else by the mean
/// confidence of the real images of their cluster.
fn ranked<'a>(
    facts: &Facts,
    cell: &'a CellOutcome,
    clustering: &ClusteringOutcome,
) -> Result<Ranking<'a>, String> {
    let (samples, own) = judged(facts, cell)?;
    let by_image = own.is_some();
    let scores: Vec<f64> = if let Some(own) = own {
        own.into_iter().map(f64::from).collect()
    } else {
        let labels = facts
            .artefacts
            .column(&samples.result.shards, LABELS.name)?
            .ok_or("the sample set holds no labels")?;
        let means = cluster_means(facts, clustering)?;
        labels
            .iter()
            .map(|label| {
                usize::try_from(*label)
                    .ok()
                    .and_then(|label| means.get(label))
                    .copied()
                    .unwrap_or(f64::NAN)
            })
            .collect()
    };
    let mut rows: Vec<usize> = (0..scores.len())
        .filter(|row| scores[*row].is_finite())
        .collect();
    rows.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
    if !by_image {
        // All images of a cluster tie: a row of each cluster says more than one cluster alone.
        let mut taken = std::collections::BTreeMap::new();
        rows.retain(|row| {
            let count = taken.entry(scores[*row].to_bits()).or_insert(0);
            *count += 1;
            *count <= COLUMNS
        });
    }
    if rows.is_empty() {
        Err("no generated image has a finite confidence".to_owned())
    } else {
        Ok(Ranking {
            rows,
            by_image,
            samples,
        })
    }
}

/// A sample set with the confidence of each of its images; of a set that was not judged, the images
/// alone.
fn judged<'a>(
    facts: &Facts,
    cell: &'a CellOutcome,
) -> Result<(&'a SamplesOutcome, Option<Vec<f32>>), String> {
    for set in end(cell).map_or(&[][..], |snapshot| &snapshot.sets) {
        let object = set
            .scores
            .values()
            .find_map(|scores| scores.confidence.as_ref());
        let (Some(samples), Some(object)) = (&set.samples, object) else {
            continue;
        };
        let found = facts
            .artefacts
            .floats(object, LOG_CONFIDENCE.name)?
            .ok_or("the confidence file holds no `log_confidence`")?;
        if found.len() as u64 != samples.result.count {
            return Err(format!(
                "{} confidences for {} images",
                found.len(),
                samples.result.count
            ));
        }
        return Ok((samples, Some(found)));
    }
    let (_, samples) = sampled(cell)?;
    Ok((samples, None))
}

/// Mean log-confidence of each cluster's training images.
fn cluster_means(facts: &Facts, clustering: &ClusteringOutcome) -> Result<Vec<f64>, String> {
    let object = clustering
        .assignments
        .as_ref()
        .ok_or("the clustering has no assignments file")?;
    let ids = facts
        .artefacts
        .integers(object, IDS.name)?
        .ok_or("the assignments file holds no ids")?;
    let confidence = facts
        .artefacts
        .floats(object, CONFIDENCE.name)?
        .ok_or("the assignments file holds no confidence")?;
    let clusters = ids.iter().max().map_or(0, |id| (*id).max(-1) + 1) as usize;
    let (mut sums, mut counts) = (vec![0.0; clusters], vec![0.0; clusters]);
    for (id, value) in ids.iter().zip(confidence) {
        if let Ok(id) = usize::try_from(*id) {
            sums[id] += f64::from(value);
            counts[id] += 1.0;
        }
    }
    Ok(sums
        .iter()
        .zip(&counts)
        .map(|(sum, count)| sum / count)
        .collect())
}

fn gallery(facts: &Facts, ranking: &Ranking) -> Markup {
    let least: Vec<u64> = ranking
        .rows
        .iter()
        .take(SHOWN)
        .map(|row| *row as u64)
        .collect();
    let most: Vec<u64> = ranking
        .rows
        .iter()
        .rev()
        .take(SHOWN)
        .map(|row| *row as u64)
        .collect();
    let rule = if ranking.by_image {
        "Generated images by the largest softmax probability of the TEMI head that made the \
         clusters, at temperature 0.1 and compared by its logarithm: many probabilities round to 1."
    } else {
        "Generated images by the mean confidence of the real images of their cluster: this sweep \
         did not ask for the metric `confidence`, so that the head judged no generated image."
    };
    html! {
        p { (rule) " Beside them: the unconditional network's images from the same seeds." }
        div.pairs {
            (side(facts, ranking, "least confident", &least))
            (side(facts, ranking, "most confident", &most))
        }
    }
}

fn side(facts: &Facts, ranking: &Ranking, name: &str, rows: &[u64]) -> Markup {
    let own = facts
        .artefacts
        .pictures(&ranking.samples.result.shards, rows);
    let seeds: Vec<u64> = rows
        .iter()
        .map(|row| ranking.samples.result.first_seed + row)
        .collect();
    let show = |what: &str, pictures: Result<Vec<Option<Picture>>, String>| match pictures {
        Ok(pictures) => tiles::half_grid(&pictures, COLUMNS, what),
        Err(reason) => absent(what, &reason),
    };
    html! {
        div.pair.wide-pair {
            div.name { strong { (name) } span.quiet { (words::counted(rows.len() as u64, "image")) } }
            div { (show(&format!("{name} images"), own)) p.quiet { "conditional" } }
            div { (show(&format!("unconditional images of the same seeds as the {name} ones"), unconditional(facts, &seeds))) p.quiet { "unconditional, same seeds" } }
        }
    }
}

fn unconditional(facts: &Facts, seeds: &[u64]) -> Result<Vec<Option<Picture>>, String> {
    let cell = facts
        .unconditional()
        .ok_or("the sweep has no unconditional network")?;
    let (_, samples) = sampled(cell)?;
    let row = |seed: &u64| {
        seed.checked_sub(samples.result.first_seed)
            .filter(|row| *row < samples.result.count)
    };
    let rows: Vec<u64> = seeds
        .iter()
        .map(|seed| row(seed).unwrap_or(u64::MAX))
        .collect();
    if rows.iter().all(|row| *row == u64::MAX) {
        return Err("its sample set holds none of these seeds".to_owned());
    }
    facts.artefacts.pictures(&samples.result.shards, &rows)
}
