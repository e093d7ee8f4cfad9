//! Pictures: the same seeds through every network, and each cluster beside its real images.

use crate::{
    artefacts::Picture,
    facts::{Facts, newest_sampled},
    section::{Section, absent},
    tiles, words,
};
use cedm_contract::kinds::{cluster::assignments::IDS, sample::images::LABELS};
use cedm_sweep::outcome::{CellOutcome, SamplesOutcome};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Pictures per row of a granularity.
const PER_ROW: usize = 16;
/// Pictures per cluster and side.
const PER_CLUSTER: usize = 8;
/// Clusters shown; of more, these many spread over the sizes.
const CLUSTERS_SHOWN: usize = 40;

/// Rows of samples from the same seeds.
pub fn by_granularity(facts: &Facts) -> Option<Section> {
    facts
        .outcome
        .cells
        .iter()
        .find(|cell| newest_sampled(cell).is_some())?;
    let row = |cell: &CellOutcome| -> Markup {
        let name = html! { strong { (cell.label) } };
        match first_pictures(facts, cell) {
            Ok((first_seed, nimg, pictures)) => html! {
                div.strip {
                    div.name { (name) span.quiet { "seeds " (first_seed) "–" (first_seed + pictures.len() as u64 - 1) ", " (words::images(nimg)) " training images" } }
                    (tiles::grid(&pictures, PER_ROW, &format!("samples of {}", cell.label)))
                }
            },
            Err(reason) => absent(&format!("samples of {}", cell.label), &reason),
        }
    };
    let body = html! {
        p { "A column shows one seed, and so one starting noise, through every network; a \
            network's own p(c) decides which label the seed gets. \
            Nothing is picked: these are the first images of the first set." }
        div.strips { @for cell in &facts.outcome.cells { (row(cell)) } }
        @if let Some((name, pictures)) = real(facts) { div.strips { div.strip { div.name { strong { "real images" } span.quiet { "the first of " (name) } } (tiles::grid(&pictures, PER_ROW, "real images")) } } }
    };
    Some(Section {
        id: "samples",
        title: "Samples from the same seeds",
        body,
    })
}

/// The sample set of a network that pictures are taken from.
pub fn sampled(cell: &CellOutcome) -> Result<(u64, &SamplesOutcome), String> {
    let snapshot = newest_sampled(cell).ok_or("no sample set of it is done")?;
    let samples = snapshot
        .sets
        .iter()
        .find_map(|set| set.samples.as_ref())
        .ok_or("no sample set of it is done")?;
    Ok((snapshot.nimg, samples))
}

fn first_pictures(
    facts: &Facts,
    cell: &CellOutcome,
) -> Result<(u64, u64, Vec<Option<Picture>>), String> {
    let (nimg, samples) = sampled(cell)?;
    let rows: Vec<u64> = (0..samples.result.count.min(PER_ROW as u64)).collect();
    Ok((
        samples.result.first_seed,
        nimg,
        facts.artefacts.pictures(&samples.result.shards, &rows)?,
    ))
}

fn real<'a>(facts: &Facts<'a>) -> Option<(&'a str, Vec<Option<Picture>>)> {
    let images = facts.outcome.images.as_ref()?;
    let rows: Vec<u64> = (0..images.set.count.min(PER_ROW as u64)).collect();
    Some((
        images.name.as_str(),
        facts.artefacts.pictures(&images.set.shards, &rows).ok()?,
    ))
}

