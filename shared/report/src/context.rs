//! What every part of the report reads: the outcome, its artefacts, and questions about both.

use crate::{Artefacts, artefacts::ArtefactCache, measure::Measure, reasons};
use cedm_catalogue::metrics::Against;
use cedm_sweep::outcome::{
    CellOutcome, ClusteringOutcome, SamplesOutcome, SnapshotOutcome, Summary, SweepOutcome,
};
use std::collections::BTreeMap;

/// The colour of the unconditional network: grey, the last of the palette.
const GREY: usize = crate::chart::PALETTE - 1;

/// The n-th style that is not grey.
fn nth_colour(n: usize) -> usize {
    n + n / GREY
}

/// An outcome with its artefacts.
pub struct ReportContext<'a> {
    /// The outcome that the report is made of.
    pub outcome: &'a SweepOutcome,
    /// Every condition once: its network, or its trainings as one.
    networks: &'a [CellOutcome],
    /// Its artefacts, each read once.
    pub artefacts: ArtefactCache<'a>,
    measures: Vec<Measure>,
    styles: BTreeMap<&'a str, usize>,
}

impl<'a> ReportContext<'a> {
    /// A context that has read no artefact yet.
    pub fn new(
        outcome: &'a SweepOutcome,
        networks: &'a [CellOutcome],
        artefacts: &'a dyn Artefacts,
    ) -> Self {
        let mut styles = BTreeMap::new();
        for cell in &outcome.cells {
            let others = styles.values().filter(|style| **style != GREY).count();
            let style = cell.clusters.map_or(GREY, |_| nth_colour(others));
            styles.entry(cell.clustering.as_str()).or_insert(style);
        }
        Self {
            outcome,
            networks,
            artefacts: ArtefactCache::new(artefacts),
            measures: Measure::all(&outcome.spec),
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
            nth_colour(others - 1)
        };
        self.outcome.cells.iter().map(style).collect()
    }

    /// Every measure asked for, in the order of the file; in each space the primary metric first.
    pub fn measures(&self) -> &[Measure] {
        &self.measures
    }

    /// The measure that decides which network is best.
    pub fn primary(&self) -> Option<&Measure> {
        let answer = self.outcome.answer.as_ref();
        let decided = answer.and_then(|answer| self.measure(&answer.metric));
        decided.or(self.measures.first())
    }

    /// The primary measure of every feature space.
    pub fn primaries(&self) -> impl Iterator<Item = &Measure> {
        self.measures.iter().filter(|measure| measure.is_primary)
    }

