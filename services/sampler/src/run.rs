//! `cedm-sampler run`: images on disk from a weight file with upstream names.

use crate::{
    export,
    labels::{Prior, label_distribution},
    source::{condition_beside, read_network},
};
use anyhow::{Context, bail, ensure};
use cedm_contract::{
    Precision,
    kinds::sample::{Guidance, LabelSource, SamplerParams, Solver},
};
use cedm_diffusion::{
    sampler::{Sampler, Samples},
    weights::CONDITION_FILE,
};
use cedm_runtime::{ConsoleMonitor, InputPath, Monitor};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::Device;

/// The solver: Heun of second order, or Euler of first.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SolverName {
    Heun,
    Euler,
}

/// Type of the network's activations.
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

/// Sample from a weight file; at least one output (--npz, --zip, --folder, --shard or --grid) is
/// required. The network is recognised from the names and shapes of its tensors.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Weights with upstream names: a safetensors file, or a PyTorch state dict, which may be
    /// nested or prefixed
    #[arg(long)]
    weights: InputPath,
    /// Seed of the first image
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Number of images; their seeds follow the first
    #[arg(long, default_value_t = 64)]
    count: u64,
    /// Labels: `prior`, `uniform`, or one label. Default: `prior` if it is known (`--assignments`,
    /// the condition beside the weights, or the weight file itself), else `uniform`, which is
    /// said. The paper uses `uniform` for networks trained on ground-truth labels
    #[arg(long)]
    labels: Option<String>,
    /// The condition whose prior is used: `assignments.safetensors` of a clustering. Default:
    /// `condition.safetensors` beside the weights
    #[arg(long, value_name = "FILE")]
    assignments: Option<InputPath>,
    /// Further weights to sample from the same seeds; may be repeated. Every output is written once
    /// for each network (`a.npz`, `a.2.npz`, …); the grid shows one network per row
    #[arg(long, value_name = "FILE")]
    beside: Vec<InputPath>,
    /// Standard deviation of the training data, for the preconditioning. Default: the value noted
    /// in the weight file, else 0.5
    #[arg(long)]
    sigma_data: Option<f64>,
    /// Number of solver steps: 18 for CIFAR, 40 for FFHQ
    #[arg(long, default_value_t = 18)]
    steps: u32,
    /// Solver: `heun` evaluates the network 2·steps − 1 times, `euler` steps times
    #[arg(long, value_enum, default_value_t = SolverName::Heun)]
    solver: SolverName,
    /// Lowest noise level before 0
    #[arg(long, default_value_t = 0.002)]
    sigma_min: f64,
    /// Highest noise level, at which sampling starts
    #[arg(long, default_value_t = 80.0)]
    sigma_max: f64,
    /// Exponent of the spacing of noise levels: larger values take shorter steps at low noise
    #[arg(long, default_value_t = 7.0)]
    rho: f64,
    /// Amount of noise added in every step (S_churn); 0 is deterministic
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Lowest and highest noise level at which noise is added (S_min, S_max)
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    churn_interval: Option<Vec<f64>>,
    /// Factor on the standard deviation of the added noise (S_noise)
    #[arg(long, default_value_t = 1.0)]
    s_noise: f64,
    /// Number of images computed together; smaller values need less memory and change images by
    /// rounding
    #[arg(long)]
    block: Option<u64>,
    /// Type of the network's activations; the solver's state is always float64
    #[arg(long, value_enum, default_value_t = PrecisionName::Fp32)]
    precision: PrecisionName,
    /// Guidance weight w of (1 + w) D(x|y) − w D'(x); D' is the unlabelled network, or --guide
    #[arg(long, default_value_t = 0.0)]
    guidance: f64,
    /// Lowest and highest noise level at which guidance is applied
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"])]
    guidance_interval: Option<Vec<f64>>,
    /// Weights of a weaker network to use as D' (autoguidance); needs --guidance
    #[arg(long, value_name = "FILE")]
    guide: Option<InputPath>,
    /// Write an npz file with the array `arr_0`, uint8 [n, h, w, c]
    #[arg(long, value_name = "FILE")]
    npz: Option<PathBuf>,
    /// Write a zip archive of PNGs in the layout of EDM's data sets
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
    /// Write a folder of PNGs named by seed
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Write a shard as in the object store (safetensors: images, labels, seeds)
    #[arg(long, value_name = "FILE")]
    shard: Option<PathBuf>,
    /// Write one PNG with the first images in a grid
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,
    /// Columns of the grid; it has as many rows for one network, one row for each of several
    #[arg(long, default_value_t = 10)]
    grid_columns: i64,
}