/// Real images of each cluster beside generated ones of the same label, for the best network.
pub fn by_cluster(facts: &Facts) -> Option<Section> {
    let conditional =
        |cell: &&CellOutcome| cell.condition.is_some() && newest_sampled(cell).is_some();
    let cell = facts
        .best()
        .filter(conditional)
        .or_else(|| facts.outcome.cells.iter().find(conditional))?;
    let large = facts
        .outcome
        .images
        .as_ref()
        .is_some_and(|images| tiles::fills_a_row(images.set.resolution as usize));
    let body = match clusters_of(facts, cell) {
        Err(reason) => absent(&format!("clusters of {}", cell.label), &reason),
        Ok(clusters) => html! {
            p { "Left: real images of the cluster, the first of each in data-set order. Right: \
                images generated with that label, the first of each in seed order." }
            @if clusters.all > clusters.shown.len() { p { (clusters.shown.len()) " of " (clusters.all) " clusters, spread from the largest to the smallest." } }
            div.pairs.large[large] { @for one in &clusters.shown {
                div.pair {
                    div.name { strong { "cluster " (one.id) } span.quiet { (words::counted(one.size, "image")) } }
                    (tiles::half_grid(&one.real, PER_CLUSTER, &format!("real images of cluster {}", one.id)))
                    @if one.generated.iter().any(Option::is_some) { (tiles::half_grid(&one.generated, PER_CLUSTER, &format!("generated images of cluster {}", one.id))) }
                    @else { p.quiet { "no image of this label was generated in the first set" } }
                }
            } }
        },
    };
    Some(Section {
        id: "per-cluster",
        title: "Clusters, real and generated",
        body: html! { p.subject { (cell.label) } (body) },
    })
}

struct Clusters {
    all: usize,
    shown: Vec<Cluster>,
}
struct Cluster {
    id: i64,
    size: u64,
    real: Vec<Option<Picture>>,
    generated: Vec<Option<Picture>>,
}

fn clusters_of(facts: &Facts, cell: &CellOutcome) -> Result<Clusters, String> {
    let images = facts
        .outcome
        .images
        .as_ref()
        .ok_or("the image set's manifest cannot be read")?;
    let clustering = facts
        .condition(cell)
        .ok_or("its clustering is not among the results")?;
    let assignments = clustering
        .assignments
        .as_ref()
        .ok_or("the clustering has no assignments file")?;
    let ids = facts
        .artefacts
        .integers(assignments, IDS.name)?
        .ok_or("the assignments file holds no ids")?;
    let real = rows_by_label(&ids);
    let (_, samples) = sampled(cell)?;
    let labels = facts
        .artefacts
        .column(&samples.result.shards, LABELS.name)?
        .ok_or("the sample set holds no labels")?;
    let generated = rows_by_label(&labels);
    let mut by_size: Vec<(&i64, &Vec<u64>)> = real.iter().collect();
    by_size.sort_by_key(|(id, rows)| (std::cmp::Reverse(rows.len()), **id));
    let mut picked: Vec<_> = if by_size.len() <= CLUSTERS_SHOWN {
        by_size.clone()
    } else {
        (0..CLUSTERS_SHOWN)
            .map(|n| by_size[n * (by_size.len() - 1) / (CLUSTERS_SHOWN - 1)])
            .collect()
    };
    picked.sort_by_key(|(id, _)| **id);
    let first = |rows: &[u64]| rows.iter().copied().take(PER_CLUSTER).collect::<Vec<_>>();
    let padded = |mut pictures: Vec<Option<Picture>>| {
        pictures.resize(PER_CLUSTER, None);
        pictures
    };
    let cluster = |(id, rows): (&i64, &Vec<u64>)| -> Result<Cluster, String> {
        let of_label = generated.get(id).map_or(&[][..], Vec::as_slice);
        Ok(Cluster {
            id: *id,
            size: rows.len() as u64,
            real: padded(facts.artefacts.pictures(&images.set.shards, &first(rows))?),
            generated: padded(
                facts
                    .artefacts
                    .pictures(&samples.result.shards, &first(of_label))?,
            ),
        })
    };
    Ok(Clusters {
        all: real.len(),
        shown: picked.into_iter().map(cluster).collect::<Result<_, _>>()?,
    })
}

/// Rows of each label, in order.
pub fn rows_by_label(labels: &[i64]) -> BTreeMap<i64, Vec<u64>> {
    let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (row, label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
        rows.entry(*label).or_default().push(row as u64);
    }
    rows
}