    /// The measure with this key.
    fn measure(&self, key: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.key == key)
    }

    /// The title of the measure with this key; the key itself where the sweep has no such measure.
    pub fn title_of<'b>(&'b self, key: &'b str) -> &'b str {
        self.measure(key).map_or(key, |measure| &measure.title)
    }

    /// The objective of a score of this key, which is minimised.
    pub fn objective(&self, key: &str, score: f64) -> Option<f64> {
        self.measure(key)?.objective(score)
    }

    /// A score of a network at the end of its training.
    pub fn score(&self, cell: &'a CellOutcome, key: &str) -> Option<&'a Summary> {
        end(cell)?.summary.get(key)
    }

    /// Why a score makes no sense for a network; `None` where it does.
    pub fn not_applicable(&self, cell: &CellOutcome, measure: &Measure) -> Option<&'static str> {
        match measure.metric.against {
            Against::Unconditional if cell.is_unconditional() => {
                Some("it is the unconditional network itself")
            }
            Against::Heads if !cell.has_heads() => Some("no TEMI head made its condition"),
            _ => None,
        }
    }

    /// Why a network has no such score at the end of its training.
    pub fn why_missing(&self, cell: &CellOutcome, key: &str) -> String {
        reasons::why_missing(self.outcome, cell, end(cell), key)
    }

    /// The network that the answer names best; of several trainings the first.
    pub fn best(&self) -> Option<&'a CellOutcome> {
        let answer = self.outcome.answer.as_ref()?;
        let mut cells = self.outcome.cells.iter();
        cells.find(|cell| cell.granularity() == answer.best)
    }

    /// What the spread of a network's score is over, for captions.
    pub fn spread_is_over(&self) -> &'static str {
        if self.outcome.spec.training.has_several_seeds() {
            "the trainings"
        } else {
            "the sample sets of one training"
        }
    }

    /// The one of these networks with the best primary score; the first one where none has a
    /// score.
    pub fn best_of(&self, cells: impl Iterator<Item = &'a CellOutcome>) -> Option<&'a CellOutcome> {
        let objective = |cell: &&'a CellOutcome| {
            let measure = self.primary()?;
            measure.objective(self.score(cell, &measure.key)?.mean)
        };
        let or_last = |cell: &&'a CellOutcome| objective(cell).unwrap_or(f64::INFINITY);
        cells.min_by(|a, b| or_last(a).total_cmp(&or_last(b)))
    }

    /// The unconditional network, if the sweep has one; all trainings as one.
    pub fn unconditional(&self) -> Option<&'a CellOutcome> {
        let mut cells = self.networks.iter();
        cells.find(|cell| cell.is_unconditional() || cell.clusters.is_none())
    }

    /// The networks with a granularity, in the order of the file, then ascending C; all trainings
    /// of one as one.
    pub fn granularities(&self) -> impl Iterator<Item = &'a CellOutcome> {
        let cells = self.networks.iter();
        cells.filter(|cell| cell.clusters.is_some())
    }

    /// The clustering that a network is conditioned on.
    pub fn condition(&self, cell: &CellOutcome) -> Option<&'a ClusteringOutcome> {
        let key = &cell.condition.as_ref()?.key;
        let mut clusterings = self.outcome.clusterings.iter();
        clusterings.find(|clustering| clustering.artefact.key == *key)
    }

    /// Sets and images behind the scores of a finished network: `3 × 50,000 images against 50,000`,
    /// and `2 of 3 × …` where a set failed.
    pub fn sample_counts(&self, summary: &Summary) -> String {
        let sampling = &self.outcome.spec.sampling;
        let (found, asked) = (summary.values.len(), sampling.sets as usize);
        let of_asked = if summary.images == sampling.images && found < asked {
            format!(" of {asked}")
        } else {
            String::new()
        };
        format!("{found}{of_asked} × {}", counts(summary))
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
}

/// As [`ReportContext::sample_counts`], for a set beside those that the end of training is
/// evaluated on.
pub fn extra_set_counts(summary: &Summary) -> String {
    format!("{} × {}", summary.values.len(), counts(summary))
}

fn counts(summary: &Summary) -> String {
    let images = crate::format::count(summary.images);
    match summary.reference_images {
        0 => format!("{images} images"),
        against => format!("{images} images against {}", crate::format::count(against)),
    }
}

/// A network's score on its curve along training: of the last snapshot on as many images as of
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

/// The sample set of a network that pictures are taken from, and the training images of its
/// snapshot.
///
/// # Errors
/// No sample set of the network is done.
pub fn sampled(cell: &CellOutcome) -> Result<(u64, &SamplesOutcome), String> {
    let snapshot = newest_sampled(cell);
    let found = snapshot.and_then(|snapshot| {
        let samples = snapshot.sets.iter().find_map(|set| set.samples.as_ref())?;
        Some((snapshot.nimg, samples))
    });
    found.ok_or_else(|| "no sample set of it is done".to_owned())
}

/// The newest snapshot that has samples.
pub fn newest_sampled(cell: &CellOutcome) -> Option<&SnapshotOutcome> {
    cell.snapshots
        .iter()
        .rev()
        .find(|snapshot| snapshot.sets.iter().any(|set| set.samples.is_some()))
}
