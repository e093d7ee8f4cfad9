//! `cedm sets`: list, show and remove image sets.

use crate::{
    args::Output,
    client,
    import::{self, dataset},
    render,
    sweeps::{Entry, Reader},
};
use anyhow::{Result, ensure};
use cedm_contract::{JobKey, JobResult, Manifest, kinds::import::ImageSet};
use cedm_runtime::{Connection, Submitter};
use cedm_terminal::{outjson, outln};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Subcommands of `cedm sets`.
#[derive(Subcommand, Debug)]
pub enum SetsCommand {
    /// List all image sets with their size and the sweeps that use them
    List,
    /// Show one image set: classes, shards, digest
    Show {
        /// Name of the image set, as `cedm sets list` shows it
        name: String,
    },
    /// Remove the name of an image set. Sweeps that use the images keep them; images that no sweep
    /// uses are collected by `cedm gc`
    Rm {
        /// Name of the image set, as `cedm sets list` shows it
        name: String,
    },
}

/// Lists, shows or removes image sets.
///
/// # Errors
/// When the name is unknown, or NATS or the store fails.
pub fn run(command: &SetsCommand, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        match command {
            SetsCommand::List => list(&connection, output).await,
            SetsCommand::Show { name } => show(&connection, name, output).await,
            SetsCommand::Rm { name } => remove(&connection, name, output).await,
        }
    })
}

/// The names of the sweeps that use an import, by its key.
async fn users(connection: &Connection) -> Result<BTreeMap<JobKey, Vec<String>>> {
    let mut users: BTreeMap<JobKey, Vec<String>> = BTreeMap::new();
    for entry in Reader::new(connection).entries().await? {
        if let Entry::Readable(view) = &entry {
            let sweep = &view.sweep;
            for key in sweep.image_sets() {
                let names = users.entry(key.clone()).or_default();
                names.push(sweep.id.to_string());
            }
        }
    }
    Ok(users)
}

fn images(manifest: &Manifest) -> Option<&ImageSet> {
    match &manifest.result {
        JobResult::Import(set) => Some(set),
        _ => None,
    }
}

fn size(set: &ImageSet) -> u64 {
    set.shards.iter().map(|shard| shard.object.size).sum()
}

/// `3×32×32`.
fn shape(set: &ImageSet) -> String {
    format!("{}×{}×{}", set.channels, set.resolution, set.resolution)
}

async fn list(connection: &Connection, output: Output) -> Result<()> {
    let (names, users) = (dataset::names(connection).await?, users(connection).await?);
    let submitter = Submitter::new(connection);
    let mut table = render::table(&[
        "name", "images", "shape", "classes", "size", "imported", "used by",
    ]);
    let (mut rows, mut sentences) = (Vec::new(), Vec::new());
    for (name, found) in &names {
        let key = match found {
            Ok(key) => key,
            Err(reason) => {
                rows.push(json!({"name": name, "damaged": reason}));
                sentences.push(dataset::damaged(name, reason));
                continue;
            }
        };
        let manifest = submitter.manifest(key).await?;
        let Some((manifest, set)) = manifest.as_ref().and_then(|m| Some((m, images(m)?))) else {
            let reason = format!("its import {} is missing or damaged", key.short());
            rows.push(json!({"name": name, "key": key, "damaged": reason}));
            sentences.push(format!("image set `{name}`: {reason}; import it again"));
            continue;
        };
        let used_by = users.get(key).cloned().unwrap_or_default();
        rows.push(row(name, manifest, set, &used_by));
        table.add_row([
            name.as_str(),
            &render::count(set.count),
            &shape(set),
            &render::count(set.classes.into()),
            &render::bytes(size(set)),
            &format!("{} ago", render::since(manifest.timings.finished_ms)),
            &used_by.join(", "),
        ]);
    }
    match output {
        Output::Json => outjson!(Value::Array(rows)),
        Output::Text if names.is_empty() => {
            outln!("no image set has been imported yet (`cedm import PATH --name NAME`)");
        }
        Output::Text => {
            if names.len() > sentences.len() {
                table.print();
            }
            sentences.iter().for_each(|sentence| outln!("{sentence}"));
        }
    }
    Ok(())
}

fn row(name: &str, manifest: &Manifest, set: &ImageSet, used_by: &[String]) -> Value {
    json!({"name": name, "key": manifest.key, "digest": manifest.digest, "content": set.content, "count": set.count,
        "channels": set.channels, "resolution": set.resolution, "classes": set.classes, "class_names": set.class_names,
        "coarse_classes": set.coarse_classes, "shards": set.shards.len(), "bytes": size(set),
        "imported_ms": manifest.timings.finished_ms, "used_by": used_by})
}

async fn show(connection: &Connection, name: &str, output: Output) -> Result<()> {
    let manifest = import::resolve(connection, name).await?;
    let set = images(&manifest);
    ensure!(
        set.is_some(),
        "image set `{name}` points to {}, which is not an import",
        manifest.key.short()
    );
    let users = users(connection).await?;
    let used_by = users.get(&manifest.key).cloned().unwrap_or_default();
    if let Some(set) = set {
        if output == Output::Json {
            outjson!(row(name, &manifest, set, &used_by));
            return Ok(());
        }
        outln!("name      {name}");
        outln!("images    {} of {}", render::count(set.count), shape(set));
        outln!(
            "stored    {}, shards: {}",
            render::bytes(size(set)),
            set.shards.len()
        );
        outln!("classes   {}", classes(set));
        outln!(
            "imported  {} ago",
            render::since(manifest.timings.finished_ms)
        );
        outln!("content   {}", set.content);
        outln!("import    {}", manifest.key);
        let used_by = if used_by.is_empty() {
            "no sweep".to_owned()
        } else {
            used_by.join(", ")
        };
        outln!("used by   {used_by}");
    }
    Ok(())
}

/// Most class names that are shown.
const SHOWN_CLASSES: usize = 20;

fn classes(set: &ImageSet) -> String {
    if set.classes == 0 {
        return "none: the images have no labels".to_owned();
    }
    let shown: Vec<&str> = set
        .class_names
        .iter()
        .map(String::as_str)
        .take(SHOWN_CLASSES)
        .collect();
    let more = match set.class_names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match shown.is_empty() {
        true => render::count(set.classes.into()),
        false => format!(
            "{}: {}{more}",
            render::count(set.classes.into()),
            shown.join(", ")
        ),
    }
}

async fn remove(connection: &Connection, name: &str, output: Output) -> Result<()> {
    let is_removed = dataset::remove_name(connection, name).await?;
    ensure!(
        is_removed,
        "image set `{name}` not found; `cedm sets list` lists all"
    );
    match output {
        Output::Json => outjson!(json!({"name": name, "removed": true})),
        Output::Text => outln!(
            "the name {name} is removed; images that no sweep uses stay until `cedm gc` collects them"
        ),
    }
    Ok(())
}
