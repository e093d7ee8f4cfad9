//! The commands for plain files: `run` (here), `neighbours`, `export` and `gallery`.

mod export;
mod gallery;
mod memory;
mod neighbours;

pub use export::ExportArgs;
pub use gallery::GalleryArgs;
pub use memory::Memory;
pub use neighbours::NeighboursArgs;

use crate::{
    FeatureFiles,
    artefact::{Artefact, Clustering, QualityInputs},
    cluster_kmeans, cluster_mini_batch, cluster_temi, neighbours as find_neighbours, read_features,
    read_ids, read_labels,
};
use anyhow::{Context, Result, bail, ensure};
use cedm_clustering::neighbours::check_lists;
use cedm_contract::{
    Digest,
    kinds::{
        cluster::{ASSIGNMENTS, HEADS, KmeansParams, TemiParams},
        neighbours::neighbour_lists::INDICES,
    },
};
use cedm_maths::Features;
use cedm_runtime::{ConsoleMonitor, InputPath, JobError};
use cedm_torch::tensor_files;
use clap::ValueEnum;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Device, Tensor};

/// Cluster a file of features. Repeat the command to resume an interrupted TEMI training.
///
/// The output folder holds assignments.safetensors (ids, counts and prior), heads.safetensors for
/// TEMI, and result.json.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Features, one row per image: .safetensors, .npy, .npz or .pt; float16, float32 or float64
    #[arg(long)]
    features: Option<InputPath>,
    /// Name of the array in that file. Default: `features`, or the only array
    #[arg(long)]
    array: Option<String>,
    /// How the clusters are found
    #[arg(long, value_enum, default_value = "temi")]
    method: Method,
    /// Number of clusters, C
    #[arg(long)]
    clusters: u32,
    /// Ids to import with `--method imported`: .npy, .npz, .safetensors, `cluster_ids.pt`, or the
    /// folder of the C-EDM authors that holds it
    #[arg(long)]
    ids: Option<InputPath>,
    /// True labels, to measure how well the clusters agree with them: the only array of the file,
    /// or `labels`; may be the file of features
    #[arg(long)]
    labels: Option<InputPath>,
    /// Neighbours from an earlier run (`neighbours.safetensors`). Default: TEMI finds them first
    #[arg(long)]
    neighbours: Option<InputPath>,
    /// Settings of the method as JSON, with the names of the sweep file: '{"heads": 16, "epochs":
    /// 100}'
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Seed of all random draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the clustering, made if it is missing
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    memory: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Heads trained to give an image and its neighbours the same cluster
    Temi,
    /// k-means as in scikit-learn
    Kmeans,
    /// Ids from a file, by --ids
    Imported,
}

