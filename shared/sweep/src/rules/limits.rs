//! Upper limits of every number of a sweep, and of the jobs that it plans.
//!
//! A number has no limit by nature; without one a slip of the finger, or a file of a stranger,
//! fills the memory of whoever plans the sweep. The limits are far above anything that is trained,
//! and are checked where a file is parsed and again where a stored sweep is read.

use crate::{Clusters, SweepSpec};
use serde_json::Value;

/// Most bytes of a sweep file; the longest of the project has 6,000.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Largest whole number of a key that is not listed below.
const WHOLE: u64 = 1_000_000;
/// Largest size of a real number.
const REAL: f64 = 1e12;
/// Most elements of a list, in the resolved sweep.
const ELEMENTS: usize = 10_000;
/// Most jobs of a sweep: the paper's largest study has some ten thousand.
pub(crate) const MAX_JOBS: u64 = 1_000_000;

/// Keys whose largest number is another, by the end of their path.
const KEYS: &[(&str, u64)] = &[
    // A seed is any number.
    ("seed", u64::MAX),
    // Bytes, and images shown: a thousand times the paper's.
    ("size", 1 << 50),
    ("snapshots_nimg", 1_000_000_000_000),
    ("snapshots_nimg.*", 1_000_000_000_000),
    ("lr_rampup_nimg", 1_000_000_000_000),
    ("ema_halflife_nimg", 1_000_000_000_000),
    // Images of a set: two hundred times the 50,000 of the paper.
    ("images", 10_000_000),
    ("snapshot_images", 10_000_000),
    ("sets", 1_000),
    ("uniform_sets", 1_000),
    // EDM's sampler takes 18 to 256 steps.
    ("steps", 10_000),
    // Widths and depths of networks.
    ("model_channels", 4_096),
    ("channel_mult.*", 64),
    ("channel_mult_emb", 64),
    ("channel_mult_noise", 64),
    ("num_blocks", 64),
    ("resolution", 4_096),
    ("hidden", 65_536),
    ("bottleneck", 65_536),
    ("layers", 64),
    ("heads", 1_000),
    ("depth", 256),
    ("patch", 256),
    ("candidates", 1_000),
    ("starts", 1_000),
];

/// Everything of a resolved sweep that is beyond a limit: path in the sweep file, and a sentence.
pub(crate) fn beyond(spec: &SweepSpec) -> Vec<(String, String)> {
    let value = serde_json::to_value(spec).expect("invariant: a spec is plain data");
    let mut found = Vec::new();
    visit(&value, "", &mut found);
    // Only then are the products below small enough to be computed.
    if found.is_empty() {
        let jobs = jobs(spec);
        if jobs > MAX_JOBS {
            found.push((
                "sampling.sets".to_owned(),
                format!("the sweep has about {jobs} jobs: expected at most {MAX_JOBS}"),
            ));
        }
    }
    found
}

fn visit(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    let join = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                visit(value, &join(key), found);
            }
        }
        Value::Array(all) => {
            if all.len() > ELEMENTS {
                let reason = format!("{} elements: expected at most {ELEMENTS}", all.len());
                found.push((as_written(path), reason));
                return;
            }
            for (index, value) in all.iter().enumerate() {
                visit(value, &join(&index.to_string()), found);
            }
        }
        Value::Number(number) => {
            let key = path.rsplit('.').find(|part| part.parse::<usize>().is_err());
            let key = key.unwrap_or_default();
            let reason = if let Some(whole) = number.as_u64() {
                let limit = limit_of(path);
                (whole > limit).then(|| format!("`{key}` is {whole}: expected at most {limit}"))
            } else {
                let real = number.as_f64().filter(|real| real.abs() <= REAL);
                real.is_none()
                    .then(|| format!("`{key}` is {number}: expected a size of at most {REAL:e}"))
            };
            found.extend(reason.map(|reason| (as_written(path), reason)));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn limit_of(path: &str) -> u64 {
    let parts: Vec<&str> = path.split('.').collect();
    let fits = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        let Some(end) = parts.len().checked_sub(pattern.len()) else {
            return false;
        };
        let same = |(part, wanted): (&&str, &&str)| *wanted == "*" || part == wanted;
        parts[end..].iter().zip(&pattern).all(same)
    };
    let known = KEYS.iter().find(|(pattern, _)| fits(pattern));
    known.map_or(WHOLE, |(_, limit)| *limit)
}

/// The path as the sweep file has it: `clusterings.1.method.temi.heads` is
/// `clustering.1.temi.heads`.
fn as_written(path: &str) -> String {
    let path = path.replacen("clusterings.", "clustering.", 1);
    let path = path.replacen(".method.", ".", 1);
    path.replacen("evaluations.", "evaluation.", 1)
        .replacen("candidate_list", "candidates", 1)
        .replacen("snapshots_nimg", "snapshots_kimg", 1)
}

/// Jobs of the sweep, from above: every network with every set, every set with every feature space.
fn jobs(spec: &SweepSpec) -> u64 {
    let networks: u64 = spec
        .clusterings
        .iter()
        .map(|clustering| match &clustering.clusters {
            Clusters::List(list) => list.len().max(1) as u64,
            _ => u64::from(spec.bound.candidates).max(1),
        })
        .sum();
    let (sampling, spaces) = (&spec.sampling, spec.evaluations.len() as u64);
    let shards = |images: u64| images.div_ceil(u64::from(sampling.shard_size.max(1))) + 1;
    let sets = u64::from(sampling.sets) + u64::from(sampling.uniform_sets);
    let snapshots = spec.training.snapshots_nimg.len() as u64;
    let networks = networks.saturating_mul(spec.training.seeds().len() as u64);
    let of_sets = sets * shards(sampling.images) + snapshots * shards(sampling.snapshot_images);
    networks.saturating_mul(of_sets.saturating_mul(1 + spaces).saturating_add(snapshots))
}
