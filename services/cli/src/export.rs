//! `cedm export`: images of the store as files that other programs read.

use crate::{
    args::{ExportArgs, Output},
    client, import, keys, render,
};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{
    JobResult, Manifest,
    kinds::{import::ImageSet, sample_set::SampleSetResult},
};
use cedm_runtime::{Connection, Submitter};
use std::path::Path;

/// Exports an image set by its name, or a sample set by the key of its job. The ending of `--out`
/// says as what.
///
/// # Errors
/// When there is no such set, the store fails, or the files cannot be written.
pub fn run(args: &ExportArgs, output: Output) -> Result<()> {
    let out = &args.out;
    ensure!(!out.exists(), "{} exists: name another file", out.display());
    let form = Form::of(out)?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let (set, first_seed) = client::block_on(async {
        let connection = client::connect().await?;
        let (set, first_seed) = match find(&connection, &args.name).await?.result {
            JobResult::Import(set) => (set, 0),
            JobResult::SampleSet(set) => generated(set),
            _ => bail!("`{}` is neither an image set nor a sample set", args.name),
        };
        anyhow::Ok((fetch(&connection, set, folder.path()).await?, first_seed))
    })?;
    match form {
        Form::Archive => cedm_images::export_edm_archive(&set, folder.path(), out)?,
        Form::Array => cedm_images::export_npz(&set, folder.path(), out)?,
        Form::Folder => cedm_images::export_folder(&set, folder.path(), first_seed, out)?,
    }
    match output {
        Output::Json => crate::say!(
            "{}",
            serde_json::json!({"out": out, "count": set.count, "content": set.content})
        ),
        Output::Text => crate::say!("{}: {} images", out.display(), render::count(set.count)),
    }
    Ok(())
}

/// What is written.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// A zip archive in the EDM layout.
    Archive,
    /// npz with `arr_0`.
    Array,
    /// PNGs by seed.
    Folder,
}

impl Form {
    fn of(out: &Path) -> Result<Self> {
        match out
            .extension()
            .map(|ending| ending.to_string_lossy())
            .as_deref()
        {
            Some("zip") => Ok(Self::Archive),
            Some("npz") => Ok(Self::Array),
            None => Ok(Self::Folder),
            Some(other) => bail!(
                "--out ends in .{other}: expected .zip (EDM archive), .npz, or no ending for a \
                 folder of PNGs"
            ),
        }
    }
}

/// The import behind the name of an image set, else the job with this key.
async fn find(connection: &Connection, name: &str) -> Result<Manifest> {
    let unnamed = match import::resolve(connection, name).await {
        Ok(manifest) => return Ok(manifest),
        Err(error) => error,
    };
    let is_key = name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_key {
        return Err(unnamed);
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

/// A sample set as the images that it is, and the seed of the first.
fn generated(set: SampleSetResult) -> (ImageSet, u64) {
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

/// The set with its shards as files in `folder`, each checked against its digest.
async fn fetch(connection: &Connection, mut set: ImageSet, folder: &Path) -> Result<ImageSet> {
    for (index, shard) in set.shards.iter_mut().enumerate() {
        let name = format!("shard-{index:05}.safetensors");
        let (key, file) = (&shard.object.object, folder.join(&name));
        let (size, digest) = connection
            .store()
            .download(key, &file)
            .await?
            .with_context(|| format!("object {key} is gone: make the set again"))?;
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
