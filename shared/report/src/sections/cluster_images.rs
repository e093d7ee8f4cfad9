//! Real images of each cluster beside generated ones of the same label.

use crate::{
    artefacts::Picture,
    assignments::{Assignments, rows_by_label},
    context::{ReportContext, newest_sampled, sampled},
    format,
    section::{Section, absent},
    tiles,
};
use cedm_contract::ShardRef;
use cedm_sweep::outcome::CellOutcome;
use maud::{Markup, html};

/// Pictures of each cluster, real and generated.
const PER_CLUSTER: usize = 8;
/// Clusters shown; of more, so many spread over the sizes.
const CLUSTERS_SHOWN: usize = 40;

/// The clusters of the best network.
pub fn section(context: &ReportContext) -> Option<Section> {
    let conditional =
        |cell: &&CellOutcome| cell.condition.is_some() && newest_sampled(cell).is_some();
    let first = || context.outcome.cells.iter().find(conditional);
    let cell = context.best().filter(conditional).or_else(first)?;
    let images = context.outcome.images.as_ref();
    let large = images.is_some_and(|one| tiles::fills_a_row(one.set.resolution as usize));
    let body = match clusters_of(context, cell) {
        Err(reason) => absent(&format!("clusters of {}", cell.label), &reason),
        Ok(clusters) => html! {
            p { "Left: the first real images of the cluster, in data-set order. Right: the first \
                images generated with that label, in seed order." }
            @if clusters.all > clusters.shown.len() { p { (clusters.shown.len()) " of " (clusters.all) " clusters, spread from the largest to the smallest." } }
            div.pairs.large[large] { @for one in &clusters.shown { (pair(one)) } }
        },
    };
    Some(Section {
        id: "per-cluster",
        title: "Real and generated images by cluster",
        body: html! { p.subject { (cell.label) } (body) },
    })
}

fn pair(one: &Cluster) -> Markup {
    html! {
        div.pair {
            div.name { strong { "cluster " (one.id) } span.quiet { (format::counted(one.size, "image")) } }
            (tiles::half_grid(&one.real, PER_CLUSTER, &format!("real images of cluster {}", one.id)))
            @if one.generated.iter().any(Option::is_some) { (tiles::half_grid(&one.generated, PER_CLUSTER, &format!("generated images of cluster {}", one.id))) }
            @else { p.quiet { "no image of this label was generated in the first set" } }
        }
    }
}

struct Clusters {
    /// How many there are, shown or not.
    all: usize,
    shown: Vec<Cluster>,
}
struct Cluster {
    id: i64,
    /// Training images in it.
    size: u64,
    real: Vec<Option<Picture>>,
    generated: Vec<Option<Picture>>,
}

fn clusters_of(context: &ReportContext, cell: &CellOutcome) -> Result<Clusters, String> {
    let images = context.outcome.images.as_ref();
    let images = images.ok_or("the image set's manifest cannot be read")?;
    let clustering = context.condition(cell);
    let clustering = clustering.ok_or("its clustering is not among the results")?;
    let real = rows_by_label(&Assignments::of(context, clustering)?.ids()?);
    let samples = &sampled(cell)?.1.result;
    let generated = rows_by_label(&context.artefacts.labels(&samples.shards)?);
    let pictures = |shards: &[ShardRef], rows: &[u64]| {
        let first = &rows[..rows.len().min(PER_CLUSTER)];
        let mut pictures = context.artefacts.pictures(shards, first)?;
        pictures.resize(PER_CLUSTER, None); // grids of equal width stand in line
        Ok::<_, String>(pictures)
    };
    let cluster = |id: i64| {
        let of_label = generated.get(&id).map_or(&[][..], Vec::as_slice);
        Ok(Cluster {
            id,
            size: real[&id].len() as u64,
            real: pictures(&images.set.shards, &real[&id])?,
            generated: pictures(&samples.shards, of_label)?,
        })
    };
    let mut by_size: Vec<i64> = real.keys().copied().collect();
    by_size.sort_by_key(|id| std::cmp::Reverse(real[id].len()));
    Ok(Clusters {
        all: real.len(),
        shown: spread(&by_size)
            .into_iter()
            .map(cluster)
            .collect::<Result<_, String>>()?,
    })
}

/// All ids, or [`CLUSTERS_SHOWN`] of them evenly spread over the list; in ascending order.
fn spread(by_size: &[i64]) -> Vec<i64> {
    let mut picked = by_size.to_vec();
    if by_size.len() > CLUSTERS_SHOWN {
        let last = by_size.len() - 1;
        let at = |n: usize| by_size[n * last / (CLUSTERS_SHOWN - 1)];
        picked = (0..CLUSTERS_SHOWN).map(at).collect();
    }
    picked.sort_unstable();
    picked
}
