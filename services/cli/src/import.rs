//! `cedm import`: an image set into the store, as shards under a manifest, with a name that points
//! to it.

use crate::{
    args::{ImportArgs, Output},
    client,
    home::Home,
    render,
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cedm_contract::{
    Attempt, Digest, Input, Job, JobKey, JobResult, JobSpec, Manifest, ObjectRef, Output as File,
    OutputName, SCHEMA_VERSION, Software, Timings,
    kinds::import::{NAMES, SKIPPED},
    output_key,
};
use cedm_images::{ImportOptions, Imported, Progress};
use cedm_runtime::{
    Connection, Submitter,
    store::{Body, ObjectUri},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What a name of an image set points to; at `dataset/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The import's job.
    pub key: JobKey,
}

/// Object key of a name.
pub fn pointer_key(name: &str) -> String {
    format!("dataset/{name}")
}

/// Imports and prints what came of it.
///
/// # Errors
/// When the images cannot be read, the name is taken by others, or the store fails.
pub fn run(home: &Home, args: &ImportArgs, output: Output) -> Result<()> {
    let fits = !args.name.is_empty()
        && args.name.len() <= 48
        && args
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
    ensure!(
        fits,
        "--name `{}`: expected 1 to 48 of a-z, 0-9, `-`, `_` and `.`",
        args.name
    );
    let uri = ObjectUri::parse(&args.path)?;
    let source = match &uri {
        Some(_) => PathBuf::from(&args.path),
        None => std::path::absolute(&args.path)
            .with_context(|| format!("make {} absolute", args.path))?,
    };
    ensure!(
        uri.is_some() || source.exists(),
        "{} does not exist",
        args.path
    );
    // The same source goes on in the same folder when an import was interrupted.
    let age = fs::metadata(&source)
        .and_then(|about| about.modified())
        .ok();
    let folder = home
        .path()
        .join("imports")
        .join(&Digest::of(format!("{source:?} {age:?} {args:?}").as_bytes()).as_str()[..16]);
    let fetched = folder.with_extension("source");
    let source = match uri {
        Some(uri) if !folder.join("import.json").is_file() => uri
            .bring(&fetched)
            .with_context(|| format!("read {}", args.path))?,
        _ => source,
    };
    let imported = read(&source, args, &folder)?;
    let came = client::block_on(async {
        let connection = client::connect().await?;
        let manifest = store(&connection, &imported, &folder).await?;
        point(&connection, args, &manifest).await?;
        Submitter::new(&connection)
            .announce_done(&manifest, false)
            .await?;
        connection.flush().await;
        anyhow::Ok(manifest)
    });
    let manifest = came?;
    for done in [&folder, &fetched] {
        if done.exists() {
            fs::remove_dir_all(done).with_context(|| format!("remove {}", done.display()))?;
        }
    }
    print(args, &imported, &manifest, output);
    Ok(())
}

fn read(source: &Path, args: &ImportArgs, folder: &Path) -> Result<Imported> {
    if let Ok(bytes) = fs::read(folder.join("import.json")) {
        // Read completely before, and not yet stored.
        return serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; remove it", folder.display()));
    }
    let options = ImportOptions {
        resolution: args.resolution,
        framing: args.framing.into(),
        channels: args.channels.into(),
        shard_size: args.shard_size,
        strict: args.strict,
        split: args.split.into(),
        inside: args.inside.clone(),
        ignore_labels: args.ignore_labels,
        max_images: args.max_images,
        ..ImportOptions::default()
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

/// Uploads what is not there yet and commits the manifest.
async fn store(connection: &Connection, imported: &Imported, folder: &Path) -> Result<Manifest> {
    let spec = JobSpec::Import(imported.params());
    let no_inputs: Vec<Input> = Vec::new();
    let key = Job::key_of(&spec, &no_inputs);
    let submitter = Submitter::new(connection);
    if let Some(known) = submitter.manifest_or_discard(spec.kind(), &key).await? {
        return Ok(*known);
    }
    let started_ms = render::now_ms();
    let attempt = Attempt::new(0, 1);
    let mut set = imported.set.clone();
    let mut outputs = Vec::new();
    for shard in &mut set.shards {
        let name = shard.object.object.clone();
        shard.object.object = output_key(&key, &attempt, &name);
        let file = folder.join(&name);
        connection
            .store()
            .put(&shard.object.object, Body::File(&file))
            .await
            .with_context(|| format!("store {}", file.display()))?;
    }
    let names = fs::read(folder.join(NAMES)).context("read the names of the images")?;
    let mut put = async |name: OutputName, bytes: Vec<u8>| {
        let object = ObjectRef {
            object: output_key(&key, &attempt, name.as_str()),
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
        };
        connection
            .store()
            .put(&object.object, Body::Bytes(Bytes::from(bytes)))
            .await?;
        outputs.push(File::new(name, object));
        anyhow::Ok(())
    };
    put(NAMES, names).await?;
    if !imported.skipped.is_empty() {
        put(SKIPPED, serde_json::to_vec_pretty(&imported.skipped)?).await?;
    }
    let result = JobResult::Import(set);
    let finished_ms = render::now_ms();
    let compute_ms = (imported.seconds * 1000.0) as u64;
    let manifest = Manifest {
        schema: SCHEMA_VERSION,
        digest: Manifest::digest_of(&outputs, &result),
        key,
        attempt,
        spec,
        inputs: no_inputs,
        outputs,
        result,
        metrics: [(
            "images_per_second".to_owned(),
            imported.set.count as f64 / imported.seconds.max(1e-9),
        )]
        .into(),
        timings: Timings {
            queued_ms: started_ms,
            started_ms,
            finished_ms,
            compute_ms,
        },
        software: Software {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: String::new(),
            worker: "cli".to_owned(),
            device: "cpu".to_owned(),
        },
    };
    client::commit(connection, manifest).await
}

/// Lets the name point to the import.
async fn point(connection: &Connection, args: &ImportArgs, manifest: &Manifest) -> Result<()> {
    let (store, key) = (connection.store(), pointer_key(&args.name));
    let wanted = serde_json::to_vec(&Pointer {
        key: manifest.key.clone(),
    })?;
    if let Some(bytes) = store.get(&key).await? {
        let known: Pointer =
            serde_json::from_slice(&bytes).with_context(|| format!("object {key} is damaged"))?;
        if known.key == manifest.key {
            return Ok(());
        }
        ensure!(
            args.replace,
            "the name `{}` belongs to another image set (import {}): choose another name, or let \
             it point to this one with --replace; sweeps keep what they were submitted with",
            args.name,
            known.key.short()
        );
    }
    store.put(&key, Body::Bytes(wanted.into())).await?;
    Ok(())
}

/// The import behind a name.
///
/// # Errors
/// When there is none, or the store fails.
pub async fn resolve(connection: &Connection, name: &str) -> Result<Manifest> {
    let store = connection.store();
    let Some(bytes) = store.get(&pointer_key(name)).await? else {
        let listed = store.list("dataset/").await?;
        let names: Vec<&str> = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix("dataset/"))
            .collect();
        let hint = if names.is_empty() {
            "nothing has been imported yet".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        anyhow::bail!("no image set is called `{name}`; {hint} (`cedm import PATH --name {name}`)");
    };
    let pointer: Pointer = serde_json::from_slice(&bytes)
        .with_context(|| format!("object dataset/{name} is damaged"))?;
    let manifest = Submitter::new(connection).manifest(&pointer.key).await?;
    manifest.with_context(|| {
        format!(
            "image set `{name}`: its import {} is gone or damaged; import it again",
            pointer.key.short()
        )
    })
}

fn print(args: &ImportArgs, imported: &Imported, manifest: &Manifest, output: Output) {
    let JobResult::Import(set) = &manifest.result else {
        return;
    };
    if output == Output::Json {
        crate::say!(
            "{}",
            serde_json::json!({"name": args.name, "key": manifest.key, "digest": manifest.digest, "count": set.count, "channels": set.channels,
                "resolution": set.resolution, "classes": set.classes, "shards": set.shards.len(), "skipped": imported.skipped})
        );
        return;
    }
    let labels = if set.classes == 0 {
        "no labels".to_owned()
    } else {
        format!("{} classes", set.classes)
    };
    crate::say!(
        "{}: {} images, {}×{}, {} channel{}, {labels}, in {} shard{} ({})",
        args.name,
        render::count(set.count),
        set.resolution,
        set.resolution,
        set.channels,
        if set.channels == 1 { "" } else { "s" },
        set.shards.len(),
        if set.shards.len() == 1 { "" } else { "s" },
        render::duration(Duration::from_secs_f64(imported.seconds)),
    );
    for skipped in imported.skipped.iter().take(5) {
        crate::say!("  left out {}: {}", skipped.name, skipped.reason);
    }
    if imported.skipped.len() > 5 {
        crate::say!(
            "  and {} more; all are in skipped.json of import {}",
            imported.skipped.len() - 5,
            manifest.key.short()
        );
    }
}
