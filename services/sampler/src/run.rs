//! `sampler run`: any upstream-named weight file to images on disk.

use crate::{
    export,
    labels::{Prior, supply},
    source::{condition_beside, read_network},
};
use anyhow::{Context, bail, ensure};
use cedm_contract::{
    Precision,
    kinds::sample::{Guidance, LabelSource, SamplerParams, Solver},
};
use cedm_diffusion::sampler::{Sampler, Samples};
use cedm_runtime::{ConsoleMonitor, Monitor};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Device;

/// Order of the solver.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SolverName {
    Heun,
    Euler,
}

/// Arithmetic of the network.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PrecisionName {
    Fp32,
    Tf32,
    Bf16,
    Fp16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Fp32 => Precision::Fp32,
            PrecisionName::Tf32 => Precision::Tf32,
            PrecisionName::Bf16 => Precision::Bf16,
            PrecisionName::Fp16 => Precision::Fp16,
        }
    }
}

/// Samples from a weight file. The network is recognised from the names and shapes of its tensors.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Weights with upstream names: safetensors, or a PyTorch state dict (nested and prefixed ones
    /// too)
    #[arg(long)]
    weights: PathBuf,
    /// Seed of the first image
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Images
    #[arg(long, default_value_t = 64)]
    count: u64,
    /// Labels: `prior`, `uniform`, or one label; `prior` when absent and a condition is known, else
    /// `uniform`. The paper samples networks of ground-truth labels with `uniform`
    #[arg(long)]
    labels: Option<String>,
    /// The condition, for its prior: `assignments.safetensors` of a clustering;
    /// `condition.safetensors` beside the weights when absent
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
    /// Further weights to sample from the same seeds: every file is written once for each network
    /// (`a.png`, `a.2.png`, …), the grid shows them in rows one below the other
    #[arg(long, value_name = "FILE")]
    beside: Vec<PathBuf>,
    /// Expected standard deviation of the data; what the weight file says when absent, else 0.5
    #[arg(long)]
    sigma_data: Option<f64>,
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
    /// Stochasticity (S_churn)
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Lowest and highest noise level at which churn acts (S_min, S_max)
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    churn_interval: Option<Vec<f64>>,
    /// Inflation of churn noise (S_noise)
    #[arg(long, default_value_t = 1.0)]
    s_noise: f64,
    /// Images computed together, where memory is short; they change by rounding with it
    #[arg(long)]
    block: Option<u64>,
    /// Arithmetic of the network; the state is float64 always
    #[arg(long, value_enum, default_value_t = PrecisionName::Fp32)]
    precision: PrecisionName,
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
    /// Columns of the grid; as many rows for one network, one row for each of several
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
        ensure!(
            self.guide.is_none() || self.guidance != 0.0,
            "--guide without --guidance: its weight is 0, so the guide would have no effect"
        );
        let device = cedm_torch::start().device;
        cedm_torch::allow_tf32(matches!(self.precision, PrecisionName::Tf32));
        let monitor = ConsoleMonitor::default();
        let (mut sets, mut described) = (Vec::new(), Vec::new());
        for weights in std::iter::once(&self.weights).chain(&self.beside) {
            let (sampler, parameters) = self.sampler(weights, device)?;
            let begun = Instant::now();
            let mut progress = |done| {
                monitor.progress(done, self.count, "images");
                true
            };
            let samples = sampler
                .images(self.first_seed, self.count, &mut progress)?
                .context("stopped")?;
            let seconds = begun.elapsed().as_secs_f64();
            described.push(json!({
                "weights": weights,
                "shape": samples.images.size(),
                "parameters": parameters,
                "block": sampler.block(),
                "seconds": seconds,
                "images_per_second": self.count as f64 / seconds.max(1e-9),
            }));
            sets.push(samples);
        }
        self.write(&sets)?;
        Ok(json!({
            "images": self.count,
            "first_seed": self.first_seed,
            "networks": described,
            "device": cedm_torch::device_name(),
            "peak_resident_bytes": cedm_torch::peak_resident_bytes(),
            "device_bytes": cedm_torch::device_bytes(),
        }))
    }

    /// A network ready to sample, and the number of its parameters.
    fn sampler(&self, weights: &Path, device: Device) -> anyhow::Result<(Sampler, u64)> {
        let (network, parameters) = read_network(weights, self.sigma_data)?;
        let condition = match &self.assignments {
            Some(path) if *weights == self.weights => Some(path.clone()),
            _ => condition_beside(weights),
        };
        let prior = condition.as_deref().map(Prior::read).transpose()?;
        let source = self.label_source(prior.is_some())?;
        if network.architecture.label_dim == 0 && *weights == self.weights {
            let file = weights.display();
            ensure!(
                self.labels.is_none(),
                "--labels, but the network of {file} takes none"
            );
            ensure!(
                self.guidance == 0.0 || self.guide.is_some(),
                "--guidance, but the network of {file} takes no labels: guidance needs them, or a \
                 weaker network by --guide"
            );
        }
        let labels = supply(source, network.architecture.label_dim, prior)?;
        let count = network.layout.parameter_count();
        let mut sampler = Sampler::new(network, &parameters, self.params(source), labels, device)
            .with_context(|| format!("sample from {}", weights.display()))?;
        if let Some(block) = self.block {
            sampler = sampler.in_blocks_of(block)?;
        }
        if let Some(guide) = &self.guide {
            let (network, parameters) = read_network(guide, self.sigma_data)?;
            sampler = sampler.guided_by(network, &parameters)?;
        }
        Ok((sampler, count))
    }

    fn params(&self, labels: LabelSource) -> SamplerParams {
        let defaults = SamplerParams::default();
        let interval = self.guidance_interval.as_deref().unwrap_or(&[0.0, 1e9]);
        let churn = self
            .churn_interval
            .clone()
            .unwrap_or_else(|| vec![defaults.s_min, defaults.s_max]);
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
            s_min: churn[0],
            s_max: churn[1],
            s_noise: self.s_noise,
            guidance: Guidance {
                weight: self.guidance,
                sigma_lo: interval[0],
                sigma_hi: interval[1],
            },
            labels,
            precision: self.precision.into(),
        }
    }

    fn label_source(&self, has_prior: bool) -> anyhow::Result<LabelSource> {
        Ok(match self.labels.as_deref() {
            None if has_prior => LabelSource::Prior,
            None => LabelSource::Uniform,
            Some("prior") => LabelSource::Prior,
            Some("uniform") => LabelSource::Uniform,
            Some(text) => match text.parse() {
                Ok(label) => LabelSource::Fixed { label },
                Err(_) => bail!("--labels is `{text}`: expected prior, uniform or a label"),
            },
        })
    }

    fn write(&self, sets: &[Samples]) -> anyhow::Result<()> {
        type Writer = fn(&Samples, &Path) -> anyhow::Result<()>;
        let targets: [(&Option<PathBuf>, Writer); 4] = [
            (&self.npz, export::write_npz),
            (&self.zip, export::write_archive),
            (&self.folder, export::write_folder),
            (&self.shard, export::write_shard),
        ];
        for (target, write) in targets {
            let Some(path) = target else { continue };
            for (index, samples) in sets.iter().enumerate() {
                let path = numbered(path, index);
                write(samples, &path).with_context(|| format!("write {}", path.display()))?;
            }
        }
        if let Some(path) = &self.grid {
            export::write_grid(sets, self.grid_columns.max(1), path)
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

/// `a.png` for the first network, `a.2.png` for the second.
fn numbered(path: &Path, index: usize) -> PathBuf {
    match (index, path.extension()) {
        (0, _) => path.to_owned(),
        (_, None) => path.with_extension((index + 1).to_string()),
        (_, Some(extension)) => {
            path.with_extension(format!("{}.{}", index + 1, extension.to_string_lossy()))
        }
    }
}
