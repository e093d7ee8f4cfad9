//! The clusterer's own metrics.

cedm_runtime::metrics! {
    pub LOSS_MEAN: Gauge =
        "cedm_cluster_loss_mean", "nats", "Mean TEMI loss over heads in the last epoch";
    pub LOSS_MIN: Gauge =
        "cedm_cluster_loss_min", "nats", "TEMI loss of the best head in the last epoch";
    pub LOSS_MAX: Gauge =
        "cedm_cluster_loss_max", "nats", "TEMI loss of the worst head in the last epoch";
    pub HEAD_LOSS: GaugeList["head"] =
        "cedm_cluster_head_loss", "nats", "TEMI loss of each head in the last epoch";
    pub UTILISATION: Gauge =
        "cedm_cluster_utilisation", "share",
        "Share of the best head's clusters in use during the last epoch";
    pub MARGINAL_ENTROPY: Gauge =
        "cedm_cluster_marginal_entropy_nats", "nats", "Entropy of the best head's running marginal";
    pub INERTIA: Gauge =
        "cedm_cluster_inertia", "squared distance",
        "Sum of squared distances of the current k-means start";
    pub STEPS: Counter = "cedm_cluster_steps_total", "steps", "TEMI optimiser steps";
    pub NEIGHBOUR_PAIRS: Counter =
        "cedm_neighbour_pairs_total", "pairs", "Pairs of rows whose similarity was computed";
}
