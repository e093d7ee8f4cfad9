//! The rows of the metric table.

use super::{Against, CONFIDENCE, Direction, FoundBy, Metric, Needs};

const FIFTY_THOUSAND: &str = "50,000 generated images and the whole training set; the bias of \
    other counts is of order 1/N, so compare equal counts only";
const TEN_THOUSAND: &str = "at most 10,000 of each side, drawn by the seed; all of a smaller side";
const ALL: &str = "all images of the set";
const PRDC: &str = "Naeem et al. 2020, arXiv:2002.09797";

const ANMI: Metric = Metric {
    name: "anmi",
    title: "Adjusted mutual information",
    short: "ANMI",
    definition: "mutual information of clusters and labels less its expectation under random \
        assignment, normalised by the arithmetic mean of the entropies",
    against: Against::Labels,
    needs: Needs::Clusters,
    found_by: FoundBy::Cluster,
    samples: "all training images",
    at_least: 1,
    direction: Direction::Higher,
    unit: "fraction",
    spread: None,
    literature: "Vinh et al. 2010, JMLR 11:2837",
};

const PRECISION: Metric = Metric {
    name: "precision",
    title: "Precision",
    short: "precision",
    definition: "share of generated images that lie strictly inside the ball of some real image; \
        a ball reaches to the 5th nearest other image of its own set, Euclidean",
    against: Against::Training,
    needs: Needs::Features,
    found_by: FoundBy::Score,
    samples: TEN_THOUSAND,
    at_least: 6,
    direction: Direction::Higher,
    unit: "fraction",
    spread: None,
    literature: "Kynkäänniemi et al. 2019, arXiv:1904.06991",
};

const FD: Metric = Metric {
    name: "fd",
    title: "Fréchet distance",
    short: "FD",
    definition: "‖μ−μᵣ‖² + tr(Σ + Σᵣ − 2(ΣΣᵣ)^½) of the features' means and unbiased covariances, \
        in float64; FID over Inception, FDD over DINOv2 ViT-L/14",
    against: Against::Training,
    needs: Needs::Moments,
    found_by: FoundBy::Score,
    samples: FIFTY_THOUSAND,
    at_least: 2,
    direction: Direction::Lower,
    unit: "squared feature units",
    spread: None,
    literature: "Heusel et al. 2017, arXiv:1706.08500; Stein et al. 2023, arXiv:2306.04675",
};

