//! Networks with one condition, trained with several seeds or one: what the answer compares.

use super::final_score;
use cedm_catalogue::metrics::Direction;
use cedm_sweep::{
    SweepSpec,
    outcome::{CellOutcome, Edge, Summary},
};

/// The trainings of one network that have the deciding score.
pub(super) struct Group<'a> {
    /// "temi C=20".
    pub(super) label: &'a str,
    pub(super) clustering: &'a str,
    pub(super) clusters: Option<u32>,
    pub(super) is_unconditional: bool,
    /// Whether it competes for the best granularity.
    pub(super) competes: bool,
    pub(super) trainings: Vec<&'a Summary>,
    /// What is minimised, for every set of every training.
    pub(super) objectives: Vec<Vec<f64>>,
}

impl Group<'_> {
    /// Mean over trainings of their means over sets, of what is minimised.
    pub(super) fn objective(&self) -> f64 {
        mean(
            self.objectives
                .iter()
                .map(|sets| mean(sets.iter().copied())),
        )
    }

    /// The same of the scores themselves.
    pub(super) fn score(&self) -> f64 {
        mean(self.trainings.iter().map(|training| training.mean))
    }

    /// Sets behind the training that has fewest.
    pub(super) fn sets(&self) -> u32 {
        let sets = self.objectives.iter().map(Vec::len);
        sets.min().unwrap_or(0) as u32
    }

    /// Its score with the spread that is known: of trainings where there are several, else of sets.
    pub(super) fn summary(&self) -> Summary {
        let first = self.trainings[0];
        let means: Vec<f64> = self
            .trainings
            .iter()
            .map(|training| training.mean)
            .collect();
        let (mean, std) = crate::fold::summary::mean_and_std(&means);
        Summary {
            mean,
            std: std.or(first.std.filter(|_| means.len() == 1)),
            values: (self.trainings.iter())
                .flat_map(|training| training.values.iter().copied())
                .collect(),
            images: first.images,
            reference_images: first.reference_images,
        }
    }
}

/// Means; of no values it is not a number.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

/// The networks with this score, in the order of the cells.
pub(super) fn groups<'a>(
    spec: &SweepSpec,
    cells: &'a [CellOutcome],
    metric: &str,
    direction: Direction,
) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for cell in cells {
        let Some(score) = final_score(cell, metric) else {
            continue;
        };
        let objectives: Vec<f64> = score
            .values
            .iter()
            .filter_map(|(_, value)| direction.objective(*value))
            .filter(|value| value.is_finite())
            .collect();
        if objectives.is_empty() {
            continue;
        }
        let label = cell.granularity();
        if groups.last().is_none_or(|group| group.label != label) {
            groups.push(Group {
                label,
                clustering: &cell.clustering,
                clusters: cell.clusters,
                is_unconditional: cell.is_unconditional(),
                competes: competes(spec, cell),
                trainings: Vec::new(),
                objectives: Vec::new(),
            });
        }
        if let Some(group) = groups.last_mut() {
            group.trainings.push(score);
            group.objectives.push(objectives);
        }
    }
    groups
}

/// Whether a network competes for the best granularity. Imported ids do where the file says so, or
/// where nothing else would.
fn competes(spec: &SweepSpec, cell: &CellOutcome) -> bool {
    let mut all = spec.clusterings.iter();
    let Some(own) = all.find(|one| one.name == cell.clustering) else {
        return false;
    };
    let any = || spec.clusterings.iter().any(|one| one.competes());
    own.competes() || (own.has_granularities() && !any())
}

/// Where a granularity lies among those of its clustering in the sweep.
pub(super) fn edge(cells: &[CellOutcome], clustering: &str, clusters: u32) -> Option<Edge> {
    let of = cells.iter().filter(|cell| cell.clustering == clustering);
    let (mut smaller, mut larger) = (false, false);
    for c in of.filter_map(|cell| cell.clusters) {
        smaller |= c < clusters;
        larger |= c > clusters;
    }
    match (smaller, larger) {
        (false, false) => Some(Edge::Only),
        (false, true) => Some(Edge::Smallest),
        (true, false) => Some(Edge::Largest),
        (true, true) => None,
    }
}
