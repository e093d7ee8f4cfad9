//! What a path given to `run` holds, and how it becomes a measured set.

use super::SetReport;
use crate::{
    EvaluatorError, FeatureSpace, MeasuredSet,
    measure::{images_of, measure, read_moments, read_tensor},
};
use cedm_catalogue::extractors::extractor;
use cedm_contract::{
    Digest, ExtractorSpec,
    kinds::{
        extract::features::FEATURES,
        import::shard::IMAGES,
        measure::moments::{OUTER, SUM},
        reference::gaussian::{MU, SIGMA},
    },
};
use cedm_images::{ImportOptions, Shard, import, read_shard};
use cedm_maths::{Features, Moments, read_statistics};
use cedm_nets::{Extractor, PcaFit};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Tensor;

/// One set as it was given.
pub(super) struct Source {
    role: &'static str,
    path: PathBuf,
    holds: Holds,
}

enum Holds {
    /// Image shards in order, channels and side, names of images left out.
    Images {
        shards: Vec<PathBuf>,
        shape: (u32, u32),
        skipped: Vec<String>,
    },
    /// A safetensors file with `features`.
    Features,
    /// A safetensors file with `count`, `sum` and `outer`.
    Moments,
    /// An npz file with `mu` and `sigma`.
    Statistics,
}

impl Source {
    /// Looks at `path`; images of foreign formats are imported into `scratch`.
    pub(super) fn open(
        role: &'static str,
        path: &Path,
        scratch: &Path,
    ) -> Result<Self, EvaluatorError> {
        if !path.exists() {
            return Err(EvaluatorError::file(path, "does not exist"));
        }
        let holds = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => tensors_of(path)?,
            Some("npz") if holds_statistics(path)? => Holds::Statistics,
            _ if path.is_dir() && !shards_in(path)?.is_empty() => {
                images(shards_in(path)?, Vec::new())?
            }
            _ => {
                let out = scratch.join(role);
                let imported = import(path, &ImportOptions::default(), &out, &mut |_| {})?;
                let shards = imported
                    .set
                    .shards
                    .iter()
                    .map(|shard| out.join(&shard.object.object))
                    .collect();
                images(
                    shards,
                    imported
                        .skipped
                        .into_iter()
                        .map(|skipped| format!("{}: {}", skipped.name, skipped.reason))
                        .collect(),
                )?
            }
        };
        Ok(Self {
            role,
            path: path.to_owned(),
            holds,
        })
    }

    /// Channels and side of its images, where it holds images.
    pub(super) fn shape(&self) -> Option<String> {
        match &self.holds {
            Holds::Images {
                shape: (channels, side),
                ..
            } => Some(format!("{side}x{side} pixels, {channels} channels")),
            _ => None,
        }
    }

    /// Whether every single image can be told apart: not in moments and statistics.
    pub(super) fn is_single_features(&self) -> bool {
        matches!(self.holds, Holds::Images { .. } | Holds::Features)
    }

    pub(super) fn report(&self, images: Option<i64>, seconds: Option<f64>) -> SetReport {
        let (kind, skipped) = match &self.holds {
            Holds::Images { skipped, .. } => ("images", skipped.clone()),
            Holds::Features => ("features", Vec::new()),
            Holds::Moments => ("moments", Vec::new()),
            Holds::Statistics => ("statistics", Vec::new()),
        };
        SetReport {
            path: self.path.clone(),
            kind,
            images,
            shape: self.shape(),
            seconds,
            skipped,
        }
    }

    fn shards(&self) -> &[PathBuf] {
        match &self.holds {
            Holds::Images { shards, .. } => shards,
            _ => &[],
        }
    }
}

fn tensors_of(path: &Path) -> Result<Holds, EvaluatorError> {
    let tensors = Tensor::read_safetensors(path)
        .map_err(|error| EvaluatorError::file(path, format!("is no safetensors file: {error}")))?;
    let has = |name: &str| tensors.iter().any(|(found, _)| found == name);
    if has(IMAGES.name) {
        images(vec![path.to_owned()], Vec::new())
    } else if has(FEATURES.name) {
        Ok(Holds::Features)
    } else if has(SUM.name) && has(OUTER.name) {
        Ok(Holds::Moments)
    } else {
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        Err(EvaluatorError::file(
            path,
            format!(
                "holds {names:?}, expected `images`, `features`, or `count`, `sum` and `outer`"
            ),
        ))
    }
}

/// Whether an npz file holds `mu` and `sigma`; other npz files hold images.
fn holds_statistics(path: &Path) -> Result<bool, EvaluatorError> {
    Ok(cedm_maths::array_names(path)?
        .iter()
        .any(|name| name == MU.name || name == SIGMA.name))
}

/// Safetensors files directly in a folder, by name: a sample set, or the folder of an import.
fn shards_in(folder: &Path) -> Result<Vec<PathBuf>, EvaluatorError> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| EvaluatorError::file(folder, format!("cannot be listed: {error}")))?;
    let mut shards: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    shards.sort();
    Ok(shards)
}