impl RunArgs {
    /// Samples, writes the outputs and returns a summary as JSON.
    ///
    /// # Errors
    /// If the weights are not those of a SongUNet, a setting is out of range, or a file cannot be
    /// read or written.
    pub fn run(&self) -> anyhow::Result<Value> {
        ensure!(self.count > 0, "--count is 0: expected at least 1");
        let targets = [&self.npz, &self.zip, &self.folder, &self.shard, &self.grid];
        ensure!(
            targets.iter().any(|target| target.is_some()),
            "no output: give --npz, --zip, --folder, --shard or --grid"
        );
        ensure!(
            self.guide.is_none() || self.guidance != 0.0,
            "--guide without --guidance: its weight is 0, so the guide would have no effect"
        );
        let inputs = [&self.weights].into_iter().chain(&self.beside);
        InputPath::fetch_all(inputs.chain(&self.assignments).chain(&self.guide))?;
        let compute = cedm_torch::start()?;
        cedm_torch::allow_tf32(matches!(self.precision, PrecisionName::Tf32));
        let monitor = ConsoleMonitor::default();
        let (mut sets, mut summaries) = (Vec::new(), Vec::new());
        for weights in std::iter::once(&self.weights).chain(&self.beside) {
            let (sampler, parameters, labels) = self.sampler(weights, compute.device)?;
            let begun = Instant::now();
            let mut progress = |done| {
                monitor.progress(done, self.count, "images");
                true
            };
            let samples = sampler
                .images(self.first_seed, self.count, &mut progress)?
                .context("sampling was stopped")?;
            let seconds = begun.elapsed().as_secs_f64();
            summaries.push(json!({
                "weights": weights,
                "shape": samples.images.size(),
                "parameters": parameters,
                "labels": labels,
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
            "networks": summaries,
            "device": compute.device_name(),
            "peak_resident_bytes": cedm_torch::peak_resident_bytes(),
            "device_bytes": cedm_torch::device_bytes(compute.device),
        }))
    }

    /// A sampler for a weight file, the number of the network's parameters, and where its labels
    /// come from.
    fn sampler(
        &self,
        weights: &InputPath,
        device: Device,
    ) -> anyhow::Result<(Sampler, u64, String)> {
        let (network, parameters) = weights.read(|path| read_network(path, self.sigma_data))?;
        let condition = match &self.assignments {
            Some(file) if *weights == self.weights => Some(file.path()?.to_owned()),
            _ => condition_beside(weights.path()?),
        };
        let prior = match &condition {
            Some(file) => Some(Prior::read(file)?),
            None => weights.read(|path| Prior::inside(path).map_err(anyhow::Error::from))?,
        };
        let source = self.label_source(prior.is_some())?;
        if network.architecture.label_dim == 0 && *weights == self.weights {
            ensure!(
                self.labels.is_none(),
                "--labels: the network of {weights} has no labels"
            );
            ensure!(
                self.guidance == 0.0 || self.guide.is_some(),
                "--guidance: the network of {weights} has no labels; guidance needs labels, or a \
                 weaker network by --guide"
            );
        }
        let of_labels = || match &condition {
            Some(file) => format!(
                "sample from {weights} with the labels of {}",
                file.display()
            ),
            None => format!("sample from {weights}"),
        };
        let labels = label_distribution(source, network.architecture.label_dim, prior)
            .with_context(of_labels)?;
        let label_dim = network.architecture.label_dim;
        let drawn = self.drawn(weights, source, label_dim, condition.as_deref());
        let count = network.layout.parameter_count();
        let mut sampler = Sampler::new(network, &parameters, self.params(source), labels, device)
            .with_context(of_labels)?;
        if let Some(block) = self.block {
            sampler = sampler.with_block_size(block)?;
        }
        if let Some(guide) = &self.guide {
            let (network, parameters) = guide.read(|path| read_network(path, self.sigma_data))?;
            sampler = sampler.guided_by(network, &parameters)?;
        }
        Ok((sampler, count, drawn))
    }

    /// Where the labels of a network come from, in words; nobody has to guess it, and a prior that
    /// is missing is said on stderr too.
    fn drawn(
        &self,
        weights: &InputPath,
        source: LabelSource,
        label_dim: i64,
        condition: Option<&Path>,
    ) -> String {
        match (source, condition) {
            _ if label_dim == 0 => "none: the network is unconditional".to_owned(),
            (LabelSource::Prior, Some(file)) => format!("the prior of {}", file.display()),
            (LabelSource::Prior, None) => "the prior inside the weight file".to_owned(),
            (LabelSource::Fixed { label }, _) => format!("label {label} for every image"),
            (LabelSource::Uniform, _) if self.labels.is_some() => "uniform".to_owned(),
            (LabelSource::Uniform, _) => {
                let missing = "uniform: the prior is not known";
                cedm_terminal::errln!(
                    "labels of {weights} are {missing} (neither the weight file, nor \
                     {CONDITION_FILE} beside it, nor --assignments gives it)"
                );
                missing.to_owned()
            }
        }
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
