//! Which cluster holds which class, where labels exist.

use crate::{
    facts::Facts,
    section::{Section, absent},
    words,
};
use cedm_contract::kinds::{cluster::assignments::IDS, import::shard::LABELS};
use cedm_sweep::outcome::{CellOutcome, ClusteringOutcome};
use maud::{Markup, html};

/// Above so many clusters a table of all of them helps nobody.
const MOST_CLUSTERS: usize = 200;

/// The table of clusters and classes behind the best network.
pub fn section(facts: &Facts) -> Option<Section> {
    let images = facts
        .outcome
        .images
        .as_ref()
        .filter(|images| images.set.classes > 0)?;
    let learned = |cell: &&CellOutcome| cell.condition.is_some() && cell.method != "ground_truth";
    let cell = facts
        .best()
        .filter(learned)
        .or_else(|| facts.outcome.cells.iter().find(learned))?;
    let clustering = facts.condition(cell)?;
    let body = match counted(facts, clustering, images.set.classes as usize) {
        Ok(table) if table.len() <= MOST_CLUSTERS => heat(
            &table,
            &names(&images.set.class_names, images.set.classes as usize),
        ),
        Ok(table) => absent(
            "table of clusters and classes",
            &format!("{} clusters are too many to read", table.len()),
        ),
        Err(reason) => absent("table of clusters and classes", &reason),
    };
    let body = html! {
        p.subject { (cell.label) }
        p { "Training images of each cluster by their class. Labels played no part in the \
            clustering. Clusters are ordered by the class they hold most of." }
        (body)
    };
    Some(Section {
        id: "matching",
        title: "Clusters and classes",
        body,
    })
}

fn names(given: &[String], classes: usize) -> Vec<String> {
    (0..classes)
        .map(|class| {
            given
                .get(class)
                .cloned()
                .unwrap_or_else(|| class.to_string())
        })
        .collect()
}

/// Images by cluster and class.
fn counted(
    facts: &Facts,
    clustering: &ClusteringOutcome,
    classes: usize,
) -> Result<Vec<Vec<u64>>, String> {
    let images = facts
        .outcome
        .images
        .as_ref()
        .ok_or("the image set's manifest cannot be read")?;
    let object = clustering
        .assignments
        .as_ref()
        .ok_or("the clustering has no assignments file")?;
    let ids = facts
        .artefacts
        .integers(object, IDS.name)?
        .ok_or("the assignments file holds no ids")?;
    let labels = facts
        .artefacts
        .column(&images.set.shards, LABELS.name)?
        .ok_or("the image shards hold no labels")?;
    if ids.len() != labels.len() {
        return Err(format!(
            "{} cluster ids for {} labels",
            ids.len(),
            labels.len()
        ));
    }
    let clusters = ids.iter().max().map_or(0, |id| (*id).max(-1) + 1) as usize;
    let mut table = vec![vec![0; classes]; clusters];
    for (id, label) in ids.iter().zip(&labels) {
        let cell = usize::try_from(*id)
            .ok()
            .and_then(|id| table.get_mut(id)?.get_mut(usize::try_from(*label).ok()?));
        *cell.ok_or_else(|| {
            format!(
                "cluster {id} or class {label} is outside {clusters} clusters and {classes} classes"
            )
        })? += 1;
    }
    Ok(table)
}

fn heat(table: &[Vec<u64>], classes: &[String]) -> Markup {
    let majority = |row: &[u64]| {
        row.iter()
            .enumerate()
            .max_by_key(|(class, count)| (**count, std::cmp::Reverse(*class)))
            .map_or(0, |(class, _)| class)
    };
    let mut order: Vec<usize> = (0..table.len()).collect();
    order.sort_by_key(|cluster| {
        (
            majority(&table[*cluster]),
            std::cmp::Reverse(table[*cluster][majority(&table[*cluster])]),
        )
    });
    let all: u64 = table.iter().flatten().sum();
    let matched: u64 = table.iter().map(|row| row[majority(row)]).sum();
    html! {
        p { (words::percent(matched as f64 / all.max(1) as f64).trim_start_matches('+')) " of all \
            images lie in a cluster whose most frequent class is their own." }
        div.table {
            div.tools { button type="button" data-copy="matching-table" { "copy" } button type="button" data-save="matching-table" { "csv" } }
            div.scroll tabindex="0" {
                table.heat id="matching-table" {
                    thead { tr { th { "cluster" } th.number { "images" } @for class in classes { th.number { (class) } } th.number { "purity" } } }
                    tbody { @for cluster in order {
                        @let row = &table[cluster];
                        @let total: u64 = row.iter().sum();
                        tr {
                            td { (cluster) }
                            td.number { (words::count(total)) }
                            @for count in row {
                                @let share = *count as f64 / total.max(1) as f64;
                                td.number.filled[*count > 0] style=(format!("--share:{:.0}%", 55.0 * share)) { @if *count > 0 { (words::count(*count)) } }
                            }
                            td.number { (format!("{:.2}", row[majority(row)] as f64 / total.max(1) as f64)) }
                        }
                    } }
                }
            }
        }
    }
}
