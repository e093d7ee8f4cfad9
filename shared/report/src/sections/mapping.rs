//! As many clusters as classes, each matched to a class: what both networks draw from the same seeds (spec §13, figures 7 and 10).

use super::galleries::sampled;
use crate::{
    facts::Facts,
    section::{Section, absent},
    shelf::Picture,
    tiles, words,
};
use cedm_contract::outcome::{CellOutcome, SamplesOutcome};
use cedm_partitions::{Contingency, best_matching};
use maud::{Markup, html};

/// Seeds shown for each pair.
const SHOWN: usize = 8;

/// The pairs of the best network at C = number of classes and the one trained on the classes; nothing without the latter.
pub fn section(facts: &Facts) -> Option<Section> {
    let truth = facts.outcome.cells.iter().find(|cell| cell.method == "ground_truth")?;
    let classes = truth.used?;
    let equal = |cell: &&CellOutcome| cell.condition.is_some() && cell.method != "ground_truth" && cell.used == Some(classes);
    let clustered = facts.best_of(facts.outcome.cells.iter().filter(equal));
    let shown = clustered
        .ok_or_else(|| format!("no network is conditioned on as many clusters as there are classes, {classes}"))
        .and_then(|clustered| Ok((clustered, Pairs::new(facts, clustered, truth)?)));
    let body = match shown {
        Ok((clustered, pairs)) => html! { p.subject { (clustered.label) ", " (truth.label) } (pairs.shown(facts)) },
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
    /// Class, its cluster, rows in the two sample sets that share a seed.
    pairs: Vec<Pair>,
    clustered: &'a SamplesOutcome,
    truth: &'a SamplesOutcome,
}

struct Pair {
    class: usize,
    cluster: usize,
    rows: Vec<(u64, u64)>,
}

impl<'a> Pairs<'a> {
    fn new(facts: &Facts, clustered: &'a CellOutcome, truth: &'a CellOutcome) -> Result<Self, String> {
        let (ids, classes) = (ids(facts, clustered)?, ids(facts, truth)?);
        let table = Contingency::new(&classes, &ids).map_err(|error| error.to_string())?;
        let matching = best_matching(&table);
        let agreed: u64 = matching
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| table.cells.get(&((*class)?, cluster)))
            .sum();
        let (clustered, truth) = (sampled(clustered)?.1, sampled(truth)?.1);
        let [own, theirs] = [clustered, truth].map(|set| {
            facts
                .shelf
                .column(&set.result.shards, "labels")?
                .ok_or_else(|| "a sample set holds no labels".to_owned())
        });
        let (own, theirs) = (own?, theirs?);
        let mut pairs: Vec<Pair> = matching
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| {
                Some(Pair {
                    class: (*class)?,
                    cluster,
                    rows: Vec::new(),
                })
            })
            .collect();
        pairs.sort_by_key(|pair| pair.class);
        for (row, label) in own.iter().enumerate() {
            let seed = clustered.result.first_seed + row as u64;
            let Some(other) = seed.checked_sub(truth.result.first_seed) else {
                continue;
            };
            let Some(class) = theirs.get(other as usize) else { continue };
            let pair = pairs
                .iter_mut()
                .find(|pair| (pair.cluster as i64, pair.class as i64) == (*label, *class));
            if let Some(pair) = pair.filter(|pair| pair.rows.len() < SHOWN) {
                pair.rows.push((row as u64, other));
            }
        }
        Ok(Self {
            agreed: agreed as f64 / table.total.max(1) as f64,
            pairs,
            clustered,
            truth,
        })
    }

    fn shown(&self, facts: &Facts) -> Markup {
        html! {
            p { "Clusters are matched to classes one to one so that as many training images as possible lie in a matched pair: "
                (words::percent(self.agreed).trim_start_matches('+')) " do. Left: the network that knows the clusters. Right: the one that knows the classes, \
                 from the same seeds: those at which the one drew the cluster and the other its class." }
            div.pairs { @for pair in &self.pairs { (self.one(facts, pair)) } }
        }
    }

    fn one(&self, facts: &Facts, pair: &Pair) -> Markup {
        let class = class_name(facts, pair.class, self.pairs.len());
        let pictures = |set: &SamplesOutcome, rows: Vec<u64>, what: String| match facts.shelf.pictures(&set.result.shards, &rows) {
            Ok(mut pictures) => {
                pictures.resize(SHOWN, None::<Picture>);
                tiles::half_grid(&pictures, SHOWN, &what)
            }
            Err(reason) => absent(&what, &reason),
        };
        let (own, theirs) = pair.rows.iter().copied().unzip();
        html! {
            div.pair {
                div.name { strong { (class) } span.quiet { "cluster " (pair.cluster) } }
                @if pair.rows.is_empty() { p.quiet { "no seed of these sets drew both" } }
                @else {
                    (pictures(self.clustered, own, format!("images of cluster {}", pair.cluster)))
                    (pictures(self.truth, theirs, format!("images of class {class} from the same seeds")))
                }
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
        .shelf
        .integers(object, "ids")?
        .ok_or_else(|| format!("the assignments of {} hold no ids", cell.label))
}

/// The name of a class, where the labels behind the network are the ones that have names.
fn class_name(facts: &Facts, class: usize, classes: usize) -> String {
    let named = facts
        .outcome
        .images
        .as_ref()
        .filter(|images| images.set.class_names.len() == classes);
    named.map_or_else(|| format!("class {class}"), |images| images.set.class_names[class].clone())
}