fn images(shards: Vec<PathBuf>, skipped: Vec<String>) -> Result<Holds, EvaluatorError> {
    let mut shape = None;
    for path in &shards {
        let Shard {
            channels,
            resolution,
            ..
        } = read_shard(path)?;
        let found = (channels as u32, resolution as u32);
        if *shape.get_or_insert(found) != found {
            return Err(EvaluatorError::file(
                path,
                format!(
                    "holds images of {found:?} (channels, side), the shards before it {shape:?}"
                ),
            ));
        }
    }
    let shape = shape.expect("invariant: called with at least one shard");
    Ok(Holds::Images {
        shards,
        shape,
        skipped,
    })
}

/// Measures sources with one extractor, loaded when the first images come.
pub(super) struct Lab {
    spec: ExtractorSpec,
    weights: Option<PathBuf>,
    fit: Option<PathBuf>,
    scratch: PathBuf,
    loaded: Option<(Extractor, FeatureSpace)>,
    /// By role: seconds from images to features and moments, loading aside.
    seconds: BTreeMap<&'static str, f64>,
}

impl Lab {
    pub(super) fn new(
        spec: ExtractorSpec,
        weights: Option<PathBuf>,
        fit: Option<PathBuf>,
        scratch: PathBuf,
    ) -> Self {
        Self {
            spec,
            weights,
            fit,
            scratch,
            loaded: None,
            seconds: BTreeMap::new(),
        }
    }

    /// Fits an extractor that needs it to the images of `source`, unless a fit was given or there
    /// are no images.
    pub(super) fn learn_from(&mut self, source: Option<&Source>) -> Result<(), EvaluatorError> {
        let needs = extractor(&self.spec.name).is_some_and(|extractor| extractor.fitted);
        let Some(source) = source.filter(|_| needs && self.fit.is_none()) else {
            return Ok(());
        };
        let mut fit = PcaFit::default();
        for shard in source.shards() {
            fit.add(&images_of(&read_shard(shard)?))?;
        }
        let file = self.scratch.join("fit.safetensors");
        fit.finish(self.spec.dim)?.write(&file)?;
        self.fit = Some(file);
        Ok(())
    }

    pub(super) fn measure(&mut self, source: &Source) -> Result<MeasuredSet, EvaluatorError> {
        let (role, path) = (source.role, &source.path);
        match &source.holds {
            Holds::Images { shards, .. } => self.measure_images(source.role, shards),
            Holds::Features => {
                let rows = read_tensor(path, FEATURES.name)?
                    .expect("invariant: seen when the file was opened");
                MeasuredSet::merge(
                    role,
                    [Ok(Moments::of(&Features::new(role, &rows)?))],
                    vec![path.clone()],
                )
            }
            Holds::Moments => MeasuredSet::merge(role, [read_moments(role, path)], Vec::new()),
            Holds::Statistics => {
                let found = read_statistics(path)?;
                let broken = |_| {
                    EvaluatorError::file(
                        path,
                        "array `weights` is no digest of 64 hexadecimal digits",
                    )
                };
                let weights: Option<Digest> = found
                    .weights
                    .map(|text| text.parse())
                    .transpose()
                    .map_err(broken)?;
                let space = found.extractor.map(|extractor| FeatureSpace {
                    extractor,
                    weights,
                    precision: Default::default(),
                });
                Ok(
                    MeasuredSet::from_gaussian(role, found.gaussian, None, found.count, Vec::new())
                        .within(space),
                )
            }
        }
    }

    /// Seconds that measuring the images of `role` took; `None` where there was nothing to measure.
    pub(super) fn seconds(&self, role: &str) -> Option<f64> {
        self.seconds.get(role).copied()
    }

    fn measure_images(
        &mut self,
        role: &'static str,
        shards: &[PathBuf],
    ) -> Result<MeasuredSet, EvaluatorError> {
        self.load()?;
        let started = Instant::now();
        let (extractor, space) = self.loaded.as_ref().expect("invariant: loaded above");
        let (mut moments, mut files) = (Vec::new(), Vec::new());
        for (index, shard) in shards.iter().enumerate() {
            let found = measure(
                &format!("{role} (shard {index})"),
                extractor,
                &images_of(&read_shard(shard)?),
            )?;
            let file = self
                .scratch
                .join(format!("{role}-{index:05}.features.safetensors"));
            found.write_features(&file)?;
            files.push(file);
            moments.push(Ok(found.moments));
        }
        let space = space.clone();
        self.seconds.insert(role, started.elapsed().as_secs_f64());
        Ok(MeasuredSet::merge(role, moments, files)?.within(Some(space)))
    }

    fn load(&mut self) -> Result<(), EvaluatorError> {
        if self.loaded.is_none() {
            let digest = |file: &PathBuf| {
                let bytes = std::fs::read(file).map_err(|error| {
                    EvaluatorError::file(file, format!("cannot be read: {error}"))
                })?;
                Ok::<_, EvaluatorError>(Digest::of(&bytes))
            };
            let weights = self
                .fit
                .as_ref()
                .or(self.weights.as_ref())
                .map(digest)
                .transpose()?;
            let space = FeatureSpace {
                extractor: self.spec.name.clone(),
                weights,
                precision: self.spec.precision,
            };
            let loaded = Extractor::load(
                &self.spec,
                self.weights.as_deref(),
                self.fit.as_deref(),
                cedm_torch::device(),
            )?;
            self.loaded = Some((loaded, space));
        }
        Ok(())
    }
}
