//! The `label` command: pseudo-labels from text. Each class name becomes five prompts, the prompts
//! a classifier, and each image gets the class that fits its CLIP embedding best (spec §8).

use crate::{
    extract::extract_shard,
    import::ShapeArgs,
    inputs::{Images, weights_of},
    output::{ARRAYS, require_ending},
};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{ExtractorSpec, Precision};
use cedm_images::read_shard;
use cedm_nets::{
    Extractor, Weights, arrays,
    clip::{ClipText, TEMPLATES, Tokenizer, ZeroShot, classifier, classifier_from, zero_shot},
    images_of, text_tower,
    weights::Encoder,
};
use cedm_runtime::{ConsoleMonitor, InputPath};
use cedm_tensor_files::write_npy;
use cedm_torch::tensor_files;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Labels images by comparing their CLIP embeddings with those of class names.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// Images: any source that `import` accepts (path or s3:// URI), or a folder that it made
    images: InputPath,
    /// A CLIP of the list `cedm extractors`
    #[arg(long, default_value = "openclip_vit_bigg14")]
    extractor: String,
    /// Its weight file: path or s3:// URI
    #[arg(long)]
    weights: InputPath,
    /// File of class names, one per line; default: those of the image set
    #[arg(long)]
    classes: Option<InputPath>,
    /// The published vocabulary of the tokenizer: bpe_simple_vocab_16e6.txt.gz
    #[arg(long, required_unless_present = "text_embeddings")]
    vocabulary: Option<InputPath>,
    /// Precomputed text embeddings instead of the text tower: a file with one tensor [classes x
    /// prompts, width], class by class
    #[arg(long, conflicts_with = "vocabulary")]
    text_embeddings: Option<InputPath>,
    /// The file to write: .safetensors (`labels`, and `scores`: the softmax over the classes) or
    /// .npy (labels alone, as a sweep's `imported` clustering reads them)
    #[arg(long)]
    out: PathBuf,
    /// Images in one pass through the network
    #[arg(long)]
    batch: Option<i64>,
    #[command(flatten)]
    shape: ShapeArgs,
}

/// Longest list of class names in bytes; WordNet's takes three million.
const CLASSES_LIMIT: u64 = 16 << 20;

impl LabelArgs {
    /// Labels; returns a summary as JSON.
    ///
    /// # Errors
    /// When images, weights, vocabulary or embeddings cannot be read or do not fit each other.
    pub fn run(&self) -> Result<serde_json::Value> {
        require_ending(&self.out, ARRAYS)?;
        let Some(tower) = text_tower(&self.extractor) else {
            bail!(
                "--extractor {}: it has no text tower; expected a CLIP of the list `cedm extractors`",
                self.extractor
            );
        };
        let compute = cedm_torch::start()?;
        let _guard = tch::no_grad_guard();
        let scratch = tempfile::tempdir().context("create a temporary folder")?;
        let images = Images::open(&self.images, &self.shape, scratch.path())?;
        let classes = self.class_names(&images)?;
        let (file, object) = weights_of(Some(&self.weights))?.context("--weights is missing")?;
        let spec = ExtractorSpec {
            name: self.extractor.clone(),
            weights: Some(object),
            dim: None,
            precision: Precision::Fp32,
        };
        let text = match (&self.text_embeddings, &self.vocabulary) {
            (Some(file), _) => classifier_from(&file.read(embeddings)?, classes.len() as i64)
                .with_context(|| format!("{file} for {} classes", classes.len()))?,
            (None, Some(vocabulary)) => {
                let tokenizer = vocabulary.read(Tokenizer::read)?;
                // The file of a whole CLIP: both towers are loaded from it.
                let weights = Weights::read(&file)?.backbone(Encoder::Teacher);
                let text = ClipText::load(&weights, tower, Kind::Float, compute.device)
                    .with_context(|| self.weights.to_string())?;
                classifier(&text, &tokenizer, &classes, &TEMPLATES)?
            }
            (None, None) => bail!("expected --vocabulary or --text-embeddings"),
        };
        ensure!(
            text.size()[0] == tower.embed_dim,
            "the text embeddings have width {}, those of {} have {}",
            text.size()[0],
            self.extractor,
            tower.embed_dim
        );
        let mut extractor = Extractor::load(&spec, Some(&file), None, compute.device)?;
        if let Some(batch) = self.batch {
            ensure!(batch > 0, "--batch {batch}: expected at least 1");
            extractor = extractor.with_batch(batch);
        }
        // On the CPU, where features are returned.
        let (found, known) = label(&extractor, &images, &text.to_device(tch::Device::Cpu))?;
        write(&found, &self.out)?;
        let counts = found.labels.bincount::<&Tensor>(None, classes.len() as i64);
        let agreement = known.map(|known| {
            // Only a sanity check: pseudo-labels use the indices of the given class names, which
            // need not be those of the labels.
            let same = found.labels.eq_tensor(&Tensor::from_slice(&known));
            same.to_kind(Kind::Double)
                .mean(Kind::Double)
                .double_value(&[])
        });
        Ok(serde_json::json!({
            "out": self.out,
            "count": found.labels.size()[0],
            "classes": classes,
            "images_per_class": Vec::<i64>::try_from(counts)?,
            "mean_score": found.scores.amax([1i64].as_slice(), false).mean(Kind::Double).double_value(&[]),
            "agreement_with_labels": agreement,
        }))
    }