/// Every metric; the order is that of tables and JSON.
pub const METRICS: &[Metric] = &[
    FD,
    Metric {
        name: "ufd",
        title: "Fréchet distance to the unconditional model",
        short: "uFD",
        definition: "Fréchet distance between the set and the unconditional model's set from the \
            same seeds, after equal training; uFID over Inception",
        against: Against::Unconditional,
        direction: Direction::Neither,
        samples: "50,000 images on both sides",
        literature: "C-EDM: grows with the number of clusters",
        ..FD
    },
    Metric {
        name: "fd_infinity",
        title: "Fréchet distance at infinitely many samples",
        short: "FD∞",
        definition: "intercept of a straight line through the Fréchet distances of 15 random \
            subsets against 1/N, sizes evenly spaced from a tenth of the set (5,000 at \
            most) to the whole set",
        needs: Needs::Features,
        samples: "15 sizes up to the whole set, each subset drawn by itself",
        at_least: 30,
        literature: "Chong & Forsyth 2020, arXiv:1911.07023",
        ..FD
    },
    Metric {
        name: "kid",
        title: "Kernel distance",
        short: "KID",
        definition: "unbiased squared maximum mean discrepancy under the kernel (x·y/D + 1)³, \
            mean over 100 random subsets of 1,000 images without replacement, in float64",
        needs: Needs::Features,
        samples: "100 subsets of 1,000; subsets of the smaller side's size where that is less",
        unit: "squared kernel distance",
        spread: Some("the 100 subsets"),
        literature: "Bińkowski et al. 2018, arXiv:1801.01401",
        ..FD
    },
    PRECISION,
    Metric {
        name: "recall",
        title: "Recall",
        short: "recall",
        definition: "share of real images that lie strictly inside the ball of some generated \
            image; balls as for precision",
        ..PRECISION
    },
    Metric {
        name: "density",
        title: "Density",
        short: "density",
        definition: "mean number of real balls that hold a generated image, divided by 5; about 1 \
            when both sets have one distribution, and it may exceed 1",
        unit: "ratio",
        literature: PRDC,
        ..PRECISION
    },
    Metric {
        name: "coverage",
        title: "Coverage",
        short: "coverage",
        definition: "share of real images whose own ball holds some generated image",
        literature: PRDC,
        ..PRECISION
    },
    Metric {
        name: "realism",
        title: "Realism",
        short: "realism",
        definition: "median over generated images of the largest ratio of a real ball's radius to \
            the distance from its centre, over the real balls smaller than their median",
        unit: "ratio",
        ..PRECISION
    },
    Metric {
        name: "inception_score",
        title: "Inception Score",
        short: "IS",
        definition: "exp of the mean KL divergence between the class probabilities of an image \
            and their mean, over 10 splits of the shuffled set; logits without the last \
            layer's bias",
        against: Against::Nothing,
        needs: Needs::Logits,
        found_by: FoundBy::Score,
        samples: "50,000 in 10 splits; the splits need not be equal",
        at_least: 10,
        direction: Direction::Higher,
        unit: "effective classes",
        spread: Some("the 10 splits"),
        literature: "Salimans et al. 2016, arXiv:1606.03498",
    },
    Metric {
        name: "mean_softmax_score",
        title: "Mean softmax score",
        short: "MSS",
        definition: "mean over generated images of the classifier's largest class probability",
        against: Against::Nothing,
        needs: Needs::Logits,
        found_by: FoundBy::Score,
        samples: ALL,
        at_least: 1,
        direction: Direction::Higher,
        unit: "probability",
        spread: Some("the images"),
        literature: "named by C-EDM without a formula; this is our reading of it",
    },
    Metric {
        name: "vendi",
        title: "Vendi score",
        short: "Vendi",
        definition: "exp of the entropy of the eigenvalues of K/n, K the cosine similarities of \
            the features: the effective number of different images",
        against: Against::Nothing,
        needs: Needs::Features,
        found_by: FoundBy::Score,
        samples: ALL,
        at_least: 1,
        direction: Direction::Higher,
        unit: "effective images",
        spread: None,
        literature: "Friedman & Dieng 2023, arXiv:2210.02410",
    },
    Metric {
        name: "authenticity",
        title: "Authenticity",
        short: "authenticity",
        definition: "percentage of generated images that are farther from their nearest training \
            image than that image is from its own nearest neighbour",
        samples: ALL,
        at_least: 2,
        unit: "percent",
        literature: "Alaa et al. 2022, arXiv:2102.08921",
        ..PRECISION
    },
    Metric {
        name: "ct",
        title: "Data-copying score",
        short: "C_T",
        definition: "Z score of the Mann-Whitney U of generated against test distances to the \
            nearest training image, averaged over 3 k-means cells of the training \
            features by their share of test images; negative: copying, positive: \
            underfitting",
        against: Against::TrainingAndTest,
        samples: "all images of the set, the training set and the test split; cells with less \
            than 20 generated images are left out",
        at_least: 20,
        direction: Direction::Target(0.0),
        unit: "standard deviations",
        literature: "Meehan et al. 2020, arXiv:2004.05675",
        ..PRECISION
    },
    Metric {
        name: "auroc",
        title: "Nearest-neighbour AUROC",
        short: "AUROC",
        definition: "probability that a test image has a larger cosine similarity to its nearest \
            training image than a generated image has, ties counting one half; 0.5: as \
            near as unseen real images, above: out of distribution",
        against: Against::TrainingAndTest,
        samples: "10,000 test images and 50,000 generated ones; all of any other set",
        at_least: 1,
        direction: Direction::Target(0.5),
        unit: "probability",
        literature: "C-EDM, figure 5",
        ..PRECISION
    },
    Metric {
        name: "sw",
        title: "Sliced Wasserstein distance, approximated",
        short: "SW",
        definition: "root of ‖μ−μᵣ‖²/D plus the squared difference of the mean squared distances' \
            roots, both per dimension: the 2-Wasserstein distance of random projections \
            when those are Gaussian",
        needs: Needs::Moments,
        samples: ALL,
        unit: "feature units",
        literature: "Nadjahi et al. 2021, arXiv:2106.15427",
        ..FD
    },
    Metric {
        name: CONFIDENCE,
        title: "TEMI confidence of generated images",
        short: "MSP",
        definition: "mean over generated images of the largest softmax probability of the TEMI \
            head that made the network's clusters, at temperature 0.1, on features of \
            the space in which the images were clustered",
        against: Against::Heads,
        direction: Direction::Neither,
        samples: ALL,
        at_least: 1,
        unit: "probability",
        spread: Some("the images"),
        literature: "C-EDM, figures 8 and 14",
        ..PRECISION
    },
    Metric {
        name: "utilisation",
        title: "Cluster utilisation",
        short: "r_C",
        definition: "clusters that hold at least one training image, divided by C",
        against: Against::Nothing,
        direction: Direction::Neither,
        literature: "C-EDM, section 3.3",
        ..ANMI
    },
    ANMI,
    Metric {
        name: "nmi",
        title: "Normalised mutual information",
        short: "NMI",
        definition: "mutual information of clusters and labels divided by the arithmetic mean of \
            their entropies",
        literature: "Strehl & Ghosh 2002, JMLR 3:583",
        ..ANMI
    },
    Metric {
        name: "ari",
        title: "Adjusted Rand index",
        short: "ARI",
        definition: "share of image pairs on which clusters and labels agree, less its \
            expectation under random assignment",
        literature: "Hubert & Arabie 1985, J. Classification 2:193",
        ..ANMI
    },
    Metric {
        name: "acc",
        title: "Clustering accuracy",
        short: "ACC",
        definition: "share of images in a cluster matched to their label by the best one-to-one \
            matching; clusters left over when there are more clusters than labels take \
            their majority label, so that it rises with C and is not comparable across C",
        literature: "TEMI: Adaloglou et al. 2023, arXiv:2303.17896",
        ..ANMI
    },
    Metric {
        name: "temi_confidence",
        title: "TEMI confidence of training images",
        short: "MSP, training",
        definition: "mean over training images of the largest softmax probability of the best \
            head at temperature 0.1",
        against: Against::Nothing,
        unit: "probability",
        literature: "C-EDM, figure 8",
        ..ANMI
    },
];
