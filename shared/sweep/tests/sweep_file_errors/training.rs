//! Invalid values in `[training]` and its tables.

use super::check;

#[test]
fn invalid_training_is_located() {
    check(&[
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
            "the network's levels, 8, 4",
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
    ]);
}
