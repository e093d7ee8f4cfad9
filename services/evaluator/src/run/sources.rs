//! The sets given to `run`: what a path holds, and how it becomes a measured set.

use super::SetReport;
use crate::{
    EvaluatorError, FeatureSpace, MeasuredSet,
    measure::{measure, read_moments},
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
use cedm_nets::{Extractor, PcaFit, images_of, weights::size_and_digest};
use cedm_runtime::{InputPath, QuietMonitor};
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Device;

/// One set as it was given on the command line.
pub(super) struct InputSet {
    role: &'static str,
    given: InputPath,
    path: PathBuf,
    contents: Contents,
}

/// What a path holds.
enum Contents {
    /// Image shards in order, with channels and side of the images, and the images that could not
    /// be imported.
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

impl InputSet {
    /// Finds out what was given; images in other formats than shards are imported into `scratch`.
    ///
    /// # Errors
    /// If the path does not exist or holds none of the known contents.
    pub(super) fn open(
        role: &'static str,
        given: &InputPath,
        scratch: &Path,
    ) -> Result<Self, EvaluatorError> {
        let path = given.path()?;
        if !path.exists() {
            return Err(EvaluatorError::file(path, "does not exist"));
        }
        let contents = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => tensors_of(path)?,
            Some("npz") if holds_statistics(path)? => Contents::Statistics,
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
                let mut skipped: Vec<String> = imported
                    .first_skipped()
                    .into_iter()
                    .map(|skipped| format!("{}: {}", skipped.name, skipped.reason))
                    .collect();
                let more = imported.skipped.len() - skipped.len();
                if more > 0 {
                    skipped.push(format!("and {more} more"));
                }
                images(shards, skipped)?
            }
        };
        Ok(Self {
            role,
            given: given.clone(),
            path: path.to_owned(),
            contents,
        })
    }

    /// Channels and side of its images in words; `None` if it does not hold images.
    pub(super) fn shape(&self) -> Option<String> {
        match &self.contents {
            Contents::Images {
                shape: (channels, side),
                ..
            } => Some(format!("{side}x{side} pixels, {channels} channels")),
            _ => None,
        }
    }

    /// Whether it has features of every single image, which moments and statistics do not have.
    pub(super) fn has_single_features(&self) -> bool {
        matches!(self.contents, Contents::Images { .. } | Contents::Features)
    }

    /// The set as it is described in the output.
    pub(super) fn report(&self, images: Option<i64>, seconds: Option<f64>) -> SetReport {
        let (kind, skipped) = match &self.contents {
            Contents::Images { skipped, .. } => ("images", skipped.clone()),
            Contents::Features => ("features", Vec::new()),
            Contents::Moments => ("moments", Vec::new()),
            Contents::Statistics => ("statistics", Vec::new()),
        };
        SetReport {
            path: self.given.clone(),
            kind,
            images,
            shape: self.shape(),
            seconds,
            skipped,
        }
    }

    fn shards(&self) -> &[PathBuf] {
        match &self.contents {
            Contents::Images { shards, .. } => shards,
            _ => &[],
        }
    }
}

fn tensors_of(path: &Path) -> Result<Contents, EvaluatorError> {
    let file = TensorFile::open(path)?;
    if file.has(IMAGES.name) {
        images(vec![path.to_owned()], Vec::new())
    } else if file.has(FEATURES.name) {
        Ok(Contents::Features)
    } else if file.has(SUM.name) && file.has(OUTER.name) {
        Ok(Contents::Moments)
    } else {
        Err(EvaluatorError::file(
            path,
            format!(
                "holds {:?}, expected `images`, `features`, or `count`, `sum` and `outer`",
                file.names()
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

/// Safetensors files directly in a folder, ordered by name: the shards of a sample set or of an
/// import.
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

/// The contents of image shards, whose images must all have one shape.
fn images(shards: Vec<PathBuf>, skipped: Vec<String>) -> Result<Contents, EvaluatorError> {
    let mut shape = None;
    for path in &shards {
        let Shard {
            count,
            channels,
            resolution,
            ..
        } = read_shard(path)?;
        if count == 0 || resolution == 0 {
            return Err(EvaluatorError::file(
                path,
                format!(
                    "{count} images of {resolution}x{resolution} pixels, expected at least one of each"
                ),
            ));
        }
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
    Ok(Contents::Images {
        shards,
        shape,
        skipped,
    })
}

/// Measures sets with one extractor, which is loaded when the first images are measured.
pub(super) struct SetMeasurer {
    spec: ExtractorSpec,
    weights: Option<PathBuf>,
    fit: Option<PathBuf>,
    scratch: PathBuf,
    device: Device,
    loaded: Option<(Extractor, FeatureSpace)>,
    /// Duration of measuring the images of each role in seconds, without loading the extractor.
    seconds: BTreeMap<&'static str, f64>,
}

impl SetMeasurer {
    pub(super) fn new(
        spec: ExtractorSpec,
        weights: Option<PathBuf>,
        fit: Option<PathBuf>,
        scratch: PathBuf,
        device: Device,
    ) -> Self {
        Self {
            spec,
            weights,
            fit,
            scratch,
            device,
            loaded: None,
            seconds: BTreeMap::new(),
        }
    }

    /// Fits an extractor that needs it (pca) to the images of `source`, unless a fit was given or
    /// there are no images.
    pub(super) fn fit_to(&mut self, source: Option<&InputSet>) -> Result<(), EvaluatorError> {
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

    /// Features and moments of a set, as far as its contents give them.
    pub(super) fn measure(&mut self, source: &InputSet) -> Result<MeasuredSet, EvaluatorError> {
        let (role, path) = (source.role, &source.path);
        match &source.contents {
            Contents::Images { shards, .. } => self.measure_images(source.role, shards),
            Contents::Features => {
                let rows = tensor_files::read_one(path, FEATURES.name)?;
                MeasuredSet::merge(
                    role,
                    [Ok(Moments::of(&Features::new(role, &rows)?))],
                    vec![path.clone()],
                )
            }
            Contents::Moments => MeasuredSet::merge(role, [read_moments(role, path)], Vec::new()),
            Contents::Statistics => {
                let found = read_statistics(path)?;
                let broken = |_| {
                    EvaluatorError::file(
                        path,
                        "array `weights` is not a digest of 64 hexadecimal digits",
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

    /// Duration of measuring the images of `role` in seconds; `None` if it had no images.
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
                &QuietMonitor,
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

    /// Loads the extractor and records the feature space, with the digest of its weights or fit.
    fn load(&mut self) -> Result<(), EvaluatorError> {
        if self.loaded.is_none() {
            let file = self.fit.as_ref().or(self.weights.as_ref());
            let weights = file.map(|file| size_and_digest(file)).transpose()?;
            let space = FeatureSpace {
                extractor: self.spec.name.clone(),
                weights: weights.map(|(_, digest)| digest),
                precision: self.spec.precision,
            };
            let loaded = Extractor::load(
                &self.spec,
                self.weights.as_deref(),
                self.fit.as_deref(),
                self.device,
            )?;
            self.loaded = Some((loaded, space));
        }
        Ok(())
    }
}