impl RunArgs {
    /// Clusters, writes the results and returns a summary as JSON. An interrupted TEMI training is
    /// resumed from the checkpoint in `--out`.
    ///
    /// # Errors
    /// If files cannot be read or written, or settings do not fit the data.
    pub fn run(&self) -> Result<serde_json::Value> {
        let compute = cedm_torch::start()?;
        fs::create_dir_all(&self.out).with_context(|| format!("create {}", self.out.display()))?;
        InputPath::fetch_all(self.inputs())?;
        let labels = self.labels.as_ref();
        let labels = labels.map(|file| file.read(read_labels)).transpose()?;
        let started = Instant::now();
        let (clustering, neighbours) = self.cluster(labels.as_deref(), compute.device)?;
        let seconds = started.elapsed().as_secs_f64();
        if let Some(neighbours) = &neighbours {
            check_lists(neighbours, clustering.raw_ids.len() as i64, 1)
                .with_context(|| self.named())?;
        }
        let quality_inputs = QualityInputs {
            labels: labels.as_deref(),
            neighbours: neighbours.as_ref(),
        };
        let artefact = Artefact::new(&clustering, &quality_inputs).with_context(|| self.named())?;
        tensor_files::write(&self.out.join(ASSIGNMENTS), &artefact.tensors, &[])?;
        let heads = self.out.join(HEADS);
        match &clustering.heads {
            Some(tensors) => tensor_files::write(&heads, tensors, &[])?,
            // Heads that an earlier run left in this folder belong to another clustering.
            None if heads.exists() => {
                fs::remove_file(&heads).with_context(|| format!("remove {}", heads.display()))?
            }
            None => {}
        }
        let mut summary = serde_json::to_value(&artefact.result)?;
        let more = serde_json::json!({
            "method": format!("{:?}", self.method).to_lowercase(),
            "out": self.out,
            "device": compute.device_name(),
            "seconds": seconds,
            "first_and_last_losses": [clustering.curve.first(), clustering.curve.last()],
            "steps_per_second": clustering.statistics.steps_per_second,
            "inertia_of_each_start": clustering.statistics.inertias,
            "iterations": clustering.statistics.iterations,
            "kmeans_seconds": clustering.statistics.kmeans_seconds,
        });
        if let (Some(summary), serde_json::Value::Object(more)) = (summary.as_object_mut(), more) {
            summary.extend(more);
        }
        let result = self.out.join("result.json");
        cedm_atomic_file::write(&result, &serde_json::to_vec_pretty(&summary)?)
            .with_context(|| format!("write {}", result.display()))?;
        let checkpoints = self.checkpoints();
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints)
                .with_context(|| format!("remove {}", checkpoints.display()))?;
        }
        Ok(summary)
    }

    fn inputs(&self) -> impl Iterator<Item = &InputPath> {
        [&self.features, &self.ids, &self.labels, &self.neighbours]
            .into_iter()
            .flatten()
    }

    /// The files that were given, for errors that may be about any of them.
    fn named(&self) -> String {
        let names: Vec<String> = self.inputs().map(InputPath::to_string).collect();
        names.join(", ")
    }

    /// Folder for the checkpoints of all trainings into `--out`; removed when one is finished.
    fn checkpoints(&self) -> PathBuf {
        self.out.join("checkpoints")
    }

    /// Folder for the checkpoints of this training alone, named by a digest of its settings and of
    /// the contents of its input files.
    fn own_checkpoints(&self) -> Result<PathBuf> {
        let mut identity = format!(
            "{:?} C={} seed={} {}",
            self.array, self.clusters, self.seed, self.settings
        );
        for input in self.features.iter().chain(&self.neighbours) {
            let read = cedm_runtime::open_regular(input.path()?).and_then(Digest::of_reader);
            identity += read.with_context(|| format!("read {input}"))?.1.as_str();
        }
        Ok(self
            .checkpoints()
            .join(Digest::of(identity.as_bytes()).short()))
    }

    /// The clustering by the chosen method, and the neighbours if they are known.
    fn cluster(
        &self,
        labels: Option<&[i64]>,
        device: Device,
    ) -> Result<(Clustering, Option<Tensor>)> {
        let given = self
            .neighbours
            .as_ref()
            .map(|file| file.read(|path| tensor_files::read_one(path, INDICES.name)))
            .transpose()?;
        match self.method {
            Method::Imported => {
                let Some(ids) = &self.ids else {
                    bail!("--method imported needs --ids")
                };
                Ok((
                    Clustering::from_ids(ids.read(read_ids)?, self.clusters),
                    given,
                ))
            }
            Method::Kmeans => {
                let params: KmeansParams = settings(&self.settings)?;
                let monitor = ConsoleMonitor::default();
                let path = self.features.as_ref().map(InputPath::path).transpose()?;
                let seed = self.seed;
                // Mini-batches read a safetensors file in pieces; other formats are read whole.
                let on_disk = path.filter(|path| {
                    params.mini_batch > 0
                        && path
                            .extension()
                            .is_some_and(|extension| extension == "safetensors")
                });
                let clustering = match on_disk {
                    Some(path) => {
                        let rows =
                            FeatureFiles::open(&[path.to_owned()], self.array.as_deref(), device)?;
                        cluster_mini_batch(&rows, &params, self.clusters, seed, &monitor)
                    }
                    None => cluster_kmeans(
                        &self.read(labels, device)?,
                        &params,
                        self.clusters,
                        seed,
                        &monitor,
                    ),
                };
                let clustering = clustering
                    .map_err(JobError::into_source)
                    .with_context(|| self.named())?;
                Ok((clustering, given))
            }
            Method::Temi => {
                let (features, params) = (
                    self.read(labels, device)?,
                    settings::<TemiParams>(&self.settings)?,
                );
                let neighbours = match given {
                    Some(neighbours) => neighbours,
                    None => {
                        let found = find_neighbours(
                            &features,
                            params.neighbours,
                            self.memory.tile_bytes(),
                            &ConsoleMonitor::default(),
                        );
                        let found = found.map_err(JobError::into_source);
                        found.with_context(|| self.named())?.indices
                    }
                };
                let scratch = tempfile::tempdir().context("create a temporary folder")?;
                let monitor = ConsoleMonitor::keeping(self.own_checkpoints()?);
                let clustering = cluster_temi(
                    &features,
                    &neighbours,
                    &params,
                    self.clusters,
                    self.seed,
                    scratch.path(),
                    &monitor,
                )
                .map_err(JobError::into_source)
                .with_context(|| self.named())?;
                Ok((clustering, Some(neighbours)))
            }
        }
    }

    /// Reads the features, and compares their number with that of the labels before a training that
    /// may take hours.
    fn read(&self, labels: Option<&[i64]>, device: Device) -> Result<Features> {
        let Some(file) = &self.features else {
            bail!("--method {:?} needs --features", self.method)
        };
        let features = file.read(|path| load(path, self.array.as_deref(), device))?;
        let (rows, found) = (features.count(), labels.map(<[i64]>::len));
        ensure!(
            found.is_none_or(|found| found as i64 == rows),
            "{}: number of labels is {}, expected one for each of the {rows} rows of {file}",
            self.labels
                .as_ref()
                .map_or_else(String::new, InputPath::to_string),
            found.unwrap_or_default()
        );
        Ok(features)
    }
}

/// Features of a file, on `device`.
fn load(path: &Path, array: Option<&str>, device: Device) -> Result<Features> {
    let features = Features::new("features", &read_features(path, array)?)
        .with_context(|| path.display().to_string())?;
    Ok(features.to_device(device))
}

fn settings<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).with_context(|| format!("--settings {text}"))
}
