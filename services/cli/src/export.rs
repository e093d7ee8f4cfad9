//! `cedm export`: an image set of the store as an archive that the EDM tools read.

use crate::{
    args::{ExportArgs, Output},
    client, import, render,
};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{ImageSet, JobResult};
use cedm_runtime::Connection;
use std::path::Path;

/// Exports.
///
/// # Errors
/// When there is no such set, the store fails, or the archive cannot be written.
pub fn run(args: &ExportArgs, output: Output) -> Result<()> {
    let out = &args.out;
    ensure!(!out.exists(), "{} exists: name another file", out.display());
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let set = client::block_on(async {
        let connection = client::connect().await?;
        let manifest = import::resolve(&connection, &args.name).await?;
        let JobResult::Import(set) = manifest.result else {
            bail!("the name `{}` belongs to no image set", args.name);
        };
        fetch(&connection, set, folder.path()).await
    })?;
    cedm_images::export_edm_archive(&set, folder.path(), out)?;
    match output {
        Output::Json => crate::say!("{}", serde_json::json!({"out": out, "count": set.count, "content": set.content})),
        Output::Text => crate::say!("{}: {} images", out.display(), render::count(set.count)),
    }
    Ok(())
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
            .with_context(|| format!("object {key} is gone; import the set again"))?;
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
