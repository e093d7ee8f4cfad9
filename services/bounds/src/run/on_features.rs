//! The whole search on a file of features: every probe is a run of `cedm-clusterer`, whose result
//! is kept in a folder and never computed twice.

use crate::search::{self, Observation, spread};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{
    Digest,
    kinds::bound::{BoundDecision, BoundParams},
};
use cedm_runtime::InputPath;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const CLUSTERER: &str = "cedm-clusterer";

/// Options of a search on features.
#[derive(Debug, clap::Args)]
pub struct FeatureArgs {
    /// Search on these features instead of a table: .safetensors, .npy, .npz or .pt, one row per
    /// image
    #[arg(long, requires = "out")]
    pub features: Option<InputPath>,
    /// Name of the array in that file; default: `features`, or the only one
    #[arg(long, requires = "features")]
    array: Option<String>,
    /// True labels, to report how well each probe agrees with them
    #[arg(long, requires = "features")]
    labels: Option<InputPath>,
    /// Folder for the probes; an interrupted search continues from those in it
    #[arg(long, requires = "features")]
    out: Option<PathBuf>,
    /// TEMI's settings as JSON, as in a sweep file: '{"heads": 16, "epochs": 100}'
    #[arg(long, default_value = "{}", requires = "features")]
    settings: String,
    /// Seed of the first clustering at each C; the others follow
    #[arg(long, default_value_t = 0, requires = "features")]
    seed: u64,
    /// Clusterings per C; their mean utilisation counts
    #[arg(long, default_value_t = 1, requires = "features", value_parser = clap::value_parser!(u32).range(1..=100))]
    seeds: u32,
    /// Also find the lower bound: C of the probes with beta = 1, for example 100,200,400
    #[arg(long, value_delimiter = ',', requires = "features")]
    lower_bound: Vec<u32>,
    /// Path of cedm-clusterer; default: the one beside this program, otherwise the one on the PATH
    #[arg(long, requires = "features")]
    clusterer: Option<PathBuf>,
}

/// The search from its first probe to its end; C_max with all probes, and the lower bound if asked
/// for, as JSON.
///
/// # Errors
/// When the clusterer fails, files cannot be read or written, or the folder holds another search.
pub fn search(args: &FeatureArgs, params: BoundParams) -> Result<Value> {
    let (Some(features), Some(out)) = (&args.features, &args.out) else {
        bail!("a search on features needs --features and --out");
    };
    let given = features;
    InputPath::fetch_all([given].into_iter().chain(&args.labels))?;
    let features = given.path()?;
    let settings: Map<String, Value> = serde_json::from_str(&args.settings)
        .with_context(|| format!("--settings {}", args.settings))?;
    let folder = Folder {
        args,
        features,
        out,
        program: args.clusterer.clone().unwrap_or_else(beside_this_program),
    };
    folder.claim(&settings)?;
    let images = folder.neighbours(settings.get("neighbours"))?;
    let params = BoundParams {
        seeds: args.seeds,
        ..params
    };
    if let Some(large) = args.lower_bound.iter().find(|c| u64::from(**c) > images) {
        anyhow::bail!("--lower-bound {large} is more than the {images} rows of {given}");
    }
    let mut history = Vec::new();
    let found = loop {
        let step = search::next(&history, &params, images)?;
        let BoundDecision::Probe { clusters } = &step.decision else {
            break step;
        };
        for &clusters in clusters {
            let seeds = (0..args.seeds).map(|offset| args.seed + u64::from(offset));
            let used = seeds
                .map(|seed| folder.probe(clusters, seed, &settings))
                .collect::<Result<Vec<u32>>>()?;
            history.push(Observation { clusters, used });
        }
    };
    let mut summary = serde_json::to_value(found)?;
    if !args.lower_bound.is_empty() {
        summary["lower"] = folder.lower_bound(&settings)?;
    }
    write(&out.join("bound.json"), &summary)?;
    Ok(summary)
}

fn digest(path: &Path) -> Result<Digest> {
    let read = cedm_runtime::open_regular(path).and_then(Digest::of_reader);
    Ok(read.with_context(|| format!("read {}", path.display()))?.1)
}

/// The folder of one search, and how to run the clusterer for it.
struct Folder<'a> {
    args: &'a FeatureArgs,
    features: &'a Path,
    out: &'a Path,
    program: PathBuf,
}

