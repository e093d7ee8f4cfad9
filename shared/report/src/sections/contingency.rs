//! How many images of each class lie in each cluster, where labels exist.

use crate::{
    assignments::{Assignments, number_of_labels},
    context::ReportContext,
    format,
    section::{Section, absent},
};
use cedm_contract::kinds::import::ImageSet;
use cedm_sweep::outcome::{CellOutcome, ClusteringOutcome};
use maud::{Markup, html};

/// Above so many clusters the table is too long to read.
const MAX_CLUSTERS: usize = 200;

/// The table of clusters and classes behind the best network.
pub fn section(context: &ReportContext) -> Option<Section> {
    let images = context
        .outcome
        .images
        .as_ref()
        .filter(|images| images.set.classes > 0)?;
    let learned = |cell: &&CellOutcome| cell.condition.is_some() && !cell.is_on_labels();
    let cell = context
        .best()
        .filter(learned)
        .or_else(|| context.outcome.cells.iter().find(learned))?;
    let clustering = context.condition(cell)?;
    let body = match counted(context, clustering, &images.set) {
        Ok(table) if table.len() <= MAX_CLUSTERS => heat_map(
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
        id: "contingency",
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
    context: &ReportContext,
    clustering: &ClusteringOutcome,
    images: &ImageSet,
) -> Result<Vec<Vec<u64>>, String> {
    let ids = Assignments::of(context, clustering)?.ids()?;
    let labels = context.artefacts.labels(&images.shards)?;
    if ids.len() != labels.len() {
        return Err(format!(
            "{} cluster ids for {} labels",
            ids.len(),
            labels.len()
        ));
    }
    let clusters = number_of_labels(&ids);
    let classes = images.classes as usize;
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

fn heat_map(table: &[Vec<u64>], classes: &[String]) -> Markup {
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
        p { (format::share(matched as f64 / all.max(1) as f64)) " of all \
            images lie in a cluster whose most frequent class is their own." }
        div.table {
            div.tools { button type="button" data-copy="contingency-table" { "copy" } button type="button" data-save="contingency-table" { "csv" } }
            div.scroll tabindex="0" {
                table.heat id="contingency-table" {
                    thead { tr { th { "cluster" } th.number { "images" } @for class in classes { th.number { (class) } } th.number { "purity" } } }
                    tbody { @for cluster in order {
                        @let row = &table[cluster];
                        @let total: u64 = row.iter().sum();
                        tr {
                            td { (cluster) }
                            td.number { (format::count(total)) }
                            @for count in row {
                                @let share = *count as f64 / total.max(1) as f64;
                                td.number.filled[*count > 0] style=(format!("--share:{:.0}%", 55.0 * share)) { @if *count > 0 { (format::count(*count)) } }
                            }
                            td.number { (format!("{:.2}", row[majority(row)] as f64 / total.max(1) as f64)) }
                        }
                    } }
                }
            }
        }
    }
}
