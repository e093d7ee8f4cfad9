//! What the trainings and sets of a sweep say about which granularity is best.

use super::groups::Group;
use crate::statistics::{self, CONFIDENCE, Mean, Spread};
use cedm_sweep::outcome::Certainty;

/// The spread of the scores of a sweep.
pub(super) struct Evidence {
    /// Of the means of trainings; `None` where no network was trained twice.
    pub(super) spread: Option<Spread>,
    /// The same and more, for the outcome.
    pub(super) certainty: Certainty,
    /// Networks that are compared with each other.
    networks: usize,
}

impl Evidence {
    /// Of all networks with a score: that one competes says nothing about its spread.
    pub(super) fn of(groups: &[Group<'_>]) -> Self {
        let scores: Vec<Vec<Vec<f64>>> = groups
            .iter()
            .map(|group| group.objectives.clone())
            .collect();
        let found = statistics::components(&scores);
        let competing = || groups.iter().filter(|group| group.competes);
        let trainings = competing().map(|group| group.trainings.len()).min();
        let sets = competing().map(Group::sets).min().unwrap_or(0);
        let mut unknown = Vec::new();
        if found.of_means.is_none() {
            unknown.push(
                "every network was trained once: how far another training would move its score \
                 is not known (set `training.seeds`)"
                    .to_owned(),
            );
        }
        if found.sampling.is_none() {
            unknown.push(
                "one sample set each: how far another set would move a score is not known (set \
                 `sampling.sets`)"
                    .to_owned(),
            );
        }
        Self {
            spread: found.of_means,
            certainty: Certainty {
                confidence: CONFIDENCE,
                trainings: trainings.unwrap_or(0) as u32,
                sets,
                training_std: found.training,
                sampling_std: found.sampling.map(|spread| spread.deviation),
                degrees: found.of_means.map_or(0, |spread| spread.degrees),
                unknown,
            },
            networks: groups.len(),
        }
    }

    /// How far `a` is ahead of `b`, from and to.
    pub(super) fn ahead(&self, a: &Group<'_>, b: &Group<'_>) -> Option<(f64, f64)> {
        let half = statistics::half_width(self.networks, self.spread?, (mean_of(a), mean_of(b)));
        let ahead = b.objective() - a.objective();
        Some((ahead - half, ahead + half))
    }

    /// Standard error of the difference of two networks.
    pub(super) fn standard_error(&self, a: &Group<'_>, b: &Group<'_>) -> Option<f64> {
        let per = |group: &Group<'_>| 1.0 / group.trainings.len() as f64;
        Some(self.spread?.deviation * (per(a) + per(b)).sqrt())
    }

    /// What is known of each of these granularities among themselves. Without a spread of trainings
    /// none can be excluded.
    pub(super) fn standings(&self, groups: &[&Group<'_>]) -> Vec<Option<statistics::Standing>> {
        let Some(spread) = self.spread else {
            return vec![None; groups.len()];
        };
        let means: Vec<Mean> = groups.iter().map(|group| mean_of(group)).collect();
        let standings = statistics::standings(&means, spread);
        standings.into_iter().map(Some).collect()
    }
}

fn mean_of(group: &Group<'_>) -> Mean {
    Mean {
        value: group.objective(),
        trainings: group.trainings.len() as u32,
    }
}
