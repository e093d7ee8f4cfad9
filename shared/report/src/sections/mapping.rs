//! As many clusters as classes, each matched to a class: what both networks draw of it (spec §13,
//! figures 7 and 10).

use super::galleries::{rows_by_label, sampled};
use crate::{
    artefacts::Picture,
    facts::Facts,
    section::{Section, absent},
    tiles, words,
};
use cedm_contract::kinds::{cluster::assignments::IDS, sample::images::LABELS};
use cedm_partitions::{Contingency, best_matching};
use cedm_sweep::outcome::{CellOutcome, SamplesOutcome};
use maud::{Markup, html};

/// Pictures of each network for a pair.
const PICTURES: usize = 8;
/// Pairs shown; of more, the first in the order of the classes.
const PAIRS_SHOWN: usize = 40;

/// The best network with as many clusters as classes beside one trained on the classes; nothing
/// where none was.
pub fn section(facts: &Facts) -> Option<Section> {
    let cells = &facts.outcome.cells;
    let is_truth = |cell: &&CellOutcome| cell.method == "ground_truth" && cell.clusters.is_some();
    let equal = |truth: &CellOutcome| {
        let same = |cell: &&CellOutcome| {
            cell.condition.is_some()
                && cell.method != "ground_truth"
                && cell.clusters == truth.clusters
        };
        facts.best_of(cells.iter().filter(same))
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
            Ok((clustered, truth, Pairs::new(facts, clustered, truth)?))
        });
    let body = match shown {
        Ok((clustered, truth, pairs)) => {
            html! { p.subject { (clustered.label) ", " (truth.label) } (pairs.shown(facts)) }
        }
        Err(reason) => absent("pictures of matched clusters and classes", &reason),
    };
    Some(Section {
        id: "mapping",
        title: "Clusters in the place of classes",
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

/// A class and its cluster, with the first rows that each network drew of them.
struct Pair {
    class: usize,
    cluster: usize,
    own: Vec<u64>,
    theirs: Vec<u64>,
}

impl<'a> Pairs<'a> {
    fn new(
        facts: &Facts,
        clustered: &'a CellOutcome,
        truth: &'a CellOutcome,
    ) -> Result<Self, String> {
        let table = Contingency::new(&ids(facts, truth)?, &ids(facts, clustered)?)
            .map_err(|error| error.to_string())?;
        let matching = best_matching(&table);
        let agreed: u64 = matching
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| table.cells.get(&((*class)?, cluster)))
            .sum();
        let (clustered, truth) = (sampled(clustered)?.1, sampled(truth)?.1);
        let drawn = |set: &SamplesOutcome| {
            let labels = facts.artefacts.column(&set.result.shards, LABELS.name)?;
            Ok::<_, String>(rows_by_label(
                &labels.ok_or("a sample set holds no labels")?,
            ))
        };
        let (own, theirs) = (drawn(clustered)?, drawn(truth)?);
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

    fn shown(&self, facts: &Facts) -> Markup {
        html! {
            p { "Clusters are matched to classes one to one so that as many training images as \
                possible lie in a matched pair: "
                (words::percent(self.agreed).trim_start_matches('+')) " do. Left: the network \
                    that knows the clusters. Right: the one that knows the \
                    classes. Each shows the first images that it drew of the label, in seed order." }
            @if self.pairs.len() > PAIRS_SHOWN { p { "The first " (PAIRS_SHOWN) " of " (self.pairs.len()) " pairs." } }
            div.pairs { @for pair in self.pairs.iter().take(PAIRS_SHOWN) { (self.one(facts, pair)) } }
        }
    }

    fn one(&self, facts: &Facts, pair: &Pair) -> Markup {
        let class = class_name(facts, pair.class, self.pairs.len());
        let pictures = |set: &SamplesOutcome, rows: &[u64], what: String| match facts
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

/// Compact ids of the training images.
fn ids(facts: &Facts, cell: &CellOutcome) -> Result<Vec<i64>, String> {
    let clustering = facts
        .condition(cell)
        .ok_or_else(|| format!("the condition of {} is not among the results", cell.label))?;
    let object = clustering
        .assignments
        .as_ref()
        .ok_or_else(|| format!("the condition of {} has no assignments file", cell.label))?;
    facts
        .artefacts
        .integers(object, IDS.name)?
        .ok_or_else(|| format!("the assignments of {} hold no ids", cell.label))
}

/// The name of a class, where the labels behind the network are the ones that have names.
fn class_name(facts: &Facts, class: usize, classes: usize) -> String {
    let named = facts
        .outcome
        .images
        .as_ref()
        .filter(|images| images.set.class_names.len() == classes);
    named.map_or_else(
        || format!("class {class}"),
        |images| images.set.class_names[class].clone(),
    )
}
