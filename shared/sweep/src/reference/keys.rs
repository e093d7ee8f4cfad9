//! What every key of the sweep file means: default, allowed values, one sentence.
//!
//! Types come from the deserialisers, and defaults from a parsed sweep; a test compares this table
//! with both, so that no key can be missing here or be left over.

/// A table of the sweep file.
pub(super) struct Section {
    /// Its path: `clustering.temi`; empty for the top of the file.
    pub(super) path: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) keys: &'static [Key],
}

/// A key that is not itself a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: Default,
    /// Allowed values beyond the type, in words; may be empty.
    pub(super) allowed: &'static str,
    /// Values just outside; the sweep file's checks must refuse each of them.
    pub(super) refused: &'static [&'static str],
    pub(super) about: &'static str,
}

/// Where a key's default comes from.
pub(super) enum Default {
    /// There is none: the key must be given.
    Required,
    /// The value in a sweep file that does not give the key.
    FromCode,
    /// As `FromCode`, at another place of the resolved sweep (a JSON pointer).
    At(&'static str),
    /// That of the preset.
    Preset,
    /// It depends on other keys, as these words say.
    Depends(&'static str),
}
use Default::{At, Depends, FromCode, Preset, Required};

const fn key(
    name: &'static str,
    default: Default,
    allowed: &'static str,
    refused: &'static [&'static str],
    about: &'static str,
) -> Key {
    Key {
        name,
        default,
        allowed,
        refused,
        about,
    }
}

const AT_LEAST_0: (&str, &[&str]) = ("at least 0", &["-0.1"]);
const AT_LEAST_1: (&str, &[&str]) = ("at least 1", &["0"]);
const ABOVE_0: (&str, &[&str]) = ("more than 0", &["0.0"]);
const FRACTION: (&str, &[&str]) = ("0 to 1", &["-0.1", "1.1"]);
const BELOW_1: (&str, &[&str]) = ("at least 0 and below 1", &["-0.1", "1.0"]);
const PAIR_BELOW_1: (&str, &[&str]) = (
    "each at least 0 and below 1",
    &["[-0.1, 0.9]", "[0.9, 1.0]"],
);
const SHARES: (&str, &[&str]) = (
    "above 0 to 1, the smaller first",
    &["[0.0, 0.5]", "[0.5, 0.4]", "[0.5, 1.1]"],
);
const ANY: (&str, &[&str]) = ("", &[]);

/// [`key`] with one of the common ranges.
const fn ranged(
    name: &'static str,
    default: Default,
    (allowed, refused): (&'static str, &'static [&'static str]),
    about: &'static str,
) -> Key {
    key(name, default, allowed, refused, about)
}

/// Every section, in the order of a sweep file.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "",
        about: "Keys before the first section.",
        keys: &[
            key(
                "name",
                Depends("the file's name without `.toml`"),
                "1 to 48 of a-z, 0-9, `-`",
                &["\"My Sweep\""],
                "The sweep's name; `cedm submit --name` overrides it.",
            ),
            ranged(
                "priority",
                FromCode,
                ANY,
                "Priority of the sweep's jobs: workers take `p0` before `p1` before `p2`.",
            ),
        ],
    },
    Section {
        path: "images",
        about: "The images to train on.",
        keys: &[
            key(
                "set",
                Required,
                "not empty",
                &["\"\""],
                "Name of the image set, as given to `cedm import --name`.",
            ),
            ranged(
                "test_set",
                Depends("none"),
                ANY,
                "Name of the image set that is its test split; needed by metrics that compare with one.",
            ),
        ],
    },
    Section {
        path: "extractor",
        about: "The feature space in which the images are clustered. `extractor = \"pixels\"` is short for a table with `name` only.",
        keys: &[
            key(
                "name",
                Required,
                "a name from `cedm extractors`",
                &["\"no_such_extractor\""],
                "The feature extractor.",
            ),
            key(
                "weights",
                Depends("none"),
                "a path or `s3://` URI; required by extractors with weights",
                &[],
                "File with the published weights; a path is relative to the sweep file.",
            ),
            key(
                "dim",
                Depends("the extractor's"),
                "at least 1; only where the width can be chosen (`pca`)",
                &["0"],
                "Feature width.",
            ),
            ranged(
                "precision",
                FromCode,
                ANY,
                "Arithmetic of the forward pass.",
            ),
        ],
    },
    Section {
        path: "extractor.adapt",
        about: "With this section the extractor's backbone is first trained on the images, without labels (DINO). Only for vision transformers; defaults are those of DINO's recipe. Not allowed in `[evaluation]`.",
        keys: &[
            ranged("epochs", FromCode, AT_LEAST_1, "Passes over the image set."),
            ranged("batch", FromCode, AT_LEAST_1, "Images per step."),
            ranged(
                "local_crops",
                FromCode,
                ANY,
                "Small crops per image, besides the two large ones.",
            ),
            key(
                "local_size",
                FromCode,
                "at least 1; a multiple of the patch side",
                &["0"],
                "Side of the small crops in pixels.",
            ),
            ranged(
                "global_scale",
                FromCode,
                SHARES,
                "Range of the area of large crops, as shares of the image.",
            ),
            ranged(
                "local_scale",
                FromCode,
                SHARES,
                "Range of the area of small crops, as shares of the image.",
            ),
            ranged(
                "flip",
                FromCode,
                ANY,
                "Whether half of the crops are mirrored; wrong for digits and letters.",
            ),
            ranged(
                "colour",
                FromCode,
                ANY,
                "Whether crops are colour-jittered, blurred and solarised.",
            ),
            key(
                "head",
                FromCode,
                "at least 1, 1 and 2",
                &["[0, 8, 8]", "[8, 0, 8]", "[8, 8, 1]"],
                "Widths of the projection head: hidden, bottleneck, output.",
            ),
            ranged(
                "learning_rate",
                FromCode,
                ABOVE_0,
                "Peak learning rate at a batch of 256; scaled linearly with the batch.",
            ),
            ranged(
                "last_learning_rate",
                FromCode,
                AT_LEAST_0,
                "Learning rate at the end of the cosine schedule.",
            ),
            ranged(
                "warmup_epochs",
                FromCode,
                ANY,
                "Epochs of linear warm-up of the learning rate.",
            ),
            key(
                "weight_decay",
                FromCode,
                "each at least 0",
                &["[-0.1, 0.4]", "[0.1, -0.4]"],
                "Weight decay at the start and at the end.",
            ),
            ranged(
                "teacher_momentum",
                FromCode,
                FRACTION,
                "Momentum of the teacher at the start; it rises to 1.",
            ),
            ranged(
                "student_temperature",
                FromCode,
                ABOVE_0,
                "Temperature of the student's softmax.",
            ),
            key(
                "teacher_temperature",
                FromCode,
                "each more than 0",
                &["[0.0, 0.1]", "[0.1, 0.0]"],
                "Temperature of the teacher's softmax at the start and after its warm-up.",
            ),
            ranged(
                "teacher_warmup_epochs",
                FromCode,
                ANY,
                "Epochs over which the teacher's temperature changes.",
            ),
            ranged(
                "center_momentum",
                FromCode,
                BELOW_1,
                "Momentum of the centre that is subtracted from the teacher's outputs.",
            ),
            ranged(
                "clip_grad",
                FromCode,
                ABOVE_0,
                "Largest norm of each parameter's gradient.",
            ),
            ranged(
                "freeze_last_layer",
                FromCode,
                ANY,
                "Epochs during which the head's last layer is frozen.",
            ),
            ranged("seed", FromCode, ANY, "Seed of weights, order and crops."),
        ],
    },
    Section {
        path: "extractor.adapt.vit",
        about: "Size of the network that is trained from scratch: extractor `vit` without `weights`.",
        keys: &[
            key(
                "image",
                FromCode,
                "a multiple of `patch`",
                &["0", "33"],
                "Side in pixels of the images that the network reads.",
            ),
            key(
                "patch",
                FromCode,
                "at least 1",
                &["0"],
                "Side of a patch in pixels.",
            ),
            key(
                "dim",
                FromCode,
                "a multiple of `heads`",
                &["0", "193"],
                "Width of the tokens.",
            ),
            ranged("depth", FromCode, AT_LEAST_1, "Transformer blocks."),
            ranged("heads", FromCode, AT_LEAST_1, "Attention heads."),
        ],
    },
    Section {
        path: "neighbours",
        about: "The search for nearest neighbours that TEMI needs.",
        keys: &[key(
            "part_rows",
            FromCode,
            "0, or more than the neighbours per image",
            &["1"],
            "Image sets with more rows are searched in parts of about this many rows, each a job of its own; 0 searches any set in one job.",
        )],
    },
    Section {
        path: "clustering",
        about: "One way to give the images labels; `[[clustering]]` may be repeated. One network is trained for every clustering and every C.",
        keys: &[
            key(
                "name",
                Depends("the method, with `-` for `_`"),
                "1 to 40 of a-z, 0-9, `-`, `.`; unique",
                &["\"A B\""],
                "Name in reports.",
            ),
            key(
                "method",
                Required,
                "`\"temi\"`, `\"kmeans\"`, `\"ground_truth\"`, `\"imported\"`, `\"none\"`",
                &["\"spectral\""],
                "TEMI; k-means; the labels of the image set; ids from a file; or an unconditional network.",
            ),
            key(
                "clusters",
                Depends("required by `temi`, `kmeans` and `imported`"),
                "each C from 2 to 1,000,000, no duplicates; one number for `imported`; absent for `ground_truth` and `none`",
                &["1", "[1, 10]", "[10, 10]", "[]", "1000001", "\"most\""],
                "The values of C to train: `\"bound\"` for candidates up to C_max, `\"c_max\"` for C_max alone, or given numbers.",
            ),
            ranged(
                "seed",
                FromCode,
                ANY,
                "Seed of every random draw of the clustering.",
            ),
            key(
                "coarse",
                At("/clusterings/2/method/ground_truth/coarse"),
                "only with `ground_truth`",
                &["true"],
                "Use the coarse labels of the image set instead of the fine ones.",
            ),
            key(
                "file",
                Depends("required by `imported`"),
                "only with `imported`; a path or `s3://` URI",
                &["\"ids.npy\""],
                "File of ids, one per image in the order of the set: npy, or a PyTorch file as the C-EDM authors publish.",
            ),
        ],
    },
    Section {
        path: "clustering.temi",
        about: "Parameters of method `temi`; defaults are those of the paper's Table 8 (spec §4).",
        keys: &[
            ranged(
                "heads",
                FromCode,
                AT_LEAST_1,
                "Heads trained side by side; the best one gives the clusters.",
            ),
            ranged(
                "layers",
                FromCode,
                AT_LEAST_1,
                "Linear layers before the last one.",
            ),
            ranged("hidden", FromCode, AT_LEAST_1, "Width of hidden layers."),
            ranged(
                "bottleneck",
                FromCode,
                AT_LEAST_1,
                "Width of the bottleneck.",
            ),
            key(
                "beta",
                FromCode,
                "more than 0, at most 2",
                &["0.0", "2.1"],
                "Exponent of the loss: 0.6 for near-uniform use of clusters, 1 for the lower bound.",
            ),
            ranged(
                "weighted",
                FromCode,
                ANY,
                "Whether pairs are weighted by the teachers' agreement.",
            ),
            ranged(
                "positive_pmi",
                FromCode,
                ANY,
                "Whether the logarithm of the pointwise mutual information is clamped below at 0.",
            ),
            ranged(
                "student_temperature",
                FromCode,
                ABOVE_0,
                "Temperature of the students' softmax.",
            ),
            ranged(
                "teacher_temperature_start",
                FromCode,
                ABOVE_0,
                "Temperature of the teachers' softmax at the start.",
            ),
            ranged(
                "teacher_temperature",
                FromCode,
                ABOVE_0,
                "Temperature of the teachers' softmax after its warm-up.",
            ),
            ranged(
                "teacher_temperature_warmup_epochs",
                FromCode,
                ANY,
                "Epochs over which the teachers' temperature changes.",
            ),
            ranged(
                "marginal_momentum",
                FromCode,
                BELOW_1,
                "Momentum of the running cluster marginal.",
            ),
            ranged("epochs", FromCode, AT_LEAST_1, "Passes over the image set."),
            ranged(
                "batch",
                FromCode,
                AT_LEAST_1,
                "Pairs per step; at most the number of images.",
            ),
            ranged(
                "base_lr",
                FromCode,
                ABOVE_0,
                "Learning rate, scaled by batch/256.",
            ),
            ranged(
                "min_lr",
                FromCode,
                AT_LEAST_0,
                "Learning rate at the end of the schedule, scaled by batch/256.",
            ),
            key(
                "warmup_epochs",
                FromCode,
                "at most `epochs`",
                &["201"],
                "Epochs of linear warm-up of the learning rate.",
            ),
            ranged(
                "weight_decay",
                FromCode,
                AT_LEAST_0,
                "Decoupled weight decay at the start, on tensors with two or more dimensions.",
            ),
            ranged(
                "weight_decay_end",
                FromCode,
                AT_LEAST_0,
                "Weight decay at the end of its cosine schedule.",
            ),
            ranged(
                "betas",
                FromCode,
                PAIR_BELOW_1,
                "Decay rates of AdamW's moments.",
            ),
            ranged("eps", FromCode, ABOVE_0, "Epsilon of AdamW."),
            ranged(
                "teacher_momentum",
                FromCode,
                FRACTION,
                "Momentum of the teachers at the start.",
            ),
            ranged(
                "teacher_momentum_end",
                FromCode,
                FRACTION,
                "Momentum of the teachers at the end of its cosine schedule.",
            ),
            key(
                "freeze_last_layer_epochs",
                FromCode,
                "less than `epochs`",
                &["200"],
                "Epochs during which the last layer is frozen.",
            ),
            ranged(
                "clip",
                FromCode,
                AT_LEAST_0,
                "Largest norm of each gradient tensor; 0 does not clip.",
            ),
            ranged(
                "standardise",
                FromCode,
                ANY,
                "Whether features are standardised by their mean and standard deviation.",
            ),
            ranged(
                "l2_norm",
                FromCode,
                ANY,
                "Whether features are L2-normalised.",
            ),
            ranged(
                "neighbours",
                FromCode,
                AT_LEAST_1,
                "Nearest neighbours from which an image's partner is drawn.",
            ),
        ],
    },
    Section {
        path: "clustering.kmeans",
        about: "Parameters of method `kmeans`, which follows scikit-learn (spec §5).",
        keys: &[
            ranged(
                "starts",
                FromCode,
                AT_LEAST_1,
                "Runs from different initial centres; the one of lowest inertia is kept.",
            ),
            ranged(
                "max_iterations",
                FromCode,
                AT_LEAST_1,
                "Iterations of a run at most.",
            ),
            ranged(
                "tolerance",
                FromCode,
                AT_LEAST_0,
                "A run ends when the squared shift of the centres, relative to the mean variance of the features, is at most this.",
            ),
            key(
                "mini_batch",
                FromCode,
                "0, or at least C",
                &["1"],
                "Rows per mini-batch; 0 for full Lloyd iterations.",
            ),
        ],
    },
    Section {
        path: "bound",
        about: "The search for C_max, the largest C whose clusters TEMI really uses, and what is trained from it (spec §6). It runs when a TEMI clustering asks for `\"bound\"` or `\"c_max\"`.",
        keys: &[
            key(
                "alpha",
                FromCode,
                "more than 0 and less than 1",
                &["0.0", "1.0"],
                "C passes when its utilisation, the share of its clusters that are used, exceeds this.",
            ),
            key(
                "start",
                FromCode,
                "at least 2",
                &["1"],
                "First C; it is doubled until one fails.",
            ),
            key(
                "cap",
                FromCode,
                "at least `start`",
                &["49"],
                "No C above this is tried; nor one above the number of images.",
            ),
            key(
                "fine_step",
                At("/bound/params/fine/step"),
                "at least 1; excludes `bisect_to`",
                &["0"],
                "Between the last passing and the first failing C every multiple of this is tried.",
            ),
            key(
                "bisect_to",
                Depends("`fine_step` is used"),
                "at least 1; excludes `fine_step`",
                &["0"],
                "Search between them by bisection instead, until the gap is at most this.",
            ),
            key(
                "seeds",
                FromCode,
                "1 to 100",
                &["0", "101"],
                "Clusterings per C, whose mean utilisation counts.",
            ),
            ranged(
                "candidates",
                FromCode,
                AT_LEAST_1,
                "At most this many of the passing C are trained, evenly spaced on a logarithmic scale; C_max always is.",
            ),
            key(
                "lower_bound",
                FromCode,
                "needs a bound search",
                &["true"],
                "Whether the lower bound is measured too: TEMI with `beta = 1` at large C.",
            ),
            key(
                "lower_bound_clusters",
                FromCode,
                "each at least 2; needs `lower_bound = true`",
                &["[50]"],
                "C of the lower-bound probes; C_max and its doublings when empty.",
            ),
        ],
    },
    Section {
        path: "training",
        about: "The network and its training (spec §7). Defaults come from the preset; the tables below override single values of it.",
        keys: &[
            key(
                "preset",
                Required,
                "a name from the table of presets",
                &["\"imagenet\""],
                "The preset to start from.",
            ),
            key(
                "budget_kimg",
                Preset,
                "more than 0, at most 1e9",
                &["0.0", "1e10"],
                "Length of the training in thousands of images, rounded up to whole batches.",
            ),
            key(
                "snapshots",
                Depends("1"),
                "1 to 1000; excludes `snapshots_kimg`",
                &["0", "1001"],
                "Number of evenly spaced snapshots, the last of which ends the training.",
            ),
            key(
                "snapshots_kimg",
                Depends("the end only"),
                "ascending, above 0, at most `budget_kimg`; excludes `snapshots`",
                &["[0.0]", "[2.0, 1.0]", "[1e9]"],
                "Snapshots in thousands of images; the end of the training is added.",
            ),
            ranged(
                "seed",
                FromCode,
                ANY,
                "Seed of weights, order, noise and augmentation.",
            ),
            ranged("precision", Preset, ANY, "Arithmetic of the network."),
        ],
    },
    Section {
        path: "training.network",
        about: "The network: SongUNet with EDM preconditioning.",
        keys: &[
            key(
                "resolution",
                Preset,
                "halves as often as `channel_mult` has further levels",
                &["30"],
                "Side of the images in pixels; must be that of the image set.",
            ),
            key(
                "model_channels",
                Preset,
                "a multiple of 4",
                &["0", "30"],
                "Channels of the first level.",
            ),
            key(
                "channel_mult",
                Preset,
                "one or more, each at least 1",
                &["[]", "[0]"],
                "Multiplier of the channels at each level; every further level halves the resolution.",
            ),
            ranged(
                "channel_mult_emb",
                Preset,
                AT_LEAST_1,
                "Width of the embedding, in units of `model_channels`.",
            ),
            key(
                "channel_mult_noise",
                Depends("1 for `ddpmpp`, 2 for `ncsnpp`"),
                "at least 1",
                &["0"],
                "Width of the noise level's features, in units of `model_channels`.",
            ),
            ranged(
                "num_blocks",
                Preset,
                AT_LEAST_1,
                "Residual blocks per level.",
            ),
            key(
                "attn_resolutions",
                Preset,
                "resolutions of levels",
                &["[7]"],
                "Resolutions with self-attention.",
            ),
            ranged(
                "dropout",
                Preset,
                BELOW_1,
                "Dropout inside the residual blocks.",
            ),
            ranged(
                "label_dropout",
                Preset,
                FRACTION,
                "Probability of training an image without its label; needed for guidance.",
            ),
            ranged(
                "embedding",
                Preset,
                ANY,
                "Architecture: DDPM++ (positional embedding) or NCSN++ (Fourier embedding, residual encoder).",
            ),
            ranged(
                "sigma_data",
                Preset,
                ABOVE_0,
                "Expected standard deviation of the images.",
            ),
        ],
    },
    Section {
        path: "training.optimiser",
        about: "Adam, the moving average of the weights, and the distribution of noise levels.",
        keys: &[
            ranged("batch", Preset, AT_LEAST_1, "Images per step."),
            key(
                "micro_batch",
                Depends("the largest divisor of `batch` up to the preset's"),
                "divides `batch`",
                &["0", "3"],
                "Images per forward pass; gradients are accumulated over a batch.",
            ),
            ranged("lr", Preset, ABOVE_0, "Learning rate after the ramp."),
            ranged(
                "lr_rampup_kimg",
                Preset,
                AT_LEAST_0,
                "Linear ramp of the learning rate, in thousands of images.",
            ),
            ranged(
                "betas",
                Preset,
                PAIR_BELOW_1,
                "Decay rates of Adam's moments.",
            ),
            ranged("eps", Preset, ABOVE_0, "Epsilon of Adam."),
            ranged(
                "ema_halflife_kimg",
                Preset,
                AT_LEAST_0,
                "Half-life of the weights' moving average, in thousands of images.",
            ),
            key(
                "ema_rampup_ratio",
                Preset,
                "at least 0",
                &["-0.1"],
                "The half-life is at most this share of the images so far; 0 for no ramp.",
            ),
            ranged(
                "p_mean",
                Preset,
                ("finite", &["inf"]),
                "Mean of the logarithm of sigma in training.",
            ),
            ranged(
                "p_std",
                Preset,
                ABOVE_0,
                "Standard deviation of the logarithm of sigma in training.",
            ),
            ranged(
                "loss_scaling",
                Preset,
                ABOVE_0,
                "Factor of the loss, for reduced precision.",
            ),
        ],
    },
    Section {
        path: "training.augment",
        about: "Non-leaking augmentation of EDM. The network is told what was done to an image, so that samples are not augmented.",
        keys: &[
            ranged(
                "p",
                Preset,
                FRACTION,
                "Probability of each transformation before its multiplier; 0 switches augmentation off.",
            ),
            ranged(
                "xflip",
                Preset,
                AT_LEAST_0,
                "Multiplier of horizontal flips: 1e8 mirrors half of the images; 0 where mirrored images are wrong.",
            ),
            ranged("yflip", Preset, AT_LEAST_0, "Multiplier of vertical flips."),
            ranged(
                "scale",
                Preset,
                AT_LEAST_0,
                "Multiplier of isotropic scaling.",
            ),
            ranged(
                "rotate_frac",
                Preset,
                AT_LEAST_0,
                "Multiplier of rotations.",
            ),
            ranged(
                "aniso",
                Preset,
                AT_LEAST_0,
                "Multiplier of anisotropic scaling.",
            ),
            ranged(
                "translate_frac",
                Preset,
                AT_LEAST_0,
                "Multiplier of translations.",
            ),
        ],
    },
    Section {
        path: "sampling",
        about: "The sample sets of every network (spec §9).",
        keys: &[
            ranged(
                "sets",
                FromCode,
                AT_LEAST_1,
                "Sample sets of the final network, from different seeds; their scores give mean and standard deviation.",
            ),
            ranged(
                "images",
                FromCode,
                AT_LEAST_1,
                "Images per set. Scores are comparable at equal counts only; the paper uses 50,000.",
            ),
            key(
                "snapshot_images",
                FromCode,
                "at most `images`",
                &["50001"],
                "Images of the one set of every earlier snapshot; 0 for none.",
            ),
            key(
                "uniform_sets",
                FromCode,
                "at most `sets`; needs `labels = \"prior\"`",
                &["4"],
                "Further sets of conditional networks with uniformly drawn labels, from the seeds of the first sets.",
            ),
            key(
                "shard_size",
                FromCode,
                "at least 1, at most 250 shards per set",
                &["0", "199"],
                "Images per job.",
            ),
        ],
    },
    Section {
        path: "sampling.sampler",
        about: "The sampler: EDM's algorithm 2.",
        keys: &[
            key(
                "steps",
                Preset,
                "at least 2",
                &["1"],
                "Steps of the solver.",
            ),
            ranged(
                "solver",
                FromCode,
                ANY,
                "Second-order (Heun) or first-order (Euler) steps.",
            ),
            key(
                "sigma_min",
                FromCode,
                "more than 0, below `sigma_max`",
                &["0.0", "81.0"],
                "Lowest noise level.",
            ),
            key(
                "sigma_max",
                FromCode,
                "above `sigma_min`",
                &["0.001"],
                "Highest noise level.",
            ),
            ranged(
                "rho",
                FromCode,
                ABOVE_0,
                "Exponent of the spacing of noise levels.",
            ),
            ranged(
                "s_churn",
                FromCode,
                AT_LEAST_0,
                "Amount of added noise; 0 for the deterministic sampler.",
            ),
            key(
                "s_min",
                FromCode,
                "at least 0, at most `s_max`",
                &["-0.1", "2e9"],
                "Lowest noise level at which noise is added.",
            ),
            key(
                "s_max",
                FromCode,
                "at least `s_min`",
                &["-1.0"],
                "Highest noise level at which noise is added.",
            ),
            ranged(
                "s_noise",
                FromCode,
                ABOVE_0,
                "Factor of the added noise's standard deviation.",
            ),
            ranged(
                "labels",
                At("/sampling/sampler/labels/labels"),
                ANY,
                "Whether labels are drawn from their frequencies p(c) or uniformly.",
            ),
            ranged(
                "precision",
                FromCode,
                ANY,
                "Arithmetic of the network; the sampler's state is float64.",
            ),
        ],
    },
    Section {
        path: "sampling.sampler.guidance",
        about: "Classifier-free guidance: D = (1 + w) D(x, label) − w D(x, no label).",
        keys: &[
            key(
                "weight",
                FromCode,
                "at least 0; above 0 needs `training.network.label_dropout` above 0",
                &["-0.1", "0.5"],
                "The weight w; 0 for no guidance.",
            ),
            key(
                "sigma_lo",
                FromCode,
                "at most `sigma_hi`",
                &["2e9"],
                "Lowest noise level with guidance.",
            ),
            key(
                "sigma_hi",
                FromCode,
                "at least `sigma_lo`",
                &["-1.0"],
                "Highest noise level with guidance.",
            ),
        ],
    },
    Section {
        path: "evaluation",
        about: "A feature space in which sample sets are scored; `[evaluation]` or, for several, `[[evaluation]]`. The first one decides.",
        keys: &[
            key(
                "name",
                Depends("the extractor's name"),
                "unique",
                &[],
                "Name in reports.",
            ),
            key(
                "extractor",
                Required,
                "a name, or a table as `[extractor]` without `adapt`",
                &["\"no_such_extractor\""],
                "The feature space.",
            ),
            key(
                "metrics",
                Required,
                "one or more names from the table of metrics (`services/evaluator/README.md`), no duplicates",
                &["[]", "[\"no_such_metric\"]", "[\"fd\", \"fd\"]"],
                "The scores to compute.",
            ),
            key(
                "primary",
                Depends("the first of `metrics`"),
                "one of `metrics` that has a better end",
                &["\"kid\""],
                "The metric that decides which C is best.",
            ),
            ranged(
                "seed",
                FromCode,
                ANY,
                "Seed of the random subsets that some metrics draw.",
            ),
        ],
    },
];
