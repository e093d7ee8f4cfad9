//! Unknown keys, wrong types, missing keys, broken TOML.

use super::check;
use cedm_sweep::SweepSpec;

#[test]
fn unknown_keys_are_located() {
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
fn wrong_types_are_located() {
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
fn missing_keys_and_broken_toml_are_located() {
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
