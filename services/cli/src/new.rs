//! `cedm new`: write a commented sweep file for an image set.

use crate::{args::Output, client, import, render};
use anyhow::{Context, Result, bail};
use cedm_contract::{JobResult, SweepId, kinds::import::ImageSet};
use cedm_sweep::{Preset, preset, preset_names};
use cedm_terminal::{outjson, outln, outtext};
use clap::Args;
use std::{fs::File, io::Write, path::PathBuf};

/// Options of `cedm new`.
#[derive(Args, Debug)]
pub struct NewArgs {
    /// Name of the image set, as `cedm sets list` shows it
    pub set: String,
    /// Training preset; by default the smallest that fits the images (`cedm presets`)
    #[arg(long)]
    pub preset: Option<String>,
    /// File to write, which must not exist; without it the sweep file is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Writes a sweep file that fits the image set: complete, and with the choices explained.
///
/// # Errors
/// When the image set or the preset is unknown, no preset fits its side, or the file exists.
pub fn run(args: &NewArgs, output: Output) -> Result<()> {
    let manifest =
        client::block_on(async { import::resolve(&client::connect().await?, &args.set).await })?;
    let JobResult::Import(set) = &manifest.result else {
        bail!(
            "image set `{}` points to a result that is not an import",
            args.set
        );
    };
    let text = sweep_file(&args.set, set, &choose(args.preset.as_deref(), set)?);
    let Some(path) = &args.out else {
        match output {
            Output::Json => outjson!(serde_json::json!({"sweep_file": text})),
            Output::Text => outtext!("{text}"),
        }
        return Ok(());
    };
    let shown = path.display();
    let mut file = File::create_new(path).with_context(|| format!("make {shown}"))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write {shown}"))?;
    match output {
        Output::Json => outjson!(serde_json::json!({"file": path})),
        Output::Text => outln!(
            "{shown} is written; `cedm submit {shown} --dry-run` shows its jobs and what they cost"
        ),
    }
    Ok(())
}

/// The preset of this name, or the one of fewest channels for the side of the images.
fn choose(name: Option<&str>, set: &ImageSet) -> Result<Preset> {
    let side = set.resolution;
    let all = || preset_names().into_iter().filter_map(preset);
    if let Some(name) = name {
        let found = preset(name).with_context(|| {
            format!(
                "preset `{name}` not found; known are {}",
                preset_names().join(", ")
            )
        })?;
        let wanted = found.network.resolution;
        if wanted != side {
            bail!(
                "preset `{name}` is for images of {wanted}×{wanted}, these are {side}×{side}: \
                 import them with --resolution {wanted}, or choose another (`cedm presets`)"
            );
        }
        return Ok(found);
    }
    // `tiny8` trains for seconds, to test a system.
    let fitting =
        all().filter(|preset| preset.network.resolution == side && preset.name != "tiny8");
    if let Some(found) = fitting.min_by_key(|preset| preset.network.model_channels) {
        return Ok(found);
    }
    let mut sides: Vec<u32> = all().map(|preset| preset.network.resolution).collect();
    sides.sort_unstable();
    sides.dedup();
    let sides: Vec<String> = sides.iter().map(u32::to_string).collect();
    bail!(
        "no preset is for images of {side}×{side}: import them with --resolution and one of {}, or \
         write a sweep file with `training.network.resolution` (services/README.md)",
        sides.join(", ")
    )
}

/// The largest C worth a try: clusters of at least ten images, and at most the paper's cap.
fn cap(count: u64) -> u64 {
    (count / 10).clamp(2, 12_800)
}

/// Images of a sample set: the paper's number, or for a small set as many as there are images.
fn sample_images(count: u64) -> u64 {
    count.clamp(64, 50_000)
}

fn sweep_file(name: &str, set: &ImageSet, preset: &Preset) -> String {
    let (count, side) = (set.count, set.resolution);
    let cap = cap(count);
    let start = (cap / 8).clamp(2, 50);
    let fine_step = (cap / 16).clamp(1, 100);
    let images = sample_images(count);
    let ground_truth = if set.classes > 0 {
        format!(
            "\n[[clustering]] # the {} labels of the set, for comparison\nmethod = \"ground_truth\"\n",
            set.classes
        )
    } else {
        String::new()
    };
    let dim = u64::from(set.channels * side * side).min(count).min(32);
    let small = if count < 1024 {
        let (batch, neighbours) = ((count / 2).max(1), (count / 10).clamp(1, 50));
        format!(
            "[clustering.temi] # the defaults are for sets of thousands of images\nbatch = {batch}\n\
             neighbours = {neighbours}\n"
        )
    } else {
        String::new()
    };
    let (preset_name, summary, budget) = (preset.name, preset.summary, preset.budget_kimg);
    let shown = render::count(count);
    let text = format!(
        r#"# For which number of clusters C of {shown} images does a model that is conditioned on the
# cluster generate the best images? Every key is explained in services/README.md.

name = "{sweep}"

[images]
set = "{name}"

[extractor] # the feature space in which images are clustered
name = "pca" # features of a trained network (`cedm extractors`) give better clusters:
dim = {dim} # they need `weights = "FILE"` and no `dim`

[bound] # the search for C_max, the largest C of which more than 96 % are used
start = {start} # first C; doubled until one fails
cap = {cap} # no larger C is tried
fine_step = {fine_step} # between the last that passes and the first that fails
candidates = 4 # train this many C up to C_max, evenly spaced on a logarithmic scale

[[clustering]]
method = "temi"
clusters = "bound" # or a list: [10, 20, 40]
{small}
[[clustering]]
method = "kmeans"
clusters = "bound"
{ground_truth}
[[clustering]] # the unconditional network, for comparison
method = "none"

[training] # {summary}
preset = "{preset_name}" # `cedm presets` lists all
budget_kimg = {budget} # length of the training in thousands of images
snapshots = 2 # scores on the way; each costs samples and time

[sampling]
sets = 3 # their spread says how sure a score is
images = {images} # per set; the paper's number is 50,000

[[evaluation]] # the space and the scores that decide; FID: {fid}
extractor = {{ name = "pca", dim = {dim} }}
metrics = ["fd", "precision", "recall"]
"#,
        sweep = sweep_name(name),
        fid = r#"{ name = "inception_fid", weights = "FILE" }"#,
    );
    aligned(&text)
}

/// Column of the comments beside keys.
const COMMENTS: usize = 30;

/// The text with the comments beside its keys below each other.
fn aligned(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" # ") {
        Some((key, comment)) if !key.starts_with('#') => format!("{key:<COMMENTS$}# {comment}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// A name for the sweep: that of the set, of the characters that a sweep's name may have.
fn sweep_name(set: &str) -> String {
    let name = set.replace(['_', '.'], "-");
    match name.parse::<SweepId>() {
        Ok(_) => name,
        Err(_) => "sweep".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::Digest;
    use cedm_sweep::SweepSpec;

    fn set(count: u64, channels: u32, resolution: u32, classes: u32) -> ImageSet {
        ImageSet {
            count,
            channels,
            resolution,
            classes,
            coarse_classes: 0,
            class_names: Vec::new(),
            content: Digest::of(b""),
            shards: Vec::new(),
        }
    }

    /// Whatever is written is accepted, for every preset and for small and large sets.
    #[test]
    fn every_written_file_is_a_sweep_file() {
        for name in preset_names() {
            let preset = preset(name).unwrap();
            for count in [1, 20, 100, 1797, 60_000, 1_281_167] {
                for (channels, classes) in [(1, 0), (3, 10)] {
                    let set = set(count, channels, preset.network.resolution, classes);
                    let text = sweep_file("my_set.v2", &set, &preset);
                    let spec = SweepSpec::parse(&text);
                    let spec =
                        spec.unwrap_or_else(|error| panic!("{name}, {count}: {error}\n{text}"));
                    assert_eq!(spec.image_set, "my_set.v2");
                    assert_eq!(spec.training.preset, name);
                    assert_eq!(spec.clusterings.len(), if classes > 0 { 4 } else { 3 });
                    assert_eq!(spec.name.unwrap().as_str(), "my-set-v2");
                }
            }
        }
    }

    #[test]
    fn a_preset_is_chosen_by_the_side_of_the_images() {
        for (side, expected) in [
            (8, "digits8"),
            (32, "cpu32"),
            (64, "ffhq64"),
            (128, "ffhq128"),
        ] {
            assert_eq!(choose(None, &set(1000, 3, side, 0)).unwrap().name, expected);
        }
        let error = choose(None, &set(1000, 1, 28, 10)).unwrap_err().to_string();
        assert!(
            error.contains("28×28") && error.contains("8, 32, 64, 128"),
            "{error}"
        );
        let error = choose(Some("cifar10"), &set(1000, 3, 64, 0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("--resolution 32"), "{error}");
        let error = choose(Some("cifar"), &set(1000, 3, 32, 0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cifar100"), "{error}");
    }
}
