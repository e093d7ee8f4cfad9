//! The sweep file as written: its sections and keys, before defaults and presets are filled in.

use crate::{
    BoundSpec, ClusteringSpec, Clusters, EvaluationSpec, ExtractorChoice, FileRef, Method,
    NeighbourSpec, SamplingSpec, SweepFileError, SweepSpec,
    findings::{Findings, from_toml},
    overrides::{AugmentOverrides, NetworkOverrides, OptimiserOverrides, SamplerOverrides},
    rules, training,
};
use cedm_contract::{
    Precision, Priority, SweepId,
    kinds::{
        adapt::DinoParams,
        bound::{BoundParams, FineGrid},
        cluster::{KmeansParams, TemiParams},
        sample::SamplerParams,
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use std::fmt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
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
    adapt: Option<DinoParams>,
}

/// A name, or a table with more.
struct ExtractorFile(ExtractorTable);

impl<'de> Deserialize<'de> for ExtractorFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ExtractorFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the name of an extractor, or a table with name, weights, dim, \
                     precision and adapt",
                )
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<ExtractorFile, E> {
                Ok(ExtractorFile(ExtractorTable {
                    name: name.to_owned(),
                    weights: None,
                    dim: None,
                    precision: Precision::default(),
                    adapt: None,
                }))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ExtractorFile, A::Error> {
                ExtractorTable::deserialize(MapAccessDeserializer::new(map)).map(ExtractorFile)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl From<ExtractorFile> for ExtractorChoice {
    fn from(ExtractorFile(file): ExtractorFile) -> Self {
        let weights = file.weights.map(|path| FileRef { path, object: None });
        Self {
            name: file.name,
            weights,
            dim: file.dim,
            precision: file.precision,
            adapt: file.adapt,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusteringFile {
    pub(super) name: Option<String>,
    pub(super) method: String,
    pub(super) clusters: Option<ClustersFile>,
    #[serde(default)]
    seed: u64,
    pub(super) coarse: Option<bool>,
    pub(super) file: Option<String>,
    pub(super) temi: Option<TemiParams>,
    pub(super) kmeans: Option<KmeansParams>,
}

impl ClusteringFile {
    /// The clustering; a method that does not exist counts as none (the rules have said so by
    /// then).
    fn into_spec(self) -> ClusteringSpec {
        let clusters = match self.clusters {
            Some(ClustersFile::Word(word)) if word == "bound" => Clusters::Bound,
            Some(ClustersFile::Word(_)) => Clusters::CMax,
            Some(ClustersFile::List(mut list)) => {
                list.sort_unstable();
                Clusters::List(list)
            }
            None => Clusters::Given,
        };
        let method = match self.method.as_str() {
            "temi" => Method::Temi(self.temi.unwrap_or_default()),
            "kmeans" => Method::Kmeans(self.kmeans.unwrap_or_default()),
            "ground_truth" => Method::GroundTruth {
                coarse: self.coarse.unwrap_or(false),
            },
            "imported" => Method::Imported {
                ids: FileRef {
                    path: self.file.unwrap_or_default(),
                    object: None,
                },
            },
            _ => Method::None,
        };
        let name = self.name.unwrap_or_else(|| method.name().replace('_', "-"));
        ClusteringSpec {
            name,
            method,
            clusters,
            seed: self.seed,
        }
    }
}

/// `"bound"`, `"c_max"`, a number, or a list of numbers.
pub(super) enum ClustersFile {
    Word(String),
    List(Vec<u32>),
}

impl<'de> Deserialize<'de> for ClustersFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ClustersFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"bound\", \"c_max\", or a list of whole numbers such as [10, 20, 40]")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<ClustersFile, E> {
                Ok(ClustersFile::Word(word.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ClustersFile, E> {
                u32::try_from(number)
                    .map(|c| ClustersFile::List(vec![c]))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<ClustersFile, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(ClustersFile::List(list))
            }
        }
        deserializer.deserialize_any(Visitor)
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
    candidates: Option<u32>,
    lower_bound: bool,
    lower_bound_clusters: Vec<u32>,
}

impl BoundFile {
    fn into_spec(self) -> BoundSpec {
        let default = BoundParams::default();
        let fine = match (self.fine_step, self.bisect_to) {
            (Some(step), _) => FineGrid::Step { step },
            (None, Some(resolution)) => FineGrid::Bisect { resolution },
            (None, None) => default.fine,
        };
        BoundSpec {
            params: BoundParams {
                alpha: self.alpha.unwrap_or(default.alpha),
                start: self.start.unwrap_or(default.start),
                cap: self.cap.unwrap_or(default.cap),
                fine,
                seeds: self.seeds.unwrap_or(default.seeds),
            },
            candidates: self.candidates.unwrap_or(4),
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
    #[serde(default)]
    pub(super) seed: u64,
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

/// `[section]` or `[[section]]`.
struct OneOrMany<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or a list of tables")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<OneOrMany<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<OneOrMany<T>, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = items.next_element()? {
                    many.push(item);
                }
                Ok(OneOrMany(many))
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// Reads and checks a sweep file.
pub(super) fn parse(text: &str) -> Result<SweepSpec, SweepFileError> {
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
        // As the paper does (spec §9): scores are comparable at equal counts only.
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
    let spec = SweepSpec {
        name,
        priority: file.priority.unwrap_or_default(),
        image_set: file.images.set,
        test_set: file.images.test_set,
        extractor: file.extractor.into(),
        neighbours: file.neighbours.into_spec(),
        clusterings: file
            .clustering
            .into_iter()
            .map(ClusteringFile::into_spec)
            .collect(),
        bound: file.bound.into_spec(),
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
