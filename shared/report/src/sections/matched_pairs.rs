//! As many clusters as classes, each matched to a class, with images of both networks (spec §13,
//! figures 7 and 10).

use crate::{
    artefacts::Picture,
    assignments::{Assignments, rows_by_label},
    context::{ReportContext, sampled},
    format,
    section::{Section, absent},
    tiles,
};
use cedm_partitions::{Contingency, best_matching};
use cedm_sweep::outcome::{CellOutcome, SamplesOutcome};
use maud::{Markup, html};

/// Pictures of each network for a pair.
const PICTURES: usize = 8;
/// Pairs shown; of more, the first in the order of the classes.
const PAIRS_SHOWN: usize = 40;

/// The best network with as many clusters as classes beside one trained on the classes; nothing
/// where none was.
pub fn section(context: &ReportContext) -> Option<Section> {
    let cells = &context.outcome.cells;
    let is_truth = |cell: &&CellOutcome| cell.is_on_labels() && cell.clusters.is_some();
    let equal = |truth: &CellOutcome| {
        let same = |cell: &&CellOutcome| {
            cell.condition.is_some() && !cell.is_on_labels() && cell.clusters == truth.clusters
        };
        context.best_of(cells.iter().filter(same))
    };
    let truths: Vec<&CellOutcome> = cells.iter().filter(is_truth).collect();
    let first = truths.first()?;
    let found = truths
        .iter()
        .find_map(|truth| Some((equal(truth)?, *truth)));
    let shown = found
        .ok_or_else(|| {
            let classes = first.clusters.unwrap_or(0);
            format!("no network is conditioned on as many clusters as there are classes, {classes}")
        })
        .and_then(|(clustered, truth)| {
            Ok((clustered, truth, Pairs::new(context, clustered, truth)?))
        });
    let body = match shown {
        Ok((clustered, truth, pairs)) => {
            html! { p.subject { (clustered.label) ", " (truth.label) } (pairs.shown(context)) }
        }
        Err(reason) => absent("pictures of matched clusters and classes", &reason),
    };
    Some(Section {
        id: "matched-pairs",
        title: "Clusters matched to classes",
        body,
    })
}

struct Pairs<'a> {
    /// Share of the training images whose cluster is matched to their class.
    agreed: f64,
    pairs: Vec<Pair>,
    clustered: &'a SamplesOutcome,
    truth: &'a SamplesOutcome,
}

/// A class and its cluster, with the first rows that each network generated of them.
struct Pair {
    class: usize,
    cluster: usize,
    own: Vec<u64>,
    theirs: Vec<u64>,
}

impl<'a> Pairs<'a> {
    fn new(
        context: &ReportContext,
        clustered: &'a CellOutcome,
        truth: &'a CellOutcome,
    ) -> Result<Self, String> {
        let table = Contingency::new(&ids(context, truth)?, &ids(context, clustered)?)
            .map_err(|error| error.to_string())?;
        let matching = best_matching(&table);
        let agreed: u64 = matching
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| table.cells.get(&((*class)?, cluster)))
            .sum();
        let (clustered, truth) = (sampled(clustered)?.1, sampled(truth)?.1);
        let rows = |set: &SamplesOutcome| {
            let labels = context.artefacts.labels(&set.result.shards)?;
            Ok::<_, String>(rows_by_label(&labels))
        };
        let (own, theirs) = (rows(clustered)?, rows(truth)?);
        let mut pairs: Vec<Pair> = matching
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| {
                let class = (*class)?;
                let first = |rows: Option<&Vec<u64>>| {
                    rows.into_iter().flatten().copied().take(PICTURES).collect()
                };
                Some(Pair {
                    class,
                    cluster,
                    own: first(own.get(&(cluster as i64))),
                    theirs: first(theirs.get(&(class as i64))),
                })
            })
            .collect();
        pairs.sort_by_key(|pair| pair.class);
        Ok(Self {
            agreed: agreed as f64 / table.total.max(1) as f64,
            pairs,
            clustered,
            truth,
        })
    }

    fn shown(&self, context: &ReportContext) -> Markup {
        html! {
            p { "Clusters are matched to classes one to one so that as many training images as \
                possible lie in a matched pair: "
                (format::share(self.agreed)) " do. Left: the network conditioned on clusters. Right: \
                the one conditioned on classes. Each shows the first images that it generated \
                with the label, in seed order." }
            @if self.pairs.len() > PAIRS_SHOWN { p { "The first " (PAIRS_SHOWN) " of " (self.pairs.len()) " pairs." } }
            div.pairs { @for pair in self.pairs.iter().take(PAIRS_SHOWN) { (self.one(context, pair)) } }
        }
    }

    fn one(&self, context: &ReportContext, pair: &Pair) -> Markup {
        let class = class_name(context, pair.class, self.pairs.len());
        let pictures = |set: &SamplesOutcome, rows: &[u64], what: String| match context
            .artefacts
            .pictures(&set.result.shards, rows)
        {
            Ok(pictures) if pictures.is_empty() => html! { p.quiet { "none in the first set" } },
            Ok(mut pictures) => {
                pictures.resize(PICTURES, None::<Picture>);
                tiles::half_grid(&pictures, PICTURES, &what)
            }
            Err(reason) => absent(&what, &reason),
        };
        html! {
            div.pair {
                div.name { strong { (class) } span.quiet { "cluster " (pair.cluster) } }
                (pictures(self.clustered, &pair.own, format!("generated images of cluster {}", pair.cluster)))
                (pictures(self.truth, &pair.theirs, format!("generated images of class {class}")))
            }
        }
    }
}

/// The cluster, or class, of every training image.
fn ids(context: &ReportContext, cell: &CellOutcome) -> Result<Vec<i64>, String> {
    let clustering = context.condition(cell);
    let clustering = clustering.ok_or("it is not among the results".to_owned());
    clustering
        .and_then(|clustering| Assignments::of(context, clustering)?.ids())
        .map_err(|reason| format!("the condition of {}: {reason}", cell.label))
}

/// The name of a class, where the labels behind the network are the ones that have names.
fn class_name(context: &ReportContext, class: usize, classes: usize) -> String {
    let named = context
        .outcome
        .images
        .as_ref()
        .filter(|images| images.set.class_names.len() == classes);
    named.map_or_else(
        || format!("class {class}"),
        |images| images.set.class_names[class].clone(),
    )
}
