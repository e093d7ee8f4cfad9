//! Invalid values in `[sampling]` and `[evaluation]`.

use super::check;

#[test]
fn invalid_sampling_and_evaluations_are_located() {
    check(&[
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
        ("\"precision\"", "\"fd\"", "metrics", "is listed twice"),
        (
            "\"precision\"",
            "\"nmi\"",
            "nmi",
            "is computed for every clustering",
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
