//! What a sweep found: the best granularity, how certain that is, what it is better than, and what
//! other feature spaces and uniform labels say.

use super::Summary;
use serde::{Deserialize, Serialize};

/// What the sweep found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The metric that decides, as `<space>/<metric>`.
    pub metric: String,
    /// The best granularity of those that compete (ground truth, the unconditional network and
    /// imported ids excluded): "temi C=20".
    pub best: String,
    /// Name of the best network's clustering.
    pub clustering: String,
    /// C of the best network.
    pub clusters: u32,
    /// Score of the best granularity: the mean over its trainings of their means over sample sets;
    /// the spread is that of trainings where there are several, else that of sets.
    pub score: Summary,
    /// Whether another granularity may be the best.
    pub uncertain: bool,
    /// The other granularities that may be the best.
    pub ties: Vec<String>,
    /// Every granularity that competes, the best mean first. Empty in answers of earlier versions.
    #[serde(default)]
    pub granularities: Vec<Granularity>,
    /// What is known of the spread of scores, and what is not.
    #[serde(default)]
    pub certainty: Certainty,
    /// The second-best granularity, and how far behind it is.
    #[serde(default)]
    pub runner_up: Option<RunnerUp>,
    /// C_max of the bound search that the clustering made or follows, where there is one.
    pub c_max: Option<u32>,
    /// Whether the best C is at most C_max; absent without a bound.
    pub within_bound: Option<bool>,
    /// Against the other networks.
    pub comparisons: Vec<Comparison>,
    /// Training images at which each network's curve first beats the unconditional one's best.
    pub efficiency: Vec<Efficiency>,
    /// Whether other feature spaces name the same granularity.
    #[serde(default)]
    pub agreement: Vec<Agreement>,
    /// Uniform labels against p(c), where sets of both kinds were made.
    #[serde(default)]
    pub uniform: Vec<UniformEffect>,
    /// The answer in one line.
    pub headline: String,
}

/// A granularity that competes for the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Granularity {
    /// Its name: "temi C=20".
    pub label: String,
    /// Name of its clustering.
    pub clustering: String,
    /// C.
    pub clusters: u32,
    /// Mean over its trainings of their means over sample sets.
    pub mean: f64,
    /// Trainings with a score.
    pub trainings: u32,
    /// How far its true score may be behind that of the best other one, from and to (negative is
    /// ahead), in the metric's unit; the intervals of all granularities hold at once. Absent where
    /// the spread of trainings is not known.
    pub behind: Option<(f64, f64)>,
    /// Probability that it is the best; absent where the spread of trainings is not known.
    pub probability: Option<f64>,
    /// Whether it may be the best: what is left when those that are surely worse are taken out.
    pub may_be_best: bool,
    /// Where it lies among the C that were trained of its clustering, if not inside.
    pub edge: Option<Edge>,
}

/// A place at the edge of the C that were trained of a clustering: the best C may lie beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// The smallest C.
    Smallest,
    /// The largest C.
    Largest,
    /// The only C.
    Only,
}

/// How much is known of the spread of scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Certainty {
    /// Confidence of the intervals, and of the set of granularities that may be the best.
    pub confidence: f64,
    /// Fewest trainings behind a granularity.
    pub trainings: u32,
    /// Fewest sample sets behind a training.
    pub sets: u32,
    /// Standard deviation between trainings of one network, without the part that comes from
    /// sampling; absent where no network was trained twice or there is one set each.
    pub training_std: Option<f64>,
    /// Standard deviation between sample sets of one training; absent for one set each.
    pub sampling_std: Option<f64>,
    /// Degrees of freedom behind the spread of trainings; 0 where it is not known.
    pub degrees: u32,
    /// What cannot be known from what was run, for people.
    pub unknown: Vec<String>,
}

/// The best network against another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Label of the other: unconditional, ground truth, the best of another clustering.
    pub with: String,
    /// The other's mean score.
    pub other: f64,
    /// (best − other) / other.
    pub relative: f64,
    /// Whether the best is better.
    pub better: bool,
    /// How far the best is truly ahead of it, from and to, in the metric's unit; negative is
    /// behind. The intervals of all comparisons hold at once. Absent where the spread of trainings
    /// is not known.
    #[serde(default)]
    pub ahead: Option<(f64, f64)>,
    /// Sets behind the other's mean.
    #[serde(default)]
    pub sets: u32,
    /// Images of each of them.
    #[serde(default)]
    pub images: u64,
}

/// The granularity after the best one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerUp {
    /// Its name: "temi C=40".
    pub cell: String,
    /// Mean over its trainings of their means over sample sets.
    pub score: f64,
    /// Its score − the best's.
    pub difference: f64,
    /// Standard error of that difference over trainings; absent where the spread of trainings is
    /// not known.
    pub standard_error: Option<f64>,
}

/// What the primary metric of another feature space says (paper, figure 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The metric, as `<space>/<metric>`.
    pub metric: String,
    /// Its best network among all granularities.
    pub best: String,
    /// C of that network.
    pub clusters: u32,
    /// Whether that is the network of the answer.
    pub same: bool,
    /// Whether that C is at most C_max; absent without a bound.
    pub within_bound: Option<bool>,
    /// Kendall's tau-b between the two metrics' orders of goodness; absent where an order is all
    /// ties or there is one network only.
    pub tau: Option<f64>,
    /// Networks that have both scores.
    pub networks: u32,
}

/// A network with labels drawn uniformly instead of from p(c) (paper, table 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniformEffect {
    /// Label of the network, as in the table of networks.
    pub cell: String,
    /// The metric, as `<space>/<metric>`.
    pub metric: String,
    /// Mean score with labels from p(c), over the sets that were also drawn uniformly.
    pub prior: f64,
    /// Mean score with uniform labels.
    pub uniform: f64,
    /// Score with uniform labels minus score with labels from the prior.
    pub increase: f64,
    /// Number of pairs of sets that are compared.
    pub sets: u32,
    /// Images of each set.
    pub images: u64,
}

/// Sample efficiency (spec §13).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Label of the network, as in the table of networks.
    pub cell: String,
    /// Training images of the first snapshot at which it beats the unconditional network's best;
    /// absent when it never does.
    pub nimg: Option<u64>,
    /// Training images of the unconditional network's best snapshot over `nimg`.
    pub ratio: Option<f64>,
    /// Where the straight line between that snapshot and the one before crosses the unconditional
    /// network's best; absent where there is no snapshot before.
    #[serde(default)]
    pub crossing_nimg: Option<f64>,
    /// Training images of the unconditional network's best snapshot.
    #[serde(default)]
    pub unconditional_nimg: u64,
    /// Images that every snapshot of the comparison is evaluated on.
    #[serde(default)]
    pub images: u64,
}
