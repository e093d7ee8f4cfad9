//! What a sweep found: the best granularity, how certain that is, what it is better than, and what
//! other feature spaces and uniform labels say.

use super::Summary;
use serde::{Deserialize, Serialize};

/// What the sweep found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The metric that decides, as `<space>/<metric>`.
    pub metric: String,
    /// Label of the best network among all granularities of clusterings (ground truth and the
    /// unconditional one excluded).
    pub best: String,
    /// Name of the best network's clustering.
    pub clustering: String,
    /// C of the best network.
    pub clusters: u32,
    /// Score of the best network over its sample sets.
    pub score: Summary,
    /// Whether another network is within one standard deviation of the best: then the order is not
    /// certain.
    pub uncertain: bool,
    /// Labels of networks whose score is within one pooled standard deviation of the best.
    pub ties: Vec<String>,
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
    /// Label of the network, as in the table of networks.
    pub cell: String,
    /// Mean score over its sample sets.
    pub score: f64,
    /// Mean over the sets of (its score − the best's); sets of one index share their seeds, so that
    /// they are compared in pairs.
    pub difference: f64,
    /// Standard error of that mean; absent for a single pair. It covers the spread of sampling, not
    /// that of training.
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
