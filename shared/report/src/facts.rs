//! What several parts of the page ask of an outcome.

use crate::{Artefacts, artefacts::ArtefactCache};
use cedm_catalogue::metrics::{Against, Metric, metric};
use cedm_sweep::outcome::{CellOutcome, ClusteringOutcome, SnapshotOutcome, Summary, SweepOutcome};
use std::collections::BTreeMap;

/// The unconditional network's colour: the last of the palette.
const GREY: usize = crate::chart::PALETTE - 1;

/// The n-th style that is not grey.
fn colourful(n: usize) -> usize {
    n + n / GREY
}

/// An outcome with its artefacts at hand.
pub struct Facts<'a> {
    /// The outcome.
    pub outcome: &'a SweepOutcome,
    /// Its artefacts.
    pub artefacts: ArtefactCache<'a>,
    styles: BTreeMap<&'a str, usize>,
}

/// A score by its key, `<space>/<metric>`.
#[derive(Clone)]
pub struct Measure {
    /// `<space>/<metric>`.
    pub key: String,
    /// Its row in the metric table.
    pub metric: &'static Metric,
    /// Its name in this feature space: FID, FD (pca).
    pub title: String,
}

impl Measure {
    /// For an axis: name, unit and direction.
    pub fn axis_label(&self) -> String {
        format!(
            "{}, {} ({})",
            self.title,
            self.metric.unit,
            self.metric.direction.words()
        )
    }
    /// For a table's head.
    pub fn head(&self) -> String {
        format!("{} {}", self.title, self.metric.direction.arrow())
            .trim_end()
            .to_owned()
    }
}

impl<'a> Facts<'a> {
    /// The facts of an outcome.
    pub fn new(outcome: &'a SweepOutcome, artefacts: &'a dyn Artefacts) -> Self {
        let mut styles = BTreeMap::new();
        for cell in &outcome.cells {
            let others = styles.values().filter(|style| **style != GREY).count();
            styles
                .entry(cell.clustering.as_str())
                .or_insert(if cell.clusters.is_none() {
                    GREY
                } else {
                    colourful(others)
                });
        }
        Self {
            outcome,
            artefacts: ArtefactCache::new(artefacts),
            styles,
        }
    }

    /// Colour and shape of a clustering, the same on the whole page.
    pub fn style(&self, clustering: &str) -> usize {
        self.styles.get(clustering).copied().unwrap_or(0)
    }

    /// Colour and shape of every network, for charts with one curve each.
    pub fn cell_styles(&self) -> Vec<usize> {
        let mut others = 0;
        let style = |cell: &CellOutcome| {
            if cell.clusters.is_none() {
                return GREY;
            }
            others += 1;
            colourful(others - 1)
        };
        self.outcome.cells.iter().map(style).collect()
    }

    /// Every score asked for: the deciding one first, then in the order of the file.
    pub fn measures(&self) -> Vec<Measure> {
        let mut all = Vec::new();
        for evaluation in &self.outcome.spec.evaluations {
            let first = std::iter::once(&evaluation.primary);
            for name in first.chain(
                evaluation
                    .metrics
                    .iter()
                    .filter(|name| **name != evaluation.primary),
            ) {
                if let Some(metric) = metric(name) {
                    let key = format!("{}/{name}", evaluation.name);
                    all.push(Measure {
                        key,
                        metric,
                        title: metric.title_in(&evaluation.extractor.name),
                    });
                }
            }
        }
        all
    }

    /// The score that decides.
    pub fn deciding(&self) -> Option<Measure> {
        let key = self
            .outcome
            .answer
            .as_ref()
            .map(|answer| answer.metric.clone());
        let measures = self.measures();
        let found = key.and_then(|key| measures.iter().position(|measure| measure.key == key));
        measures.into_iter().nth(found.unwrap_or(0))
    }

    /// The deciding score of every feature space.
    pub fn primaries(&self) -> Vec<Measure> {
        let keys: Vec<_> = self
            .outcome
            .spec
            .evaluations
            .iter()
            .map(|e| format!("{}/{}", e.name, e.primary))
            .collect();
        self.measures()
            .into_iter()
            .filter(|measure| keys.contains(&measure.key))
            .collect()
    }

    /// A score of a network at the end of its training.
    pub fn score(&self, cell: &'a CellOutcome, key: &str) -> Option<&'a Summary> {
        end(cell)?.summary.get(key)
    }

    /// Why a score is not even asked of a network; `None` where it is.
    pub fn not_asked(&self, cell: &CellOutcome, measure: &Measure) -> Option<&'static str> {
        match measure.metric.against {
            Against::Unconditional if cell.method == "none" => {
                Some("it is the unconditional network itself")
            }
            Against::Heads if cell.method != "temi" => Some("no TEMI head made its condition"),
            _ => None,
        }
    }

