//! Evaluation of features by labels: k-nearest-neighbour accuracy as DINO measures it, and a linear
//! probe.

use anyhow::{Context, Result, ensure};
use cedm_contract::kinds::{
    extract::features::FEATURES,
    feature_evaluation::{FeatureEvaluationParams, FeatureEvaluationResult},
    import::shard::LABELS,
};
use cedm_nets::normalise_rows;
use cedm_runtime::{InputPath, Monitor, QuietMonitor};
use cedm_tensor_files::TensorFile;
use cedm_torch::{
    adam::{Adam, Moments, Order},
    tensor_files,
};
use std::path::Path;
use tch::{Kind, Tensor};

/// Query rows compared at once; bounds the memory for similarities.
const CHUNK: i64 = 1024;
/// Without a test set, every fifth row is held out for the probe.
const HOLD_OUT: i64 = 5;
/// Steps of the probe, each on all rows, so that nothing is random.
const STEPS: usize = 300;
/// Learning rate of the probe.
const LEARNING_RATE: f64 = 0.05;
/// L2 penalty of the probe.
const DECAY: f64 = 1e-4;

/// Largest number of evaluated rows; of larger sets every second, third, … row is taken.
const MAX_ROWS: u64 = 50_000;

/// Evaluates features by their labels.
#[derive(Debug, clap::Args)]
pub struct FeatureEvaluationArgs {
    /// Features with labels, as written by `run`: path or s3:// URI
    features: InputPath,
    /// Features to classify. Default: every row is classified by all others, and every fifth row
    /// by a probe on the rest
    #[arg(long)]
    test: Option<InputPath>,
    /// Number of neighbours that vote
    #[arg(long, default_value_t = FeatureEvaluationParams::default().k)]
    k: u32,
    /// Temperature of the votes, exp(cosine / temperature)
    #[arg(long, default_value_t = FeatureEvaluationParams::default().temperature)]
    temperature: f64,
}

/// Features and the label of each row.
pub struct Labelled {
    /// Features, float32 \[n, dim\].
    pub features: Tensor,
    /// Labels, int64 \[n\], from 0.
    pub labels: Tensor,
}

impl FeatureEvaluationArgs {
    /// Evaluates; returns accuracies as JSON.
    ///
    /// # Errors
    /// When a file lacks features or labels, or a parameter is out of range.
    pub fn run(&self) -> Result<serde_json::Value> {
        cedm_torch::start()?;
        let _guard = tch::no_grad_guard();
        let params = FeatureEvaluationParams {
            k: self.k,
            temperature: self.temperature,
        };
        let train = self.features.read(read)?;
        let test = self.test.as_ref().map(|test| test.read(read));
        let test = test.transpose()?;
        let found = evaluate_features(&train, test.as_ref(), &params, &QuietMonitor)?;
        Ok(serde_json::json!({
            "rows": found.count,
            "dim": found.dim,
            "test_rows": test.as_ref().map(|test| test.features.size()[0]),
            "k": params.k,
            "temperature": params.temperature,
            "knn_accuracy": found.knn_accuracy,
            "linear_probe_accuracy": found.probe_accuracy,
        }))
    }
}

/// The distance between evaluated rows in a set of `count`.
pub fn stride(count: u64) -> u64 {
    count.div_ceil(MAX_ROWS).max(1)
}

/// Classifies the test rows by the training rows; without test rows, each training row by all
/// others, and every fifth by a probe on the rest. The monitor hears of every step.
///
/// # Errors
/// When k or the temperature is out of range, or the widths differ.
pub fn evaluate_features(
    train: &Labelled,
    test: Option<&Labelled>,
    params: &FeatureEvaluationParams,
    monitor: &dyn Monitor,
) -> Result<FeatureEvaluationResult> {
    let (rows, dim) = train.features.size2()?;
    let k = i64::from(params.k);
    ensure!(k > 0 && k < rows, "k is {k}, expected 1 to {}", rows - 1);
    ensure!(
        params.temperature > 0.0,
        "the temperature is {}, expected more than 0",
        params.temperature
    );
    if let Some(test) = test {
        let found = test.features.size()[1];
        ensure!(
            found == dim,
            "the test features have width {found}, the others {dim}"
        );
    }
    let probe_accuracy = match test {
        Some(test) => probe_accuracy(train, test, monitor),
        None => {
            // By index and not at random: the same rows for every extractor.
            let held: Tensor = Tensor::arange(rows, (Kind::Int64, train.labels.device()))
                .remainder(HOLD_OUT)
                .eq(0);
            probe_accuracy(
                &train.rows(&held.logical_not()),
                &train.rows(&held),
                monitor,
            )
        }
    };
    Ok(FeatureEvaluationResult {
        count: rows as u64,
        dim: dim as u32,
        classes: train.labels.max().int64_value(&[]) as u32 + 1,
        knn_accuracy: knn_accuracy(train, test, (k, params.temperature), monitor),
        probe_accuracy,
    })
}

impl Labelled {
    /// The rows that a mask selects.
    fn rows(&self, mask: &Tensor) -> Self {
        let at = mask.nonzero().squeeze_dim(1);
        Self {
            features: self.features.index_select(0, &at),
            labels: self.labels.index_select(0, &at),
        }
    }
}

