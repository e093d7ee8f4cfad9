//! Options of other evaluation tools and their equivalents in `cedm-evaluator run`.

/// The name of another tool, and its options with their equivalents.
pub type Tool = (&'static str, &'static [(&'static str, &'static str)]);

/// The tools with their options, checked against clean-fid 0.1.35, torch-fidelity 0.4.0,
/// pytorch-fid 0.3.0 and dgm-eval (2023).
pub const OTHERS: &[Tool] = &[
    (
        "clean-fid",
        &[
            (
                "fid.compute_fid(a, b)",
                "--generated a --reference b --extractor inception_clean_fid",
            ),
            (
                "fid.compute_fid(a, dataset_name=…)",
                "--generated a --reference stats.npz --extractor inception_clean_fid",
            ),
            (
                "fid.make_custom_stats(name, b)",
                "--generated b --metrics none --extractor inception_clean_fid --save-stats \
                 stats.npz",
            ),
            (
                "fid.compute_kid(a, b)",
                "--metrics kid --extractor inception_clean_fid (theirs: 100 subsets of at most \
                 1,000, as here)",
            ),
            (
                "mode=\"legacy_tensorflow\"",
                "--extractor inception_fid, the default",
            ),
            (
                "mode=\"legacy_pytorch\"",
                "--extractor inception_pytorch_fid",
            ),
            (
                "mode=\"clean\" (its default)",
                "--extractor inception_clean_fid",
            ),
            ("model_name=\"clip_vit_b_32\"", "--extractor clip_vit_b32"),
            ("num_gen", "the images that --generated holds"),
            (
                "batch_size, num_workers, device",
                "CEDM_THREADS, CEDM_DEVICE in the environment",
            ),
        ],
    ),
    (
        "torch-fidelity",
        &[
            ("--input1 a --input2 b", "--generated a --reference b"),
            ("--fid", "--metrics fd"),
            ("--isc", "--metrics inception_score"),
            ("--kid", "--metrics kid (their unit is the same)"),
            (
                "--prc",
                "--metrics precision,recall --neighbours 3 (theirs: VGG-16 features; ours: your \
                 extractor)",
            ),
            (
                "--feature-extractor inception-v3-compat",
                "--extractor inception_fid, the default",
            ),
            (
                "--feature-extractor dinov2-vit-l-14",
                "--extractor dinov2_vitl14 (theirs resizes as TensorFlow did, ours as Pillow does)",
            ),
            (
                "--feature-extractor clip-vit-b-32",
                "--extractor clip_vit_b32 (the same remark)",
            ),
            (
                "--feature-extractor-weights-path f",
                "--weights f: the same file",
            ),
            ("--kid-subsets, --kid-subset-size", "the same"),
            (
                "--isc-splits",
                "the same; the shuffle is always their seed 2020",
            ),
            ("--prc-neighborhood", "--neighbours"),
            ("--rng-seed", "--seed"),
            (
                "--cuda, --gpu 0, --cpu",
                "CEDM_DEVICE=cuda:0, CEDM_DEVICE=cpu in the environment",
            ),
            ("--json", "always"),
            (
                "--save-cpu-ram, --datasets-root, --cache-root",
                "not needed: shards bound the memory",
            ),
        ],
    ),
    (
        "pytorch-fid",
        &[
            (
                "pytorch-fid a b",
                "--generated b --reference a --extractor inception_pytorch_fid; without it images \
                 are resized as TensorFlow, EDM and the paper did, and the number is another",
            ),
            (
                "pytorch-fid a stats.npz",
                "--generated a --reference stats.npz: read and written alike",
            ),
            (
                "--save-stats a stats.npz",
                "--generated a --metrics none --save-stats stats.npz",
            ),
            ("--dims 2048", "always"),
        ],
    ),
    (
        "dgm-eval",
        &[
            (
                "real gen --model dinov2 --metrics fd",
                "--generated gen --reference real --extractor dinov2_vitl14 --metrics fd",
            ),
            (
                "--model inception",
                "--extractor inception_fid (theirs is torch-fidelity's network)",
            ),
            (
                "--metrics kd, prdc, is, vendi, authpct, ct, fd-infinity",
                "--metrics kid, precision, recall, density, coverage, inception_score, vendi, \
                 authenticity, ct, fd_infinity",
            ),
            (
                "--nsample 50000 (reference)",
                "--reference-at-most 50000, drawn by the same seed; the default for dinov2_vitl14",
            ),
            ("--reduced_n 10000", "--neighbour-images 10000, the default"),
            ("--nearest_k 5", "--neighbours 5, the default"),
        ],
    ),
];

/// The table as plain text, for `run --help`.
pub fn as_text() -> String {
    let mut text = "Options of other tools and their equivalents:\n".to_owned();
    for (tool, options) in OTHERS {
        text += &format!("\n  {tool}\n");
        for (theirs, ours) in *options {
            text += &format!("    {theirs:<46}  {ours}\n");
        }
    }
    text
}

/// The table as Markdown, for the documentation.
pub fn as_markdown() -> String {
    let mut text = String::new();
    for (tool, options) in OTHERS {
        text += &format!("| {tool} | `cedm-evaluator run` |\n|---|---|\n");
        for (theirs, ours) in *options {
            text += &format!("| {} | {} |\n", quoted(theirs), ours.replace('|', "\\|"));
        }
        text += "\n";
    }
    text
}

fn quoted(option: &str) -> String {
    format!("`{option}`")
}
