//! Every bad sweep file is wrong at a line and a column, and says what would be right.

#![forbid(unsafe_code)]

use cedm_sweep::SweepSpec;

const GOOD: &str = include_str!("good_sweep.toml");

/// One bad file: the good one with `from` replaced by `to`; the error must lie on the line that
/// holds `on` and say `says`.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// What is wrong with the error of one bad file.
fn complaint((from, to, on, says): Case) -> Option<String> {
    assert!(GOOD.contains(from), "the good file has no {from:?}");
    let text = GOOD.replacen(from, to, 1);
    let Err(error) = SweepSpec::parse(&text) else {
        return Some(format!("{to:?} was accepted"));
    };
    let Some(finding) = error.findings.iter().find(|f| f.message.contains(says)) else {
        return Some(format!("{to:?}: expected {says:?}, got\n{error}"));
    };
    let shown = text.lines().nth(finding.line - 1) == Some(finding.text.as_str());
    let underlined = finding.column >= 1
        && finding.column - 1 + finding.width <= finding.text.chars().count().max(1) + 1;
    (!finding.text.contains(on) || !shown || !underlined)
        .then(|| format!("{to:?}: expected the line of {on:?}, got\n{error}"))
}

fn check(cases: &[Case]) {
    let complaints: Vec<String> = cases.iter().filter_map(|case| complaint(*case)).collect();
    assert!(
        complaints.is_empty(),
        "{} of {} cases:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
}

#[test]
fn unknown_keys_are_pointed_at() {
    check(&[
        (
            "priority =",
            "prioritty =",
            "prioritty",
            "did you mean `priority`?",
        ),
        (
            "set = \"digits\"",
            "sett = \"digits\"",
            "sett",
            "did you mean `set`?",
        ),
        ("dim = 32\n", "dims = 32\n", "dims", "did you mean `dim`?"),
        ("heads = 8", "head = 8", "head = 8", "did you mean `heads`?"),
        (
            "heads = 8",
            "wings = 8",
            "wings",
            "unknown key `wings`; known are",
        ),
        (
            "alpha = 0.96",
            "alhpa = 0.96",
            "alhpa",
            "did you mean `alpha`?",
        ),
        (
            "part_rows = 600",
            "parts = 600",
            "parts",
            "unknown key `parts`",
        ),
        (
            "budget_kimg = 20",
            "budget = 20",
            "budget",
            "unknown key `budget`",
        ),
        (
            "budget_kimg = 20",
            "budget_kmig = 20",
            "budget_kmig",
            "did you mean `budget_kimg`?",
        ),
        (
            "lr = 1e-3",
            "learning_rate = 1e-3",
            "learning_rate",
            "unknown key `learning_rate`",
        ),
        (
            "steps = 12",
            "step = 12",
            "step = 12",
            "did you mean `steps`?",
        ),
        (
            "[evaluation]",
            "[evalution]",
            "[evalution]",
            "did you mean `evaluation`?",
        ),
        (
            "primary = \"fd\"",
            "primery = \"fd\"",
            "primery",
            "did you mean `primary`?",
        ),
        ("dim = 32 }", "dmi = 32 }", "dmi", "did you mean `dim`?"),
    ]);
}

#[test]
fn wrong_types_are_pointed_at() {
    check(&[
        (
            "heads = 8",
            "heads = \"eight\"",
            "eight",
            "expected a whole number",
        ),
        ("heads = 8", "heads = 8.5", "8.5", "expected a whole number"),
        ("heads = 8", "heads = -8", "-8", "expected a whole number"),
        (
            "alpha = 0.96",
            "alpha = \"0.96\"",
            "alpha",
            "expected a number",
        ),
        (
            "clusters = \"bound\"",
            "clusters = true",
            "true",
            "expected \"bound\", \"c_max\", or a list",
        ),
        (
            "clusters = [40, 10]",
            "clusters = [40, \"ten\"]",
            "ten",
            "expected a whole number",
        ),
        (
            "clusters = [40, 10]",
            "clusters = -3",
            "-3",
            "expected \"bound\"",
        ),
        (
            "metrics = [\"fd\", \"precision\", \"ufd\"]",
            "metrics = \"fd\"",
            "metrics",
            "expected a sequence",
        ),
        (
            "set = \"digits\"",
            "set = 8",
            "set = 8",
            "expected a string",
        ),
        (
            "snapshots = 4",
            "snapshots_kimg = 4",
            "snapshots_kimg",
            "expected a sequence",
        ),
        (
            "priority = \"p0\"",
            "priority = \"p7\"",
            "p7",
            "did you mean `p0`?",
        ),
        (
            "extractor = { name = \"pca\", dim = 32 }",
            "extractor = 3",
            "extractor = 3",
            "expected the name of an extractor",
        ),
        (
            "labels = \"uniform\"",
            "labels = \"unifrom\"",
            "unifrom",
            "did you mean `uniform`?",
        ),
        (
            "steps = 12",
            "steps = 12\nprecision = \"fp23\"",
            "fp23",
            "did you mean `fp32`?",
        ),
        (
            "steps = 12",
            "steps = 12\nsolver = \"hun\"",
            "hun",
            "did you mean `heun`?",
        ),
        ("lr = 1e-3", "lr = 1e-3\nbetas = [0.9]", "betas", "expected"),
    ]);
}

#[test]
fn missing_keys_and_broken_toml_are_pointed_at() {
    check(&[
        ("set = \"digits\"\n", "", "[images]", "missing key `set`"),
        (
            "preset = \"digits8\"\n",
            "",
            "[training]",
            "missing key `preset`",
        ),
        (
            "method = \"kmeans\"\n",
            "",
            "[[clustering]]",
            "missing key `method`",
        ),
        (
            "metrics = [\"fd\", \"precision\", \"ufd\"]\n",
            "",
            "[evaluation]",
            "missing key `metrics`",
        ),
        ("alpha = 0.96", "alpha = ", "alpha =", ""),
        (
            "alpha = 0.96",
            "alpha = 0.96\nalpha = 0.9",
            "alpha",
            "duplicate key",
        ),
        ("[images]", "[images", "[images", ""),
        ("name = \"digits\"\n", "name = \"digits\n", "name", ""),
    ]);
    assert!(
        SweepSpec::parse("")
            .unwrap_err()
            .to_string()
            .contains("missing key `images`")
    );
}

#[test]
fn impossible_values_are_pointed_at() {
    check(&[
        (
            "name = \"digits\"",
            "name = \"My Digits\"",
            "My Digits",
            "expected 1 to 48 of a-z",
        ),
        (
            "set = \"digits\"",
            "set = \" \"",
            "set",
            "name of the image set is empty",
        ),
        (
            "name = \"pca\"",
            "name = \"pcs\"",
            "pcs",
            "did you mean `pca`?",
        ),
        (
            "name = \"pca\"",
            "name = \"dino_vitb61\"",
            "vitb61",
            "did you mean `dino_vitb16`?",
        ),
        (
            "name = \"pca\"\ndim = 32",
            "name = \"dino_vitb16\"",
            "dino_vitb16",
            "needs `weights",
        ),
        (
            "name = \"pca\"\ndim = 32",
            "name = \"pixels\"\ndim = 32",
            "dim = 32",
            "has a width of its own",
        ),
        (
            "dim = 32\n",
            "dim = 32\nweights = \"x\"\n",
            "weights",
            "has no weights",
        ),
        ("dim = 32\n", "dim = 0\n", "dim = 0", "expected at least 1"),
        (
            "method = \"temi\"",
            "method = \"temy\"",
            "temy",
            "did you mean `temi`?",
        ),
        (
            "clusters = \"bound\"",
            "clusters = \"bounds\"",
            "bounds",
            "did you mean `bound`?",
        ),
        (
            "clusters = \"bound\"\n",
            "",
            "[[clustering]]",
            "needs `clusters`",
        ),
        ("clusters = [40, 10]", "clusters = []", "[]", "empty list"),
        (
            "part_rows = 600",
            "part_rows = 50",
            "part_rows",
            "or more than the 50 neighbours",
        ),
        (
            "clusters = [40, 10]",
            "clusters = [1, 10]",
            "[1, 10]",
            "expected at least 2 clusters",
        ),
        (
            "clusters = [40, 10]",
            "clusters = [10, 10]",
            "[10, 10]",
            "stands twice",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"ground_truth\"\nclusters = [10]",
            "clusters = [10]",
            "no choice of granularity",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"none\"",
            "none",
            "a second unconditional",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"kmeans\"\nclusters = [5]",
            "clustering",
            "a second clustering is called `kmeans`",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"imported\"\nclusters = 10",
            "clustering",
            "need `file = ",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"imported\"\nclusters = [10, 20]\nfile = \"x\"",
            "[10, 20]",
            "one number",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"ground_truth\"\nname = \"A B\"",
            "A B",
            "expected 1 to 40",
        ),
        (
            "seed = 3",
            "coarse = true",
            "coarse",
            "belongs to method \"ground_truth\"",
        ),
        (
            "seed = 3",
            "temi = { heads = 3 }",
            "temi",
            "belongs to method \"temi\"",
        ),
        ("heads = 8", "heads = 0", "heads = 0", "expected at least 1"),
        ("heads = 8", "beta = 0.0", "beta", "expected more than 0"),
        (
            "heads = 8",
            "teacher_momentum = 1.5",
            "1.5",
            "expected 0 to 1",
        ),
        ("heads = 8", "marginal_momentum = 1.0", "1.0", "below 1"),
        ("heads = 8", "betas = [0.9, 1.5]", "[0.9, 1.5]", "below 1"),
        ("heads = 8", "eps = 0.0", "eps", "more than 0"),
        (
            "seed = 3",
            "kmeans = { mini_batch = 20 }",
            "mini_batch",
            "at least the 40 clusters",
        ),
        (
            "heads = 8",
            "student_temperature = 0.0",
            "temperature",
            "more than 0",
        ),
        ("heads = 8", "base_lr = nan", "nan", "more than 0"),
        (
            "heads = 8",
            "freeze_last_layer_epochs = 60",
            "freeze",
            "would never learn",
        ),
        (
            "heads = 8",
            "warmup_epochs = 61",
            "warmup_epochs",
            "more than the 60 epochs",
        ),
        (
            "seed = 3",
            "kmeans = { starts = 0 }",
            "starts",
            "expected at least 1",
        ),
        ("alpha = 0.96", "alpha = 1.0", "alpha", "less than 1"),
        ("alpha = 0.96", "alpha = 0.0", "alpha", "more than 0"),
        (
            "start = 10",
            "start = 1",
            "start = 1",
            "expected at least 2",
        ),
        (
            "start = 10",
            "start = 100\ncap = 50",
            "cap = 50",
            "below `start`",
        ),
        ("fine_step = 5", "fine_step = 0", "fine_step", "at least 1"),
        (
            "fine_step = 5",
            "fine_step = 5\nbisect_to = 5",
            "bisect_to",
            "exclude each other",
        ),
        (
            "candidates = 3",
            "candidates = 0",
            "candidates",
            "at least 1",
        ),
        (
            "candidates = 3",
            "lower_bound_clusters = [50]",
            "lower_bound_clusters",
            "lower_bound = true",
        ),
        (
            "preset = \"digits8\"",
            "preset = \"cifar01\"",
            "cifar01",
            "did you mean `cifar10`?",
        ),
        (
            "preset = \"digits8\"",
            "preset = \"imagenet\"",
            "imagenet",
            "known are cifar10",
        ),
        (
            "budget_kimg = 20",
            "budget_kimg = 0",
            "budget_kimg",
            "more than 0",
        ),
        (
            "budget_kimg = 20",
            "budget_kimg = -1",
            "budget_kimg",
            "more than 0",
        ),
        (
            "budget_kimg = 20",
            "budget_kimg = inf",
            "budget_kimg",
            "at most 1e9",
        ),
        (
            "snapshots = 4",
            "snapshots = 0",
            "snapshots = 0",
            "1 to 1000",
        ),
        (
            "snapshots = 4",
            "snapshots_kimg = [5, 30]",
            "[5, 30]",
            "beyond the budget of 20 kimg",
        ),
        (
            "snapshots = 4",
            "snapshots_kimg = [1e300]",
            "[1e300]",
            "beyond the budget of 20 kimg",
        ),
        (
            "snapshots = 4",
            "snapshots_kimg = [5, 4]",
            "[5, 4]",
            "ascending",
        ),
        (
            "snapshots = 4",
            "snapshots_kimg = [0, 4]",
            "[0, 4]",
            "more than 0",
        ),
        (
            "snapshots = 4",
            "snapshots = 4\nsnapshots_kimg = [4]",
            "snapshots = 4",
            "exclude each other",
        ),
        (
            "batch = 128",
            "batch = 128\nmicro_batch = 48",
            "micro_batch",
            "not a multiple",
        ),
        ("batch = 128", "batch = 0", "batch = 0", "at least 1"),
        ("lr = 1e-3", "lr = 0.0", "lr", "more than 0"),
        ("lr = 1e-3", "betas = [0.9, 1.0]", "betas", "below 1"),
        ("lr = 1e-3", "p_std = 0.0", "p_std", "more than 0"),
        (
            "[training.optimiser]",
            "[training.network]\nchannel_mult = [1, 2, 2, 2, 2]\n[training.optimiser]",
            "channel_mult",
            "cannot be halved 4 times",
        ),
        (
            "[training.optimiser]",
            "[training.network]\nchannel_mult_noise = 0\n[training.optimiser]",
            "channel_mult_noise",
            "at least 1",
        ),
        (
            "[training.optimiser]",
            "[training.network]\nattn_resolutions = [16]\n[training.optimiser]",
            "attn_resolutions",
            "the levels are 8, 4",
        ),
        (
            "[training.optimiser]",
            "[training.network]\nmodel_channels = 30\n[training.optimiser]",
            "model_channels",
            "multiple of 4",
        ),
        (
            "[training.optimiser]",
            "[training.network]\ndropout = 1.0\n[training.optimiser]",
            "dropout",
            "below 1",
        ),
        (
            "[training.optimiser]",
            "[training.augment]\np = 1.2\n[training.optimiser]",
            "p = 1.2",
            "0 to 1",
        ),
        ("images = 1797", "images = 0", "images = 0", "at least 1"),
        (
            "snapshot_images = 500",
            "snapshot_images = 5000",
            "snapshot_images",
            "more than the 1797",
        ),
        (
            "shard_size = 600",
            "shard_size = 0",
            "shard_size",
            "at least 1",
        ),
        (
            "shard_size = 600",
            "shard_size = 2",
            "shard_size",
            "at least 8 images per shard",
        ),
        (
            "images = 1797",
            "sets = 0\nimages = 1797",
            "sets = 0",
            "at least 1",
        ),
        ("steps = 12", "steps = 1", "steps = 1", "at least 2"),
        (
            "steps = 12",
            "sigma_min = 90.0",
            "sigma_min",
            "out of order",
        ),
        (
            "steps = 12",
            "sigma_max = 0.001",
            "[sampling.sampler]",
            "out of order",
        ),
        (
            "steps = 12",
            "s_min = 5.0\ns_max = 1.0",
            "s_min",
            "out of order",
        ),
        (
            "steps = 12",
            "guidance = { weight = 1.0 }",
            "guidance",
            "label_dropout",
        ),
        (
            "\"precision\"",
            "\"precison\"",
            "precison",
            "did you mean `precision`?",
        ),
        ("\"precision\"", "\"fid\"", "fid", "did you mean"),
        (
            "\"precision\"",
            "\"inception_score\"",
            "inception_score",
            "needs class logits",
        ),
        ("\"precision\"", "\"auroc\"", "auroc", "needs a test split"),
        ("\"precision\"", "\"fd\"", "metrics", "stands twice"),
        (
            "\"precision\"",
            "\"nmi\"",
            "nmi",
            "comes with every clustering",
        ),
        (
            "metrics = [\"fd\", \"precision\", \"ufd\"]",
            "metrics = []",
            "metrics",
            "empty list",
        ),
        (
            "primary = \"fd\"",
            "primary = \"kid\"",
            "kid",
            "not among `metrics`",
        ),
        (
            "primary = \"fd\"",
            "primary = \"ufd\"",
            "primary",
            "cannot decide",
        ),
        (
            "[[clustering]]\nmethod = \"none\"\n",
            "",
            "metrics",
            "needs an unconditional network",
        ),
        (
            "images = 1797\nsnapshot_images = 500",
            "images = 3",
            "metrics",
            "needs at least",
        ),
    ]);
}

#[test]
fn all_impossible_values_are_told_at_once_in_file_order() {
    let text = GOOD
        .replace("heads = 8", "heads = 0")
        .replace("alpha = 0.96", "alpha = 2")
        .replace("steps = 12", "steps = 0");
    let error = SweepSpec::parse(&text).unwrap_err();
    let keys: Vec<&str> = error
        .findings
        .iter()
        .map(|f| f.text.split(' ').next().unwrap())
        .collect();
    assert_eq!(keys, ["heads", "alpha", "steps"], "{error}");
}

#[test]
fn an_error_reads_like_a_compilers() {
    let error = SweepSpec::parse(&GOOD.replace("alpha = 0.96", "alhpa = 0.96")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 34, column 1: unknown key `alhpa`; did you mean `alpha`?\n 34 | alhpa = 0.96\n    | ^^^^^"
    );
}

#[test]
fn adaptations_are_checked() {
    const HERE: &str = "name = \"pca\"\ndim = 32\n";
    check(&[
        (
            HERE,
            "name = \"pca\"\nadapt = {}\n",
            "adapt",
            "`pca` cannot be adapted",
        ),
        (
            HERE,
            "name = \"dino_vitb16\"\nadapt = {}\n",
            "dino_vitb16",
            "needs `weights = \"<file or URI>\"`",
        ),
        (
            HERE,
            "name = \"vit\"\nadapt = { epoch = 3 }\n",
            "epoch",
            "did you mean `epochs`?",
        ),
        (
            HERE,
            "name = \"vit\"\nadapt = { epochs = 0 }\n",
            "epochs",
            "expected at least 1",
        ),
        (
            HERE,
            "name = \"vit\"\nadapt = { local_scale = [0.5, 0.1] }\n",
            "local_scale",
            "the smaller first",
        ),
        (
            HERE,
            "name = \"vit\"\nadapt = { vit = { patch = 5 } }\n",
            "patch",
            "hold no whole number of patches of 5",
        ),
        (
            HERE,
            "name = \"vit\"\nadapt = { vit = { heads = 7 } }\n",
            "heads",
            "is no multiple of 7 heads",
        ),
        (
            HERE,
            "name = \"dino_vitb16\"\nweights = \"w.pth\"\nadapt = { vit = { dim = 48 } }\n",
            "dim",
            "the size stands in the weights",
        ),
        (
            "extractor = { name = \"pca\", dim = 32 }",
            "extractor = { name = \"vit\", weights = \"w\", adapt = {} }",
            "adapt",
            "must not depend on the image set",
        ),
    ]);
}