impl Folder<'_> {
    /// Records what this search is about.
    ///
    /// # Errors
    /// When the folder holds the probes of another search.
    fn claim(&self, settings: &Map<String, Value>) -> Result<()> {
        fs::create_dir_all(self.out).with_context(|| format!("create {}", self.out.display()))?;
        let data = fs::metadata(self.features)
            .with_context(|| format!("read {}", self.features.display()))?;
        let mut own = json!({
            "features": self.args.features,
            "array": self.args.array,
            "bytes": data.len(),
            "settings": settings,
        });
        if self
            .args
            .features
            .as_ref()
            .is_some_and(InputPath::is_remote)
        {
            // Every download has a time of its own, and reading the file again takes little of it.
            own["blake3"] = json!(digest(self.features)?);
        } else {
            // Size and time stand for the contents: hashing gigabytes at every start would cost
            // more than a probe.
            let changed = data
                .modified()
                .ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            own["changed_ms"] = json!(changed.map(|time| time.as_millis() as u64));
        }
        let path = self.out.join("search.json");
        if path.exists() {
            let found = read(&path)?;
            ensure!(
                found == own,
                "{} holds the probes of another search: {found}, expected {own}; choose another --out",
                self.out.display()
            );
            return Ok(());
        }
        write(&path, &own)
    }

    /// Computes neighbours once for all probes; returns the number of images.
    fn neighbours(&self, k: Option<&Value>) -> Result<u64> {
        let (file, summary) = (
            self.out.join("neighbours.safetensors"),
            self.out.join("neighbours.json"),
        );
        if !summary.exists() {
            let mut command = self.command("neighbours");
            command.arg("--out").arg(&file);
            if let Some(k) = k.and_then(Value::as_u64) {
                command.arg("-k").arg(k.to_string());
            }
            write(&summary, &self.run(command, "neighbours")?)?;
        }
        let found = read(&summary)?;
        found["count"]
            .as_u64()
            .with_context(|| format!("{}: `count` is missing", summary.display()))
    }

    /// The number of used clusters of one clustering, computed unless it is there.
    fn probe(&self, clusters: u32, seed: u64, settings: &Map<String, Value>) -> Result<u32> {
        // Probes of the lower bound have another beta and must not be taken for those of the upper.
        let beta = settings
            .get("beta")
            .map_or_else(String::new, |beta| format!("-beta{beta}"));
        let folder = self.out.join(format!("C{clusters}-seed{seed}{beta}"));
        let done = folder.join("probe.json");
        if !done.exists() {
            let mut command = self.command("run");
            command.args([
                "--method",
                "temi",
                "--clusters",
                &clusters.to_string(),
                "--seed",
                &seed.to_string(),
            ]);
            command
                .arg("--settings")
                .arg(Value::Object(settings.clone()).to_string());
            command
                .arg("--neighbours")
                .arg(self.out.join("neighbours.safetensors"))
                .arg("--out")
                .arg(&folder);
            if let Some(labels) = &self.args.labels {
                command.arg("--labels").arg(labels.path()?);
            }
            write(
                &done,
                &self.run(command, &format!("C = {clusters}, seed {seed}"))?,
            )?;
        }
        let used = read(&done)?["used"]
            .as_u64()
            .and_then(|used| u32::try_from(used).ok());
        used.with_context(|| format!("{}: `used` is missing", done.display()))
    }

    /// The lower bound: used clusters of TEMI with beta = 1 at C far above what is needed (spec
    /// §6.2), with mean and standard deviation.
    fn lower_bound(&self, settings: &Map<String, Value>) -> Result<Value> {
        let mut settings = settings.clone();
        settings.insert("beta".to_owned(), json!(1.0));
        let mut probes = Vec::new();
        for clusters in &self.args.lower_bound {
            probes.push((*clusters, self.probe(*clusters, self.args.seed, &settings)?));
        }
        let used: Vec<u32> = probes.iter().map(|(_, used)| *used).collect();
        let mean = used.iter().map(|used| f64::from(*used)).sum::<f64>() / used.len() as f64;
        // Utilisation at C = 1 is the number of used clusters itself.
        let std = spread(&Observation { clusters: 1, used });
        Ok(json!({ "probes": probes, "mean": mean, "std": std }))
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).arg("--features").arg(self.features);
        if let Some(array) = &self.args.array {
            command.arg("--array").arg(array);
        }
        command
    }

    /// Runs the clusterer; its progress and errors go to stderr, its JSON is returned.
    fn run(&self, mut command: Command, what: &str) -> Result<Value> {
        let program = self.program.display();
        let done = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let done =
            done.with_context(|| format!("start {program}: give its path with --clusterer"))?;
        ensure!(
            done.status.success(),
            "{program} failed at {what}: {}",
            done.status
        );
        serde_json::from_slice(&done.stdout)
            .with_context(|| format!("{program} at {what}: its output is not JSON"))
    }
}

fn beside_this_program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name(CLUSTERER));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| CLUSTERER.into())
}

/// Longest record of a search or a probe in bytes; one of thousands of probes takes a tenth.
const RECORD_LIMIT: u64 = 64 << 20;

fn read(path: &Path) -> Result<Value> {
    let bytes = cedm_runtime::read_regular(path, RECORD_LIMIT)
        .with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display()))
}

fn write(path: &Path, value: &Value) -> Result<()> {
    cedm_atomic_file::write(path, &serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("write {}", path.display()))
}
