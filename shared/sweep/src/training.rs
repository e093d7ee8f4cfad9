//! Resolves `[training]`: preset, overrides, and snapshots as numbers of images.

use crate::{
    TrainingSpec,
    file::TrainingFile,
    findings::Findings,
    presets::{Preset, preset, preset_names},
    suggest::did_you_mean,
};
use cedm_contract::kinds::train::whole_batch_images;

/// The resolved training and its preset; `None` with a finding when the preset is unknown.
pub(super) fn resolve(
    file: TrainingFile,
    findings: &mut Findings,
) -> Option<(TrainingSpec, Preset)> {
    let Some(preset) = preset(&file.preset) else {
        let names = preset_names();
        let hint = match did_you_mean(&file.preset, names.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("known are {}", names.join(", ")),
        };
        findings.add(
            "training.preset",
            format!("unknown preset `{}`; {hint}", file.preset),
        );
        return None;
    };
    let budget_kimg = file.budget_kimg.unwrap_or(preset.budget_kimg);
    let (mut network, mut optimiser, mut augment) = (
        preset.network.clone(),
        preset.optimiser.clone(),
        preset.augment.clone(),
    );
    let micro_batch_given = file.optimiser.micro_batch.is_some();
    file.network.apply(&mut network);
    network.normalise();
    file.optimiser.apply(&mut optimiser);
    file.augment.apply(&mut augment);
    network.augment_dim = if augment.p > 0.0 { 9 } else { 0 };
    if !micro_batch_given {
        optimiser.micro_batch = largest_divisor(optimiser.batch, optimiser.micro_batch);
    }
    let snapshots_nimg = snapshots(
        budget_kimg,
        file.snapshots,
        file.snapshots_kimg.as_deref(),
        u64::from(optimiser.batch.max(1)),
        findings,
    );
    let precision = file.precision.unwrap_or(preset.precision);
    let seeds = seeds(file.seed, file.seeds, findings);
    let spec = TrainingSpec {
        preset: file.preset,
        network,
        optimiser,
        augment,
        precision,
        seed: seeds[0],
        seeds: if seeds.len() > 1 { seeds } else { Vec::new() },
        snapshots_nimg,
    };
    Some((spec, preset))
}

/// Most trainings of one network: more say nothing new.
const MAX_SEEDS: usize = 100;

/// The seeds of the trainings of every network, at least one.
fn seeds(seed: Option<u64>, seeds: Option<Vec<u64>>, findings: &mut Findings) -> Vec<u64> {
    let path = "training.seeds";
    let Some(seeds) = seeds else {
        return vec![seed.unwrap_or(0)];
    };
    findings.check(
        seed.is_none(),
        path,
        "`seed` and `seeds` exclude each other: keep one of them",
    );
    findings.check(
        (1..=MAX_SEEDS).contains(&seeds.len()),
        path,
        format!("{} seeds: expected 1 to {MAX_SEEDS}", seeds.len()),
    );
    let mut distinct = seeds.clone();
    distinct.sort_unstable();
    if let Some(pair) = distinct.windows(2).find(|pair| pair[0] == pair[1]) {
        findings.add(path, format!("the seed {} is listed twice", pair[0]));
    }
    if seeds.is_empty() { vec![0] } else { seeds }
}

/// The largest divisor of `batch` that is at most `limit`; `limit` itself where there is none.
pub fn largest_divisor(batch: u32, limit: u32) -> u32 {
    (1..=limit.min(batch))
        .rev()
        .find(|size| batch.is_multiple_of(*size))
        .unwrap_or(limit)
}

/// The number of images at each snapshot: whole batches, at least one.
fn snapshots(
    budget_kimg: f64,
    count: Option<u32>,
    list: Option<&[f64]>,
    batch: u64,
    findings: &mut Findings,
) -> Vec<u64> {
    if !(budget_kimg > 0.0 && budget_kimg <= 1e9) {
        findings.add(
            "training.budget_kimg",
            format!(
                "the budget is {budget_kimg} kimg: expected more than 0 and at most 1e9 (in \
                 thousand images)"
            ),
        );
        return Vec::new();
    }
    let at_least_one_batch = |kimg: f64| whole_batch_images(kimg, batch).max(batch);
    let budget = at_least_one_batch(budget_kimg);
    let mut at: Vec<u64> = match (count, list) {
        (Some(_), Some(_)) => {
            findings.add(
                "training.snapshots",
                "`snapshots` and `snapshots_kimg` exclude each other: keep one of them",
            );
            return Vec::new();
        }
        (Some(count), None) if !(1..=1000).contains(&count) => {
            findings.add(
                "training.snapshots",
                format!("{count} snapshots: expected 1 to 1000"),
            );
            return Vec::new();
        }
        (Some(count), None) => (1..=count)
            .map(|i| at_least_one_batch(budget_kimg * f64::from(i) / f64::from(count)))
            .collect(),
        (None, Some(list)) => {
            for (index, kimg) in list.iter().enumerate() {
                let path = format!("training.snapshots_kimg.{index}");
                findings.check(
                    *kimg > 0.0,
                    &*path,
                    format!("a snapshot at {kimg} kimg: expected more than 0"),
                );
                findings.check(
                    *kimg <= budget_kimg,
                    &*path,
                    format!(
                        "a snapshot at {kimg} kimg lies beyond the budget of {budget_kimg} kimg"
                    ),
                );
                if index > 0 {
                    findings.check(
                        *kimg > list[index - 1],
                        path,
                        format!(
                            "a snapshot at {kimg} kimg after {}: expected ascending numbers",
                            list[index - 1]
                        ),
                    );
                }
            }
            list.iter()
                .copied()
                .filter(|kimg| *kimg > 0.0)
                .map(at_least_one_batch)
                .collect()
        }
        (None, None) => Vec::new(),
    };
    at.push(budget);
    at.sort_unstable();
    at.dedup();
    at
}
