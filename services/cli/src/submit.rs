//! `cedm submit`: check a sweep file, resolve its names, upload its files, write the sweep once.

mod files;

use crate::{
    args::Output,
    client, import,
    sweeps::{Reader, Submitted},
};
use anyhow::{Context, Result};
use cedm_contract::{Digest, JobResult, Manifest, ObjectRef, SweepId, blob_key};
use cedm_planner::obstacles;
use cedm_runtime::{
    Connection, now_ms, read_text_file,
    store::{Body, ObjectUri},
};
use cedm_sweep::{MAX_FILE_BYTES, Sweep, SweepSpec, lifecycle::Phase};
use cedm_terminal::{outjson, outln};
use clap::Args;
use files::Allowed;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
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
    /// Upload files that the sweep file names only from below this folder or s3:// prefix, links
    /// resolved; may be repeated. For sweep files of strangers: without it any file of weights or
    /// cluster ids that this user can read is taken
    #[arg(
        long,
        value_name = "DIR",
        env = "CEDM_SUBMIT_FILES",
        value_delimiter = ','
    )]
    pub files_below: Vec<String>,
}

/// Submits a sweep, or prints what submitting would do.
///
/// # Errors
/// When the file is wrong, a name in it is unknown, or the sweep's name belongs to another spec.
pub fn run(args: &SubmitArgs, output: Output) -> Result<()> {
    let file = &args.file;
    let toml = read_text_file(file, MAX_FILE_BYTES as u64)
        .with_context(|| format!("read {}", file.display()))?;
    let spec = SweepSpec::parse(&toml)
        .map_err(|error| anyhow::anyhow!("{} cannot be used:\n{error}", file.display()))?;
    let id = name(args, &spec)?;
    let allowed = Allowed::below(&args.files_below)?;
    client::block_on(async {
        let connection = client::connect().await?;
        let upload = Upload {
            connection: &connection,
            folder: file.parent().unwrap_or(Path::new("")),
            allowed,
            dry_run: args.dry_run,
        };
        let (sweep, images) = upload.resolve(id, spec, toml).await?;
        let mut reader = Reader::new(&connection);
        if args.dry_run {
            return crate::dry_run::print(&mut reader, &sweep, images, output).await;
        }
        crate::dry_run::require_sendable(&reader.plan(&sweep).await?)?;
        let submitted = reader.submit(&sweep).await?;
        let view = reader.view(&sweep.id).await?;
        crate::dead::forget_unreadable(&connection, &view).await?;
        connection.flush().await;
        print(&sweep.id, submitted, output)
    })
}

/// Refuses a sweep that is sure to fail on these images: it would spend hours on what comes before.
/// Returns their number.
fn require_possible(spec: &SweepSpec, images: &Manifest, test: Option<&Manifest>) -> Result<u64> {
    let set = |manifest: &Manifest| match &manifest.result {
        JobResult::Import(set) => Ok(set.clone()),
        _ => anyhow::bail!("{} is not an import of images", manifest.key.short()),
    };
    let test = test.map(set).transpose()?;
    let images = set(images)?;
    let found = obstacles(spec, &images, test.as_ref());
    anyhow::ensure!(
        found.is_empty(),
        "this sweep cannot run on these images:\n{}",
        found.join("\n")
    );
    Ok(images.count)
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

/// The upload of the files that a sweep file names.
struct Upload<'a> {
    connection: &'a Connection,
    /// The sweep file's folder.
    folder: &'a Path,
    allowed: Allowed,
    /// Whether nothing is stored.
    dry_run: bool,
}

impl Upload<'_> {
    /// The sweep with its image sets and files resolved to objects of the store, and its number of
    /// images.
    async fn resolve(
        &self,
        id: SweepId,
        mut spec: SweepSpec,
        toml: String,
    ) -> Result<(Sweep, u64)> {
        let images = import::resolve(self.connection, &spec.image_set).await?;
        let test_images = match &spec.test_set {
            Some(name) => Some(import::resolve(self.connection, name).await?),
            None => None,
        };
        let count = require_possible(&spec, &images, test_images.as_ref())?;
        // All are looked at before the first is uploaded.
        let (mut opened, fetched) = (Vec::new(), tempfile::tempdir());
        let fetched = fetched.context("make a temporary folder")?;
        for (path, contents) in files::of(&spec) {
            let file = match ObjectUri::parse(&path)? {
                None => files::open(&self.folder.join(&path), &contents, Some(&self.allowed)),
                Some(uri) => {
                    let to = fetched.path().join(opened.len().to_string());
                    match self.fetch(uri, to).await {
                        Ok(local) => files::open(&local, &contents, None),
                        Err(error) => Err(error),
                    }
                }
            };
            let file = file.with_context(|| format!("file `{path}` of the sweep"))?;
            opened.push((path, file));
        }
        let mut stored = BTreeMap::new();
        for (path, file) in opened {
            let object = self.store_file(&file).await;
            let object = object.with_context(|| format!("file `{path}` of the sweep"))?;
            stored.insert(path, object);
        }
        spec.store_files(&stored);
        let submitted_ms = now_ms();
        let test_key = test_images.map(|test| test.key);
        let sweep = Sweep::new(id, spec, images.key, test_key, submitted_ms, toml);
        Ok((sweep, count))
    }

    async fn fetch(&self, uri: ObjectUri, to: PathBuf) -> Result<PathBuf> {
        self.allowed.check_uri(&uri)?;
        let downloaded = tokio::task::spawn_blocking(move || uri.fetch(&to)).await;
        Ok(downloaded.context("wait for a download")??)
    }

    /// The reference to a user's file in the store, where its digest is its name; uploaded unless
    /// it is stored already.
    async fn store_file(&self, file: &File) -> Result<ObjectRef> {
        let (size, digest) = Digest::of_reader(file).context("read it")?;
        let object = ObjectRef {
            object: blob_key(&digest),
            size,
            digest,
        };
        let store = self.connection.store();
        if !self.dry_run && store.size(&object.object).await? != Some(size) {
            // By its handle: the path may name another file by now.
            store
                .put(&object.object, Body::File(&files::by_handle(file)))
                .await
                .context("store it")?;
        }
        Ok(object)
    }
}

fn print(id: &SweepId, submitted: Submitted, output: Output) -> Result<()> {
    let follow = format!("follow it with `cedm watch {id}`");
    match (output, submitted) {
        (Output::Json, _) => {
            let (attached, reopened, found) = match submitted {
                Submitted::New => (false, false, None),
                Submitted::Attached(phase) => (true, false, Some(phase)),
                Submitted::Reopened(phase) => (true, true, Some(phase)),
            };
            // The state in which it was found; absent for a new one.
            outjson!(
                json!({"sweep": id, "attached": attached, "reopened": reopened, "found": found})
            );
        }
        (Output::Text, Submitted::New) => outln!("sweep {id} submitted; {follow}"),
        (Output::Text, Submitted::Reopened(phase)) => outln!(
            "sweep {id} was submitted before with the same spec and was {phase}: it runs again, and \
             what it still has is reused; {follow}"
        ),
        (Output::Text, Submitted::Attached(Phase::Complete)) => outln!(
            "sweep {id} was submitted before with the same spec and is complete: `cedm report {id} \
             --out DIR` writes its report"
        ),
        (Output::Text, Submitted::Attached(phase)) => {
            outln!("sweep {id} was submitted before with the same spec and is {phase}; {follow}")
        }
    }
    Ok(())
}