    /// Why a network has no such score.
    pub fn why_missing(&self, cell: &CellOutcome, key: &str) -> String {
        let (space, name) = key.split_once('/').unwrap_or((key, ""));
        let sets = end(cell).map_or(&[][..], |snapshot| &snapshot.sets);
        let own = sets
            .iter()
            .filter_map(|set| {
                set.scores
                    .get(space)?
                    .result
                    .scores
                    .get(name)?
                    .missing
                    .clone()
            })
            .next();
        let known = || {
            let about = |what: &str| what.contains(cell.label.as_str());
            self.outcome
                .missing
                .iter()
                .find(|missing| about(&missing.what))
                .map(|missing| missing.reason.clone())
        };
        own.or_else(known)
            .unwrap_or_else(|| "not computed".to_owned())
    }

    /// The best network.
    pub fn best(&self) -> Option<&'a CellOutcome> {
        let answer = self.outcome.answer.as_ref()?;
        self.outcome
            .cells
            .iter()
            .find(|cell| cell.label == answer.best)
    }

    /// The one of these networks with the best deciding score; the first one where none has a
    /// score.
    pub fn best_of(&self, cells: impl Iterator<Item = &'a CellOutcome>) -> Option<&'a CellOutcome> {
        let measure = self.deciding();
        let badness = |cell: &'a CellOutcome| {
            let measure = measure.as_ref()?;
            measure
                .metric
                .direction
                .badness(self.score(cell, &measure.key)?.mean)
        };
        cells.min_by(|a, b| {
            badness(a)
                .unwrap_or(f64::INFINITY)
                .total_cmp(&badness(b).unwrap_or(f64::INFINITY))
        })
    }

    /// The unconditional network.
    pub fn unconditional(&self) -> Option<&'a CellOutcome> {
        self.outcome
            .cells
            .iter()
            .find(|cell| cell.method == "none" || cell.clusters.is_none())
    }

    /// The clustering behind a network.
    pub fn condition(&self, cell: &CellOutcome) -> Option<&'a ClusteringOutcome> {
        let key = &cell.condition.as_ref()?.key;
        self.outcome
            .clusterings
            .iter()
            .find(|clustering| clustering.artefact.key == *key)
    }

    /// Sets and images behind the scores of a finished network: `3 × 50,000 images against 50,000`,
    /// and `2 of 3 × …` where a set failed.
    pub fn sample_counts(&self, summary: &Summary) -> String {
        let (have, asked) = (
            summary.values.len(),
            self.outcome.spec.sampling.sets as usize,
        );
        let whole = summary.images == self.outcome.spec.sampling.images;
        let lost = if whole && have < asked {
            format!(" of {asked}")
        } else {
            String::new()
        };
        format!("{have}{lost} × {}", counts(summary))
    }

    /// The same for a set that is not among those that the end of training is judged by.
    pub fn single_counts(&self, summary: &Summary) -> String {
        format!("{} × {}", summary.values.len(), counts(summary))
    }

    /// The counts behind a score of all networks, each once: what stands below a figure.
    pub fn counts_of(&self, key: &str) -> String {
        let mut all: Vec<String> = Vec::new();
        for cell in &self.outcome.cells {
            if let Some(counts) = self.score(cell, key).map(|score| self.sample_counts(score))
                && !all.contains(&counts)
            {
                all.push(counts);
            }
        }
        all.join("; ")
    }

    /// The deciding score with this key, as people call it; the key itself where the sweep has no
    /// such score.
    pub fn title_of(&self, key: &str) -> String {
        let found = self
            .measures()
            .into_iter()
            .find(|measure| measure.key == key);
        found.map_or_else(|| key.to_owned(), |measure| measure.title)
    }
}

fn counts(summary: &Summary) -> String {
    let (images, reference) = (
        crate::words::count(summary.images),
        crate::words::count(summary.reference_images),
    );
    if summary.reference_images == 0 {
        format!("{images} images")
    } else {
        format!("{images} images against {reference}")
    }
}

/// A network's score on its curve along training: of the last snapshot by as many images as of
/// those before it.
pub fn on_curve<'a>(snapshot: &'a SnapshotOutcome, key: &str) -> Option<&'a Summary> {
    if snapshot.last && !snapshot.on_equal_terms.is_empty() {
        snapshot.on_equal_terms.get(key)
    } else {
        snapshot.summary.get(key)
    }
}

/// The end of a network's training.
pub fn end(cell: &CellOutcome) -> Option<&SnapshotOutcome> {
    cell.snapshots.iter().rev().find(|snapshot| snapshot.last)
}

/// The newest snapshot that has samples.
pub fn newest_sampled(cell: &CellOutcome) -> Option<&SnapshotOutcome> {
    cell.snapshots
        .iter()
        .rev()
        .find(|snapshot| snapshot.sets.iter().any(|set| set.samples.is_some()))
}
