//! `cedm submit`: check a sweep file, resolve its names, upload its files, write the sweep once.

use crate::{
    args::Output,
    client, import, render,
    sweeps::{Reader, Submitted},
};
use anyhow::{Context, Result};
use cedm_contract::{Digest, ObjectRef, SweepId, blob_key};
use cedm_runtime::{
    Connection,
    store::{Body, ObjectUri},
};
use cedm_sweep::{SWEEP_FILE_LIMIT, Sweep, SweepSpec};
use cedm_terminal::{outjson, outln};
use clap::Args;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Options of `cedm submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// The sweep file to submit, TOML
    pub file: PathBuf,
    /// The sweep's name; by default the `name` in the file, else the file's own name
    #[arg(long)]
    pub name: Option<String>,
    /// Print the jobs, which of them are cached, and an estimate of the work; submit nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Submits a sweep, or prints what submitting would do.
///
/// # Errors
/// When the file is wrong, a name in it is unknown, or the sweep's name belongs to another spec.
pub fn run(args: &SubmitArgs, output: Output) -> Result<()> {
    let file = &args.file;
    let toml = cedm_runtime::read_text_file(file, SWEEP_FILE_LIMIT).with_context(|| format!("read {}", file.display()))?;
    let spec = SweepSpec::parse(&toml)
        .map_err(|error| anyhow::anyhow!("{} cannot be used:\n{error}", file.display()))?;
    let id = name(args, &spec)?;
    client::block_on(async {
        let connection = client::connect().await?;
        let sweep = resolve(&connection, file, id, spec, toml, args.dry_run).await?;
        let mut reader = Reader::new(&connection);
        if args.dry_run {
            return crate::dry_run::print(&mut reader, &sweep, output).await;
        }
        let submitted = reader.submit(&sweep).await?;
        connection.flush().await;
        print(&sweep.id, submitted, output)
    })
}

/// `--name`, else the file's own, else that of the file.
fn name(args: &SubmitArgs, spec: &SweepSpec) -> Result<SweepId> {
    if let Some(name) = &args.name {
        return Ok(name.parse()?);
    }
    if let Some(name) = &spec.name {
        return Ok(name.clone());
    }
    let stem = args
        .file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    stem.parse().with_context(|| {
        format!(
            "{} cannot serve as the sweep's name: add `name = \"…\"` to the file or use --name",
            args.file.display()
        )
    })
}

async fn resolve(
    connection: &Connection,
    file: &Path,
    id: SweepId,
    mut spec: SweepSpec,
    toml: String,
    dry_run: bool,
) -> Result<Sweep> {
    let images = import::resolve(connection, &spec.image_set).await?.key;
    let test_images = match &spec.test_set {
        Some(name) => Some(import::resolve(connection, name).await?.key),
        None => None,
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut stored = BTreeMap::new();
    let fetched = tempfile::tempdir().context("make a temporary folder")?;
    for path in spec.files() {
        let local = match ObjectUri::parse(&path)? {
            None => folder.join(&path),
            Some(uri) => {
                let to = fetched.path().join(stored.len().to_string());
                let downloaded = tokio::task::spawn_blocking(move || uri.fetch(&to))
                    .await
                    .context("wait for a download")?;
                downloaded.with_context(|| format!("file `{path}` of the sweep"))?
            }
        };
        stored.insert(
            path.clone(),
            store_file(connection, &local, dry_run)
                .await
                .with_context(|| format!("file `{path}` of the sweep"))?,
        );
    }
    spec.store_files(&stored);
    Ok(Sweep::new(
        id,
        spec,
        images,
        test_images,
        render::now_ms(),
        toml,
    ))
}

/// The reference to a user's file in the store, where its digest is its name; uploaded unless it is
/// stored already.
async fn store_file(connection: &Connection, path: &Path, dry_run: bool) -> Result<ObjectRef> {
    let digest = {
        let mut hasher = blake3::Hasher::new();
        let mut source =
            fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
        std::io::copy(&mut source, &mut hasher)
            .with_context(|| format!("read {}", path.display()))?;
        Digest::finish(&hasher)
    };
    let size = fs::metadata(path)
        .with_context(|| format!("read {}", path.display()))?
        .len();
    let object = ObjectRef {
        object: blob_key(&digest),
        size,
        digest,
    };
    if !dry_run && connection.store().size(&object.object).await? != Some(size) {
        connection
            .store()
            .put(&object.object, Body::File(path))
            .await
            .with_context(|| format!("store {}", path.display()))?;
    }
    Ok(object)
}

fn print(id: &SweepId, submitted: Submitted, output: Output) -> Result<()> {
    let attached = submitted == Submitted::Attached;
    match output {
        Output::Json => outjson!(json!({"sweep": id, "attached": attached})),
        Output::Text if attached => outln!(
            "sweep {id} was submitted before with the same spec; follow it with `cedm watch {id}`"
        ),
        Output::Text => outln!("sweep {id} submitted; follow it with `cedm watch {id}`"),
    }
    Ok(())
}
