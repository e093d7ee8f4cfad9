//! `cedm-evaluator run`: sets of images on disk in, scores as JSON out; no queue and no object
//! store.

mod args;
mod others;
mod sources;

pub use args::RunArgs;
pub use others::{OTHERS, as_markdown, as_text};

use crate::{
    EvaluatorError, FeatureSpace, MeasuredSet,
    confidence::read_heads,
    score::{ComparedSets, Settings, metrics_named, scores},
};
use cedm_catalogue::metrics::{FoundBy, METRICS, Side};
use cedm_contract::{
    ExtractorSpec,
    kinds::{extract::features::FEATURES, reference::reference_limit, score::Score},
};
use cedm_maths::{Statistics, write_statistics};
use cedm_runtime::{ConsoleMonitor, InputPath};
use cedm_torch::tensor_files;
use serde::Serialize;
use sources::{InputSet, SetMeasurer};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Device;

/// The JSON that `run` prints.
#[derive(Debug, Serialize)]
struct Report {
    extractor: String,
    weights: Option<String>,
    sets: BTreeMap<&'static str, SetReport>,
    scores: BTreeMap<String, ScoreReport>,
    settings: Settings,
    seed: u64,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct SetReport {
    path: InputPath,
    kind: &'static str,
    images: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<String>,
    /// Duration of measuring the images in seconds, without loading the extractor.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ScoreReport {
    #[serde(flatten)]
    score: Score,
    title: String,
    direction: String,
    unit: &'static str,
    against: &'static str,
    definition: &'static str,
    sample_counts: &'static str,
    defined_in: &'static str,
}

/// Measures the sets, computes the scores and prints them as JSON; missing scores are named on
/// standard error.
///
/// # Errors
/// If a set cannot be read, or the sets cannot be compared at all.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let _guard = tch::no_grad_guard();
    let compute = cedm_torch::start()?;
    let report = evaluate(args, compute.device)?;
    for (name, score) in &report.scores {
        if let Some(reason) = &score.score.missing {
            cedm_terminal::errln!("{name} is missing: {reason}");
        }
    }
    cedm_terminal::outjson!(serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn evaluate(args: &RunArgs, device: Device) -> Result<Report, EvaluatorError> {
    let started = Instant::now();
    let names = metric_names(args);
    let metrics = metrics_named(&names)?;
    let paths = [
        ("generated", Some(&args.generated)),
        ("reference", args.reference.as_ref()),
        ("unconditional", args.unconditional.as_ref()),
        ("test", args.test.as_ref()),
    ];
    let scratch = tempfile::tempdir().map_err(|error| {
        EvaluatorError::file(
            std::env::temp_dir(),
            format!("cannot create a temporary folder: {error}"),
        )
    })?;
    let sets = paths.iter().filter_map(|(_, path)| *path);
    let others = [&args.heads, &args.weights, &args.fit];
    InputPath::fetch_all(sets.chain(others.into_iter().flatten()))?;
    let mut sources = BTreeMap::new();
    for (role, path) in paths {
        if let Some(path) = path {
            sources.insert(role, InputSet::open(role, path, scratch.path())?);
        }
    }
    if !args.mixed_resolution {
        require_one_shape(&sources)?;
    }
    let spec = ExtractorSpec {
        name: args.extractor.clone(),
        weights: None,
        dim: args.dim,
        precision: Default::default(),
    };
    let mut measurer = SetMeasurer::new(
        spec,
        local(&args.weights)?,
        local(&args.fit)?,
        scratch.path().to_owned(),
        device,
    );
    // A fitted extractor is fitted to the reference images, or to the generated ones if the
    // reference has no images.
    measurer.fit_to(
        ["reference", "generated"]
            .iter()
            .filter_map(|role| sources.get(role))
            .find(|source| source.shape().is_some()),
    )?;
    let mut sets = BTreeMap::new();
    for (&role, source) in &sources {
        let mut set = measurer.measure(source)?;
        let limit = args
            .reference_at_most
            .or_else(|| reference_limit(&args.extractor));
        if let (Some(limit), "reference", true) = (limit, role, source.has_single_features()) {
            set = set.at_most(
                limit,
                &scratch.path().join("reference.features.safetensors"),
            )?;
        }
        sets.insert(role, set);
    }
    let heads = args
        .heads
        .as_ref()
        .map(|file| read_heads(file.path()?, args.heads_l2_norm))
        .transpose()?;
    let generated = &sets["generated"];
    let compared = ComparedSets {
        generated,
        reference: sets.get("reference"),
        unconditional: sets.get("unconditional"),
        test: sets.get("test"),
        heads: heads.as_ref(),
    };
    let found = scores(
        &metrics,
        compared,
        args.settings,
        args.seed,
        &ConsoleMonitor::default(),
    )?;
    if let Some(file) = &args.save_stats {
        save_statistics(file, generated)?;
    }
    if let Some(file) = &args.save_features {
        tensor_files::write(file, &[(FEATURES.name, generated.features()?.rows())], &[])?;
    }
    let space = sets.values().find_map(|set| set.space.clone());
    let described = |name: String, score: Score| {
        let row = metrics
            .iter()
            .find(|metric| metric.name == name)
            .expect("invariant: only these were computed");
        let extractor = space
            .as_ref()
            .map_or("unknown", |space| space.extractor.as_str());
        (
            name,
            ScoreReport {
                score,
                title: row.title_in(extractor),
                direction: row.direction.words(),
                unit: row.unit,
                against: row.against.words(),
                definition: row.definition,
                sample_counts: row.samples,
                defined_in: row.literature,
            },
        )
    };
    Ok(Report {
        extractor: space
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |space| space.extractor.clone()),
        weights: space
            .as_ref()
            .and_then(|space| space.weights.as_ref())
            .map(ToString::to_string),
        sets: sources
            .iter()
            .map(|(&role, source)| {
                (
                    role,
                    source.report(sets[role].count, measurer.seconds(role)),
                )
            })
            .collect(),
        scores: found
            .into_iter()
            .map(|(name, score)| described(name, score))
            .collect(),
        settings: args.settings,
        seed: args.seed,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn local(input: &Option<InputPath>) -> Result<Option<PathBuf>, EvaluatorError> {
    let path = input.as_ref().map(InputPath::path).transpose()?;
    Ok(path.map(Path::to_owned))
}

/// The requested metric names, with `all` and `none` resolved.
fn metric_names(args: &RunArgs) -> Vec<String> {
    match args.metrics.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["none"] => Vec::new(),
        ["all"] => {
            let given = |side: &Side| match side {
                Side::Reference => args.reference.is_some(),
                Side::Unconditional => args.unconditional.is_some(),
                Side::Test => args.test.is_some(),
                Side::Heads => args.heads.is_some(),
            };
            let rows = METRICS
                .iter()
                .filter(|metric| metric.found_by == FoundBy::Score);
            rows.filter(|metric| metric.against.sides().iter().all(given))
                .map(|metric| metric.name.to_owned())
                .collect()
        }
        _ => args.metrics.clone(),
    }
}

/// Checks that the images of all sets have one shape.
fn require_one_shape(sources: &BTreeMap<&'static str, InputSet>) -> Result<(), EvaluatorError> {
    let mut shapes = sources
        .iter()
        .filter_map(|(role, source)| Some((*role, source.shape()?)));
    let Some((other, expected)) = shapes.next() else {
        return Ok(());
    };
    for (what, found) in shapes {
        if found != expected {
            return Err(EvaluatorError::OtherResolution {
                what: what.to_owned(),
                found,
                other: other.to_owned(),
                expected,
            });
        }
    }
    Ok(())
}

/// Writes mean and covariance of a set, with its feature space, as npz.
fn save_statistics(file: &Path, set: &MeasuredSet) -> Result<(), EvaluatorError> {
    let gaussian = set.gaussian()?;
    let gaussian = cedm_maths::Gaussian::new(set.name.clone(), gaussian.mu(), gaussian.sigma())?;
    let space: Option<&FeatureSpace> = set.space.as_ref();
    let statistics = Statistics {
        gaussian,
        count: set.count,
        extractor: space.map(|space| space.extractor.clone()),
        weights: space
            .and_then(|space| space.weights.as_ref())
            .map(ToString::to_string),
    };
    Ok(write_statistics(file, &statistics)?)
}
