//! `cedm export`: write images of the store to files that other programs read.

use crate::{args::Output, client, import, keys, render};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{
    JobResult, Manifest,
    kinds::{import::ImageSet, sample_set::SampleSetResult},
};
use cedm_runtime::{Connection, Submitter};
use cedm_terminal::{outjson, outln};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of `cedm export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Name of the image set, or the key of a `sample_set` job (its first digits suffice)
    pub name: String,
    /// File or folder to create: `.zip` for an archive in the EDM layout, `.npz` for an array
    /// `arr_0` u8 [n, h, w, c], no extension for a folder of PNGs named by seed
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Exports an image set by its name, or a sample set by the key of its job. The extension of
/// `--out` selects the format.
///
/// # Errors
/// When there is no such set, the store fails, or the files cannot be written.
pub fn run(args: &ExportArgs, output: Output) -> Result<()> {
    let out = &args.out;
    ensure!(
        !out.exists(),
        "{} already exists: choose another path",
        out.display()
    );
    let format = Format::of(out)?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let (set, first_seed) = client::block_on(async {
        let connection = client::connect().await?;
        let (set, first_seed) = match find(&connection, &args.name).await?.result {
            JobResult::Import(set) => (set, 0),
            JobResult::SampleSet(set) => as_image_set(set),
            _ => bail!("`{}` is neither an image set nor a sample set", args.name),
        };
        anyhow::Ok((download(&connection, set, folder.path()).await?, first_seed))
    })?;
    match format {
        Format::Archive => cedm_images::export_edm_archive(&set, folder.path(), out)?,
        Format::Array => cedm_images::export_npz(&set, folder.path(), out)?,
        Format::Folder => cedm_images::export_folder(&set, folder.path(), first_seed, out)?,
    }
    match output {
        Output::Json => {
            outjson!(serde_json::json!({"out": out, "count": set.count, "content": set.content}))
        }
        Output::Text => outln!("{}: {} images", out.display(), render::count(set.count)),
    }
    Ok(())
}

/// The format of an export.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// A zip archive in the EDM layout.
    Archive,
    /// An npz file with the array `arr_0`.
    Array,
    /// A folder of PNGs named by seed.
    Folder,
}

impl Format {
    fn of(out: &Path) -> Result<Self> {
        match out
            .extension()
            .map(|extension| extension.to_string_lossy())
            .as_deref()
        {
            Some("zip") => Ok(Self::Archive),
            Some("npz") => Ok(Self::Array),
            None => Ok(Self::Folder),
            Some(other) => bail!(
                "--out ends in .{other}: expected .zip (EDM archive), .npz, or no extension for a \
                 folder of PNGs"
            ),
        }
    }
}

/// The import behind the name of an image set, else the job with this key.
async fn find(connection: &Connection, name: &str) -> Result<Manifest> {
    let not_named = match import::resolve(connection, name).await {
        Ok(manifest) => return Ok(manifest),
        Err(error) => error,
    };
    let is_key = name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_key {
        return Err(not_named);
    }
    let key = keys::find(connection, name).await?;
    let manifest = Submitter::new(connection).manifest(&key).await?;
    manifest.with_context(|| {
        format!(
            "job {} has no result yet (`cedm explain {}`)",
            key.short(),
            key.short()
        )
    })
}

/// A sample set as an image set, and the seed of its first image.
fn as_image_set(set: SampleSetResult) -> (ImageSet, u64) {
    let content = set
        .shards
        .iter()
        .map(|shard| shard.object.digest.to_string())
        .collect::<String>();
    let images = ImageSet {
        count: set.count,
        channels: set.channels,
        resolution: set.resolution,
        classes: 0,
        coarse_classes: 0,
        class_names: vec![],
        content: cedm_contract::Digest::of(content.as_bytes()),
        shards: set.shards,
    };
    (images, set.first_seed)
}

/// Downloads the shards into `folder`, each checked against its digest; returns the set with the
/// names of these files.
async fn download(connection: &Connection, mut set: ImageSet, folder: &Path) -> Result<ImageSet> {
    for (index, shard) in set.shards.iter_mut().enumerate() {
        let name = format!("shard-{index:05}.safetensors");
        let (key, file) = (&shard.object.object, folder.join(&name));
        let (size, digest) = connection
            .store()
            .download(key, &file)
            .await?
            .with_context(|| {
                format!("object {key} not found; submit the sweep again to recompute it")
            })?;
        ensure!(
            size == shard.object.size && digest == shard.object.digest,
            "object {key} is damaged: {size} bytes with digest {digest}, expected {} with {}",
            shard.object.size,
            shard.object.digest
        );
        shard.object.object = name;
    }
    Ok(set)
}
