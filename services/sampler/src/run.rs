//! `sampler run`: any upstream-named weight file to images on disk.

use crate::{export, labels::supply};
use anyhow::{Context, bail, ensure};
use cedm_contract::params::{Guidance, LabelSource, SamplerParams, Solver};
use cedm_diffusion::{
    Network, Parameters,
    sampler::{Sampler, Samples, block_size},
    weights,
};
use cedm_runtime::{ConsoleMonitor, Monitor};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Kind, Tensor};

/// Order of the solver.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SolverName {
    Heun,
    Euler,
}

/// Samples from a weight file. The network is recognised from the names and shapes of its tensors.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Weights with upstream names: safetensors, or a PyTorch state dict (nested and prefixed ones too)
    #[arg(long)]
    weights: PathBuf,
    /// Seed of the first image
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Images
    #[arg(long, default_value_t = 64)]
    count: u64,
    /// Labels: `prior` (needs --assignments), `uniform`, or one label
    #[arg(long, default_value = "uniform")]
    labels: String,
    /// `assignments.safetensors` of the condition, for its prior
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
    /// Steps: 18 for CIFAR, 40 for FFHQ
    #[arg(long, default_value_t = 18)]
    steps: u32,
    /// Order of the solver
    #[arg(long, value_enum, default_value_t = SolverName::Heun)]
    solver: SolverName,
    /// Lowest noise level
    #[arg(long, default_value_t = 0.002)]
    sigma_min: f64,
    /// Highest noise level
    #[arg(long, default_value_t = 80.0)]
    sigma_max: f64,
    /// Exponent of the time grid
    #[arg(long, default_value_t = 7.0)]
    rho: f64,
    /// Stochasticity
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Guidance weight w of (1 + w) D(x|y) − w D'(x); D' is the unlabelled network, or --guide
    #[arg(long, default_value_t = 0.0)]
    guidance: f64,
    /// Lowest and highest sigma at which guidance acts
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    guidance_interval: Option<Vec<f64>>,
    /// A weaker network to guide by (autoguidance)
    #[arg(long, value_name = "FILE")]
    guide: Option<PathBuf>,
    /// Write npz with `arr_0`, uint8 [n, h, w, c]
    #[arg(long, value_name = "FILE")]
    npz: Option<PathBuf>,
    /// Write a PNG archive in the EDM layout
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
    /// Write a folder of PNGs by seed
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Write a shard as the store holds it (safetensors: images, labels, seeds)
    #[arg(long, value_name = "FILE")]
    shard: Option<PathBuf>,
    /// Write one PNG with the first images side by side
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,
    /// Columns and rows of the grid
    #[arg(long, default_value_t = 10)]
    grid_columns: i64,
}

impl RunArgs {
    /// Samples and writes.
    ///
    /// # Errors
    /// When the weights are none of a SongUNet, or a setting is out of range.
    pub fn run(&self) -> anyhow::Result<Value> {
        ensure!(self.count > 0, "--count is 0: expected at least 1");
        let targets = [&self.npz, &self.zip, &self.folder, &self.shard, &self.grid];
        ensure!(
            targets.iter().any(|target| target.is_some()),
            "nowhere to write: give --npz, --zip, --folder, --shard or --grid"
        );
        let device = cedm_torch::start().device;
        let (network, parameters) = read_network(&self.weights)?;
        let source = self.label_source()?;
        let counts = self.assignments.as_deref().map(read_counts).transpose()?;
        let labels = supply(source, network.architecture.label_dim, counts)?;
        let parameter_count = network.layout.parameter_count();
        let side = network.architecture.resolution;
        let mut sampler = Sampler::new(network, &parameters, self.params(source), labels, device)?;
        if let Some(guide) = &self.guide {
            let (network, parameters) = read_network(guide)?;
            sampler = sampler.guided_by(network, &parameters)?;
        }
        let monitor = ConsoleMonitor::default();
        let begun = Instant::now();
        let mut progress = |done| {
            monitor.progress(done, self.count, "images");
            true
        };
        let samples = sampler.images(self.first_seed, self.count, &mut progress)?.context("stopped")?;
        let seconds = begun.elapsed().as_secs_f64();
        self.write(&samples)?;
        Ok(json!({
            "images": self.count,
            "shape": samples.images.size(),
            "first_seed": self.first_seed,
            "parameters": parameter_count,
            "device": cedm_torch::device_name(),
            "block": block_size(side, device),
            "seconds": seconds,
            "images_per_second": self.count as f64 / seconds.max(1e-9),
            "resident_bytes": cedm_torch::resident_bytes(),
        }))
    }

    fn params(&self, labels: LabelSource) -> SamplerParams {
        let interval = self.guidance_interval.as_deref().unwrap_or(&[0.0, 1e9]);
        SamplerParams {
            steps: self.steps,
            solver: match self.solver {
                SolverName::Heun => Solver::Heun,
                SolverName::Euler => Solver::Euler,
            },
            sigma_min: self.sigma_min,
            sigma_max: self.sigma_max,
            rho: self.rho,
            s_churn: self.churn,
            guidance: Guidance {
                weight: self.guidance,
                sigma_lo: interval[0],
                sigma_hi: interval[1],
            },
            labels,
            ..SamplerParams::default()
        }
    }

    fn label_source(&self) -> anyhow::Result<LabelSource> {
        Ok(match self.labels.as_str() {
            "prior" => LabelSource::Prior,
            "uniform" => LabelSource::Uniform,
            text => match text.parse() {
                Ok(label) => LabelSource::Fixed { label },
                Err(_) => bail!("--labels is `{text}`: expected prior, uniform or a label"),
            },
        })
    }

    fn write(&self, samples: &Samples) -> anyhow::Result<()> {
        if let Some(path) = &self.npz {
            export::write_npz(samples, path)?;
        }
        if let Some(path) = &self.zip {
            export::write_archive(samples, path)?;
        }
        if let Some(path) = &self.folder {
            export::write_folder(samples, path)?;
        }
        if let Some(path) = &self.shard {
            export::write_shard(samples, path)?;
        }
        if let Some(path) = &self.grid {
            let zoom = (32 / samples.images.size()[2]).max(1);
            export::write_grid(samples, self.grid_columns.max(1), zoom, path)?;
        }
        Ok(())
    }
}

/// A network and its weights, whatever container they come in.
fn read_network(path: &Path) -> anyhow::Result<(Network, Parameters)> {
    let file = cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensors: HashMap<String, Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let origin = path.display().to_string();
    let network = Network::new(weights::recognise(&tensors, &origin)?)?;
    let parameters = Parameters::from_tensors(&network.layout, &tensors, &origin, Kind::Float, tch::Device::Cpu)?;
    Ok((network, parameters))
}

fn read_counts(path: &Path) -> anyhow::Result<Vec<i64>> {
    let tensors = weights::read(path)?;
    let counts = tensors
        .get("counts")
        .with_context(|| format!("{} has no tensor `counts`", path.display()))?;
    Vec::<i64>::try_from(counts).with_context(|| format!("`counts` of {} is no list of integers", path.display()))
}
