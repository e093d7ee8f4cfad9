//! The sweep file as written: its sections and keys, before defaults and presets are filled in.

mod forms;

use crate::{
    BoundSpec, CandidateRule, ClusteringSpec, EvaluationSpec, ExtractorChoice, FileRef,
    NeighbourSpec, SamplingSpec, SweepFileError, SweepSpec,
    findings::{Finding, Findings, from_toml},
    method::ClusteringFile,
    overrides::{
        AdaptOverrides, AugmentOverrides, NetworkOverrides, OptimiserOverrides, SamplerOverrides,
    },
    rules::{self, limits::MAX_FILE_BYTES},
    training,
};
use cedm_catalogue::extractors::extractor;
use cedm_contract::{
    Precision, Priority, SweepId,
    kinds::{
        adapt::DinoParams,
        bound::{BoundParams, FineGrid},
        sample::SamplerParams,
    },
};
pub(super) use forms::{CandidatesFile, ClustersFile};
use forms::{ExtractorFile, OneOrMany};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepFile {
    name: Option<String>,
    priority: Option<Priority>,
    images: ImagesFile,
    extractor: ExtractorFile,
    #[serde(default)]
    neighbours: NeighboursFile,
    clustering: Vec<ClusteringFile>,
    #[serde(default)]
    bound: BoundFile,
    training: TrainingFile,
    #[serde(default)]
    sampling: SamplingFile,
    evaluation: OneOrMany<EvaluationFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImagesFile {
    set: String,
    test_set: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtractorTable {
    name: String,
    weights: Option<String>,
    dim: Option<u32>,
    #[serde(default)]
    precision: Precision,
    adapt: Option<AdaptOverrides>,
}

impl From<ExtractorFile> for ExtractorChoice {
    fn from(ExtractorFile(file): ExtractorFile) -> Self {
        let adapt = file.adapt.map(|given| {
            let input = extractor(&file.name).and_then(|known| known.input);
            let size = given.vit.unwrap_or_default();
            let size = DinoParams::side_and_patch(&file.name, input, &size);
            let mut params = DinoParams::suited_to(size, file.weights.is_some());
            given.apply(&mut params);
            params
        });
        let weights = file.weights.map(|path| FileRef { path, object: None });
        Self {
            name: file.name,
            weights,
            dim: file.dim,
            precision: file.precision,
            adapt,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct NeighboursFile {
    part_rows: Option<u32>,
}

impl NeighboursFile {
    fn into_spec(self) -> NeighbourSpec {
        let default = NeighbourSpec::default();
        NeighbourSpec {
            part_rows: self.part_rows.unwrap_or(default.part_rows),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BoundFile {
    alpha: Option<f64>,
    start: Option<u32>,
    cap: Option<u32>,
    pub(super) fine_step: Option<u32>,
    pub(super) bisect_to: Option<u32>,
    seeds: Option<u32>,
    pub(super) candidates: Option<CandidatesFile>,
    pub(super) candidate_rule: Option<CandidateRule>,
    lower_bound: bool,
    lower_bound_clusters: Vec<u32>,
}

/// Networks of a clustering that follows a bound search.
const DEFAULT_CANDIDATES: u32 = 4;

impl BoundFile {
    /// The resolved section; `is_used` where some clustering needs a search.
    fn into_spec(self, is_used: bool) -> BoundSpec {
        let default = BoundParams::default();
        let fine = match (self.fine_step, self.bisect_to) {
            (Some(step), _) => FineGrid::Step { step },
            (None, Some(resolution)) => FineGrid::Bisect { resolution },
            (None, None) => default.fine,
        };
        let (candidates, list) = match self.candidates {
            None | Some(CandidatesFile::Word(_)) => (DEFAULT_CANDIDATES, Vec::new()),
            Some(CandidatesFile::Count(count)) => (count, Vec::new()),
            Some(CandidatesFile::List(mut list)) => {
                list.sort_unstable();
                (u32::try_from(list.len()).unwrap_or(u32::MAX), list)
            }
        };
        // A section that nothing reads is written as it always was: equal sweeps keep their bytes.
        let fine = if is_used || self.fine_step.is_some() || self.bisect_to.is_some() {
            fine
        } else {
            FineGrid::Step { step: 100 }
        };
        let rule = match self.candidate_rule {
            Some(rule) => rule,
            None if is_used => CandidateRule::Logarithmic,
            None => CandidateRule::Probes,
        };
        BoundSpec {
            params: BoundParams {
                alpha: self.alpha.unwrap_or(default.alpha),
                start: self.start.unwrap_or(default.start),
                cap: self.cap.unwrap_or(default.cap),
                fine,
                seeds: self.seeds.unwrap_or(default.seeds),
            },
            candidates,
            candidate_rule: rule,
            candidate_list: list,
            lower_bound: self.lower_bound,
            lower_bound_clusters: self.lower_bound_clusters,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingFile {
    pub(super) preset: String,
    pub(super) budget_kimg: Option<f64>,
    pub(super) snapshots: Option<u32>,
    pub(super) snapshots_kimg: Option<Vec<f64>>,
    pub(super) seed: Option<u64>,
    pub(super) seeds: Option<Vec<u64>>,
    pub(super) precision: Option<Precision>,
    #[serde(default)]
    pub(super) network: NetworkOverrides,
    #[serde(default)]
    pub(super) optimiser: OptimiserOverrides,
    #[serde(default)]
    pub(super) augment: AugmentOverrides,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SamplingFile {
    sets: Option<u32>,
    images: Option<u64>,
    snapshot_images: Option<u64>,
    uniform_sets: Option<u32>,
    shard_size: Option<u32>,
    #[serde(default)]
    sampler: SamplerOverrides,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluationFile {
    name: Option<String>,
    extractor: ExtractorFile,
    metrics: Vec<String>,
    primary: Option<String>,
    #[serde(default)]
    seed: u64,
}

impl From<EvaluationFile> for EvaluationSpec {
    fn from(file: EvaluationFile) -> Self {
        let primary = file
            .primary
            .or_else(|| file.metrics.first().cloned())
            .unwrap_or_default();
        let name = file.name.unwrap_or_else(|| file.extractor.0.name.clone());
        Self {
            name,
            extractor: file.extractor.into(),
            metrics: file.metrics,
            primary,
            seed: file.seed,
        }
    }
}

/// Parses a sweep file, resolves defaults and presets, and checks the rules.
pub(super) fn parse(text: &str) -> Result<SweepSpec, SweepFileError> {
    // Before it is parsed: a key of megabytes takes the parser a thousand times its size.
    if text.len() > MAX_FILE_BYTES {
        let message = format!(
            "the file has {} bytes: expected at most {MAX_FILE_BYTES}",
            text.len()
        );
        // Shown without its first line, which may be all of it.
        let findings = vec![Finding::at("", 0..0, message)];
        return Err(SweepFileError { findings });
    }
    let file: SweepFile = toml::from_str(text).map_err(|error| from_toml(text, &error))?;
    let mut findings = Findings::default();
    let name = file.name.as_deref().and_then(|name| {
        name.parse::<SweepId>()
            .map_err(|error| findings.add("name", error.to_string()))
            .ok()
    });
    rules::as_written(&file.clustering, &file.bound, &mut findings);
    let training = training::resolve(file.training, &mut findings);
    let mut sampler = SamplerParams {
        steps: training
            .as_ref()
            .map_or(18, |(_, preset)| preset.sampler_steps),
        ..SamplerParams::default()
    };
    file.sampling.sampler.apply(&mut sampler);
    let sampling = SamplingSpec {
        sets: file.sampling.sets.unwrap_or(3),
        // As in the paper (spec §9): scores are comparable at equal counts only.
        images: file.sampling.images.unwrap_or(50_000),
        snapshot_images: file.sampling.snapshot_images.unwrap_or(0),
        uniform_sets: file.sampling.uniform_sets.unwrap_or(0),
        shard_size: file.sampling.shard_size.unwrap_or(2_560),
        sampler,
    };
    let Some((training, _)) = training else {
        findings.into_result(text)?;
        unreachable!("invariant: training without a preset is a finding");
    };
    let clusterings: Vec<ClusteringSpec> = file
        .clustering
        .into_iter()
        .map(ClusteringFile::into_spec)
        .collect();
    let searches = clusterings.iter().any(|one| one.clusters.needs_bound());
    let bound = file.bound.into_spec(searches);
    let spec = SweepSpec {
        name,
        priority: file.priority.unwrap_or_default(),
        image_set: file.images.set,
        test_set: file.images.test_set,
        extractor: file.extractor.into(),
        neighbours: file.neighbours.into_spec(),
        clusterings,
        bound,
        training,
        sampling,
        evaluations: file
            .evaluation
            .0
            .into_iter()
            .map(EvaluationSpec::from)
            .collect(),
    };
    rules::resolved(&spec, &mut findings);
    findings.into_result(text)?;
    Ok(spec)
}