    /// The names in the given file, or those of the image set.
    fn class_names(&self, images: &Images) -> Result<Vec<String>> {
        let Some(path) = &self.classes else {
            let names = images.imported.set.class_names.clone();
            ensure!(
                !names.is_empty(),
                "the image set has no class names: give them with --classes"
            );
            return Ok(names);
        };
        let text = path.read(|file| {
            cedm_runtime::read_text_file(file, CLASSES_LIMIT)
                .with_context(|| format!("read {}", file.display()))
        })?;
        let names: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        ensure!(
            !names.is_empty(),
            "{path}: no class name found, expected one per line"
        );
        Ok(names)
    }
}

/// Pseudo-labels of all images, and their own labels where all have one.
fn label(
    extractor: &Extractor,
    images: &Images,
    text: &Tensor,
) -> Result<(ZeroShot, Option<Vec<i64>>)> {
    let total = images.imported.set.count;
    let (mut parts, mut known, mut done) = (Vec::new(), Vec::new(), 0);
    for file in images.files() {
        let shard = read_shard(&file)?;
        let features = extract_shard(
            extractor,
            &images_of(&shard),
            done,
            total,
            &ConsoleMonitor::default(),
        )?
        .features;
        parts.push(zero_shot(&features, text));
        known.extend(shard.labels.unwrap_or_default());
        done += shard.count as u64;
    }
    let all = |part: fn(&ZeroShot) -> &Tensor| {
        Tensor::cat(&parts.iter().map(part).collect::<Vec<_>>(), 0)
    };
    let found = ZeroShot {
        logits: all(|part| &part.logits),
        scores: all(|part| &part.scores),
        labels: all(|part| &part.labels),
    };
    Ok((found, (known.len() as u64 == total).then_some(known)))
}

/// The only tensor of a file.
fn embeddings(path: &Path) -> Result<Tensor> {
    let (_, tensor) = arrays::array(path, &["text_embeddings"])?;
    Ok(tensor.to_kind(Kind::Float))
}

/// Writes beside `out` first: a file that exists is complete.
fn write(found: &ZeroShot, out: &Path) -> Result<()> {
    if out.extension().is_none_or(|extension| extension != "npy") {
        let tensors = [("labels", &found.labels), ("scores", &found.scores)];
        return Ok(tensor_files::write(out, &tensors, &[])?);
    }
    let labels = Vec::<i64>::try_from(&found.labels)?;
    write_npy(out, &[labels.len()], &labels).with_context(|| format!("write {}", out.display()))
}
