//! Why a score is not there.

use cedm_sweep::outcome::{CellOutcome, Missing, SetOutcome, SnapshotOutcome, SweepOutcome};

/// Why a network has no score `<space>/<metric>` at a snapshot: what the evaluator said of it, else
/// what is known to be missing of this network.
pub fn why_missing(
    outcome: &SweepOutcome,
    cell: &CellOutcome,
    snapshot: Option<&SnapshotOutcome>,
    key: &str,
) -> String {
    let sets = snapshot.into_iter().flat_map(|snapshot| &snapshot.sets);
    evaluators_reason(sets, key)
        .or_else(|| known_reason(outcome, cell, snapshot.map(|snapshot| snapshot.nimg), key))
        .unwrap_or_else(|| "not computed".to_owned())
}

/// What the evaluator said of a score without a number, in the first of these sets.
pub fn evaluators_reason<'a>(
    mut sets: impl Iterator<Item = &'a SetOutcome>,
    key: &str,
) -> Option<String> {
    let (space, metric) = key.split_once('/')?;
    sets.find_map(|set| {
        let score = set.scores.get(space)?.result.scores.get(metric)?;
        score.missing.clone()
    })
}

/// The first thing missing of this network that explains the score: best of this snapshot or of
/// the clustering, else of any snapshot.
fn known_reason(
    outcome: &SweepOutcome,
    cell: &CellOutcome,
    nimg: Option<u64>,
    key: &str,
) -> Option<String> {
    let explains = |missing: &Missing| {
        let at = missing.cell.as_ref()?;
        let of_score = at.score.as_deref().is_none_or(|score| score == key);
        (at.is_of(cell) && of_score).then_some(at.nimg.is_none() || at.nimg == nimg)
    };
    let first = |here: bool| {
        let mut all = outcome.missing.iter();
        all.find(|missing| explains(missing) == Some(here))
    };
    first(true)
        .or_else(|| first(false))
        .map(|missing| missing.reason.clone())
}
