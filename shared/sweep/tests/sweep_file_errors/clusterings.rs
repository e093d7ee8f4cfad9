//! Invalid values before `[training]`: names, extractors, clusterings, the bound search.

use super::check;

#[test]
fn invalid_names_and_extractors_are_located() {
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
    ]);
}

#[test]
fn invalid_clusterings_and_bounds_are_located() {
    check(&[
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
            "is listed twice",
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
            "candidates = [10, 40]\ncandidate_rule = \"probes\"",
            "candidate_rule",
            "no rule places them",
        ),
        (
            "candidates = 3",
            "candidates = [40, 1]",
            "candidates",
            "C = 1: expected at least 2 clusters",
        ),
        (
            "candidates = 3",
            "lower_bound_clusters = [50]",
            "lower_bound_clusters",
            "lower_bound = true",
        ),
    ]);
}

#[test]
fn invalid_adaptations_are_located() {
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
            "is not a multiple of 7 heads",
        ),
        (
            HERE,
            "name = \"dino_vitb16\"\nweights = \"w.pth\"\nadapt = { vit = { dim = 48 } }\n",
            "dim",
            "the weights determine the size",
        ),
        (
            "extractor = { name = \"pca\", dim = 32 }",
            "extractor = { name = \"vit\", weights = \"w\", adapt = {} }",
            "adapt",
            "must not depend on the image set",
        ),
    ]);
}
