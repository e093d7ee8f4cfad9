//! `cedm import`: copy an image set into the store, as shards with a manifest, and give it a name.

pub mod args;
pub(crate) mod dataset;
mod upload;

use crate::{args::Output, client, home::Home, render};
use anyhow::{Context, Result, ensure};
pub use args::ImportArgs;
use cedm_contract::{Digest, JobResult, Manifest, is_dataset_name};
use cedm_images::{IMPORT_RECORD, ImageError, ImportOptions, Imported, Progress};
use cedm_runtime::{Submitter, store::ObjectUri};
use cedm_terminal::{outjson, outln};
pub use dataset::{damaged_names, resolve};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Imports an image set and prints a summary. An interrupted import of an unchanged source
/// continues from the files that it has prepared.
///
/// # Errors
/// When the images cannot be read, the name belongs to another image set, or the store fails.
pub fn run(home: &Home, args: &ImportArgs, output: Output) -> Result<()> {
    ensure!(
        is_dataset_name(&args.name),
        "--name `{}`: expected 1 to 48 of a-z, 0-9, `-`, `_` and `.`",
        args.name
    );
    let uri = ObjectUri::parse(&args.path)?;
    let source = match &uri {
        Some(_) => PathBuf::from(&args.path),
        None => std::path::absolute(&args.path)
            .with_context(|| format!("make {} absolute", args.path))?,
    };
    ensure!(uri.is_some() || source.exists(), "{} not found", args.path);
    // Prepared files are kept in a folder named by source, its modification time and the options,
    // so that the same command finds them again after an interruption.
    let modified = fs::metadata(&source)
        .and_then(|about| about.modified())
        .ok();
    let imports = home.path().join("imports");
    remove_abandoned(&imports);
    let folder = imports
        .join(&Digest::of(format!("{source:?} {modified:?} {args:?}").as_bytes()).as_str()[..16]);
    let fetched = folder.with_extension("source");
    let source = match uri {
        Some(uri) if !folder.join(IMPORT_RECORD).is_file() => uri
            .fetch(&fetched)
            .with_context(|| format!("read {}", args.path))?,
        _ => source,
    };
    let outcome = read(&source, args, &folder);
    let lasting = |error: &anyhow::Error| {
        let error = error.downcast_ref::<ImageError>();
        error.is_some_and(ImageError::is_lasting)
    };
    if outcome.as_ref().is_err_and(lasting) && fetched.exists() {
        // The same download would fail again.
        fs::remove_dir_all(&fetched).with_context(|| format!("remove {}", fetched.display()))?;
    }
    let imported = outcome?;
    let manifest = client::block_on(async {
        let connection = client::connect().await?;
        let manifest = upload::upload(&connection, &imported, &folder).await?;
        // Stored by now: whether the name can be had or not, nobody needs the copies any more.
        for temporary in [&folder, &fetched] {
            if temporary.exists() {
                fs::remove_dir_all(temporary)
                    .with_context(|| format!("remove {}", temporary.display()))?;
            }
        }
        dataset::point(&connection, args, &manifest).await?;
        Submitter::new(&connection)
            .publish_done(&manifest, false)
            .await?;
        connection.flush().await;
        anyhow::Ok(manifest)
    })?;
    print(args, &imported, &manifest, output);
    Ok(())
}

/// How long the copies of an interrupted import wait for the same command.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Removes what imports left that nobody continued. What cannot be removed stays: it is in nobody's
/// way, and the next import tries again.
fn remove_abandoned(imports: &Path) {
    for entry in fs::read_dir(imports).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Reads and converts the images into `folder`, unless an earlier call has done so.
fn read(source: &Path, args: &ImportArgs, folder: &Path) -> Result<Imported> {
    if folder.join(IMPORT_RECORD).is_file() {
        // Prepared by an earlier command that was interrupted during the upload.
        return Imported::read(folder)
            .with_context(|| format!("{} is damaged; remove it", folder.display()));
    }
    let options = ImportOptions {
        shard_size: args.shard_size,
        ..args.source.options()
    };
    let bar = ProgressBar::new(0).with_style(style());
    let imported = cedm_images::import(
        source,
        &options,
        folder,
        &mut |Progress { done, total, .. }| {
            bar.set_length(total);
            bar.set_position(done);
        },
    );
    bar.finish_and_clear();
    Ok(imported?)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} images  {per_sec}  {eta} left")
        .expect("invariant: the template is valid")
}

fn print(args: &ImportArgs, imported: &Imported, manifest: &Manifest, output: Output) {
    let JobResult::Import(set) = &manifest.result else {
        return;
    };
    if output == Output::Json {
        outjson!(
            serde_json::json!({"name": args.name, "key": manifest.key, "digest": manifest.digest, "count": set.count, "channels": set.channels,
                "resolution": set.resolution, "classes": set.classes, "shards": set.shards.len(), "skipped": imported.first_skipped(), "skipped_count": imported.skipped.len(),
                "skipped_by_reason": imported.skipped_by_reason(), "summary": imported.summary})
        );
        return;
    }
    outln!(
        "{}: {} images in {} shard{} ({})",
        args.name,
        render::count(set.count),
        set.shards.len(),
        if set.shards.len() == 1 { "" } else { "s" },
        render::duration(Duration::from_secs_f64(imported.seconds)),
    );
    for line in imported.lines() {
        outln!("  {line}");
    }
    if !imported.skipped.is_empty() {
        outln!(
            "  skipped.json of import {} lists all that was left out",
            manifest.key.short()
        );
    }
}