fn read(path: &Path) -> Result<Labelled> {
    let file = TensorFile::open(path)?;
    let features = tensor_files::tensor(&file, FEATURES.name)?.to_kind(Kind::Float);
    let labels = tensor_files::tensor(&file, LABELS.name)
        .context("labels are needed: the images have none, or they were left out")?
        .to_kind(Kind::Int64);
    let fits = features.dim() == 2
        && labels.size() == [features.size()[0]]
        && features.size()[0] > 1
        && labels.min().int64_value(&[]) >= 0;
    ensure!(
        fits,
        "{}: features {:?} and labels {:?} do not fit",
        path.display(),
        features.size(),
        labels.size()
    );
    Ok(Labelled { features, labels })
}

/// Share of query rows whose label wins the vote of the k nearest rows by cosine, weighted by
/// exp(cosine / temperature). A row never votes for itself.
fn knn_accuracy(
    train: &Labelled,
    test: Option<&Labelled>,
    (k, temperature): (i64, f64),
    monitor: &dyn Monitor,
) -> f64 {
    let known = normalise_rows(&train.features);
    let classes = train.labels.max().int64_value(&[]) + 1;
    let queries = test.unwrap_or(train);
    let mut right = 0;
    for from in (0..queries.features.size()[0]).step_by(CHUNK as usize) {
        monitor.tick();
        let count = CHUNK.min(queries.features.size()[0] - from);
        let mut cosine =
            normalise_rows(&queries.features.narrow(0, from, count)).matmul(&known.tr());
        // Queries are the training rows themselves: their own cosine of 1 is taken out.
        if test.is_none() {
            let _ = cosine
                .narrow(1, from, count)
                .diagonal(0, 0, 1)
                .fill_(f64::NEG_INFINITY);
        }
        // Votes span orders of magnitude (exp(1 / 0.07) is 1.6 million): summed in float64.
        cosine = cosine.to_kind(Kind::Double);
        let (nearest, at) = cosine.topk(k, 1, true, true);
        let votes = Tensor::zeros([count, classes], (Kind::Double, cosine.device()));
        let votes = votes.scatter_add(1, &train.labels.take(&at), &(nearest / temperature).exp());
        let labels = queries.labels.narrow(0, from, count);
        right += votes
            .argmax(1, false)
            .eq_tensor(&labels)
            .sum(Kind::Int64)
            .int64_value(&[]);
    }
    right as f64 / queries.labels.size()[0] as f64
}

/// Share of test rows that a multinomial logistic regression on the standardised training rows
/// classifies correctly. Trained by Adam from zero weights, with PyTorch's default betas.
fn probe_accuracy(train: &Labelled, test: &Labelled, monitor: &dyn Monitor) -> f64 {
    let mean = train.features.mean_dim([0i64].as_slice(), true, None);
    let std = train
        .features
        .std_dim([0i64].as_slice(), true, true)
        // A constant feature stays constant.
        .clamp_min(1e-6);
    let scaled = |set: &Labelled| (&set.features - &mean) / &std;
    let (x, classes) = (scaled(train), train.labels.max().int64_value(&[]) + 1);
    let targets = train.labels.one_hot(classes).to_kind(Kind::Float);
    let rows = x.size()[0] as f64;
    let weight = Tensor::zeros([x.size()[1] + 1, classes], (Kind::Float, x.device()));
    // A column of ones makes the bias a weight like the others.
    let with_one = |x: &Tensor| {
        Tensor::cat(
            &[
                x.shallow_clone(),
                x.new_ones([x.size()[0], 1], (Kind::Float, x.device())),
            ],
            1,
        )
    };
    let x = with_one(&x);
    let moments = Moments::zeros(&weight);
    let adam = Adam {
        lr: LEARNING_RATE,
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.0,
        order: Order::Textbook,
    };
    for step in 1..=STEPS {
        monitor.tick();
        // The penalty is part of the loss, as in logistic regression, and so of the gradient.
        let gradient = x
            .tr()
            .matmul(&(x.matmul(&weight).softmax(1, Kind::Float) - &targets))
            / rows
            + &weight * DECAY;
        adam.update(&weight, &moments, gradient, step as u64);
    }
    let found = with_one(&scaled(test)).matmul(&weight).argmax(1, false);
    found
        .eq_tensor(&test.labels)
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Three clusters on a circle, with a little noise.
    fn clusters(n: i64) -> Labelled {
        let at = Tensor::arange(n, (Kind::Float, Device::Cpu));
        let labels = at.to_kind(Kind::Int64).remainder(3);
        let angle = labels.to_kind(Kind::Float) * 2.1 + (&at * 1.3).sin() * 0.2;
        Labelled {
            features: Tensor::stack(&[angle.cos(), angle.sin()], 1),
            labels,
        }
    }

    #[test]
    fn separable_features_are_classified() {
        let (train, test) = (clusters(120), clusters(50));
        assert_eq!(
            knn_accuracy(&train, Some(&test), (5, 0.07), &QuietMonitor),
            1.0
        );
        assert_eq!(knn_accuracy(&train, None, (5, 0.07), &QuietMonitor), 1.0);
        assert_eq!(probe_accuracy(&train, &test, &QuietMonitor), 1.0);
    }

    #[test]
    fn a_row_does_not_vote_for_itself() {
        let mut set = clusters(90);
        set.labels = Tensor::arange(90, (Kind::Int64, Device::Cpu));
        assert_eq!(
            knn_accuracy(&set, None, (3, 0.07), &QuietMonitor),
            0.0,
            "every label occurs once"
        );
    }
}
