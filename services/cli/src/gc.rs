//! `cedm gc`: find and delete what nobody needs any more.

use crate::{
    args::Output,
    client,
    import::dataset,
    render,
    sweeps::{Entry, Reader},
};
use anyhow::Result;
use cedm_contract::manifest_key;
use cedm_runtime::store::Listed;
use cedm_runtime::{
    Ages, Connection, DeadLetters, Garbage, Roots, Submitter, UnneededResult, now_ms, survey,
    workers,
};
use cedm_terminal::{outjson, outln};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::time::Duration;

/// Requests that delete at the same time.
const CONCURRENCY: usize = 16;

/// Options of `cedm gc`.
#[derive(Args, Debug)]
pub struct GcArgs {
    /// Delete what is found; without it, only say what would be deleted
    #[arg(long)]
    pub delete: bool,
    /// Age of what superseded and abandoned attempts left behind, and of checkpoints of finished
    /// jobs: `24h`, `7d`
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = humantime::parse_duration)]
    pub left_after: Duration,
    /// Age of results, checkpoints and uploaded files that no sweep and no image set needs
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = humantime::parse_duration)]
    pub unneeded_after: Duration,
}

/// Says what nobody needs, and deletes it on request. Results of every sweep that `cedm status`
/// lists stay, with all that they were made from; of one that is not complete, all that was made
/// from its images. `cedm rm` takes a sweep off that list.
///
/// # Errors
/// When NATS or the store fails; collect again then.
pub fn run(args: &GcArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} manifests  {eta} left")
            .expect("invariant: the template is valid");
        let bar = ProgressBar::new(0).with_style(style);
        let ages = Ages {
            left: args.left_after,
            unneeded: args.unneeded_after,
        };
        let roots = async || roots(&connection).await;
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let garbage = survey(connection.store(), roots, ages, now_ms(), progress).await?;
        bar.finish_and_clear();
        if args.delete {
            delete(&connection, &garbage).await?;
            connection.flush().await;
        }
        print(&garbage, args.delete, output);
        Ok(())
    })
}

/// What must not be collected: what sweeps, image sets, queued jobs and dead letters name.
async fn roots(connection: &Connection) -> Result<Roots> {
    let mut roots = Roots::default();
    // Before the sweeps: a job that is queued meanwhile belongs to one of them.
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let running = workers(connection).await?;
    let running = running.into_iter().filter_map(|worker| worker.job);
    roots.open = outstanding
        .into_iter()
        .map(|job| job.key)
        .chain(running)
        .collect();
    for letter in DeadLetters::new(connection).list().await? {
        let inputs = letter.job.into_iter().flat_map(|job| job.inputs);
        roots.keys.extend(inputs.map(|input| input.key));
    }
    for entry in Reader::new(connection).entries().await? {
        let view = match &entry {
            Entry::Readable(view) => view,
            Entry::Unreadable(unreadable) => {
                let (id, reason) = (&unreadable.id, &unreadable.reason);
                roots.doubts.push(format!(
                    "sweep {id} cannot be read, so that what it needs is unknown: {reason}"
                ));
                continue;
            }
        };
        let keys = view.keys().chain(view.sweep.image_sets());
        roots.keys.extend(keys.cloned());
        let record = view.sweep.encode();
        roots
            .texts
            .push(String::from_utf8_lossy(&record).into_owned());
        let report = view.report(connection).await?;
        if report.is_none() {
            roots.sources.extend(view.sweep.image_sets().cloned());
        }
        roots.keys.extend(report);
    }
    for (name, import) in dataset::names(connection).await? {
        match import {
            Ok(key) => {
                roots.keys.insert(key);
            }
            Err(reason) => roots.doubts.push(dataset::damaged(&name, &reason)),
        }
    }
    Ok(roots)
}

/// Deletes what was found: of a result the manifest first, so that none is ever seen without its
/// objects.
async fn delete(connection: &Connection, garbage: &Garbage) -> Result<()> {
    let (store, submitter) = (connection.store(), &Submitter::new(connection));
    futures::stream::iter(&garbage.results)
        .map(|result| async move {
            let key = manifest_key(&result.key);
            let now = store.list(&key).await?;
            let is_same = now
                .iter()
                .any(|object| object.key == key && object.modified_ms == result.modified_ms);
            if !is_same {
                return Ok(()); // made anew meanwhile, so somebody wants it
            }
            store.delete(&key).await?;
            let reason = "no sweep needed it (cedm gc)";
            submitter
                .publish_discarded(result.kind, &result.key, reason)
                .await?;
            for object in &result.objects {
                store.delete(&object.key).await?;
            }
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    let others = [
        &garbage.attempts,
        &garbage.checkpoints,
        &garbage.blobs,
        &garbage.suspects,
    ];
    futures::stream::iter(others.into_iter().flatten())
        .map(|object| async move { anyhow::Ok(store.delete(&object.key).await?) })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

fn sum(objects: &[Listed]) -> u64 {
    objects.iter().map(|object| object.size).sum()
}

/// What is found, with the number of things and their bytes.
fn rows(garbage: &Garbage) -> Vec<(&'static str, &'static str, usize, u64)> {
    let results = garbage
        .results
        .iter()
        .map(|result: &UnneededResult| result.manifest_bytes + sum(&result.objects));
    let (attempts, checkpoints) = (&garbage.attempts, &garbage.checkpoints);
    let (blobs, suspects) = (&garbage.blobs, &garbage.suspects);
    vec![
        (
            "attempts",
            "objects of superseded and abandoned attempts",
            attempts.len(),
            sum(attempts),
        ),
        (
            "checkpoints",
            "checkpoints that nobody continues from",
            checkpoints.len(),
            sum(checkpoints),
        ),
        (
            "results",
            "results that no sweep and no image set needs",
            garbage.results.len(),
            results.sum(),
        ),
        (
            "files",
            "uploaded files that nothing names",
            blobs.len(),
            sum(blobs),
        ),
        (
            "suspects",
            "copies of broken manifests",
            suspects.len(),
            sum(suspects),
        ),
    ]
}

fn print(garbage: &Garbage, deleted: bool, output: Output) {
    let rows = rows(garbage);
    let (count, bytes) = rows
        .iter()
        .fold((0, 0), |(count, bytes), row| (count + row.2, bytes + row.3));
    if output == Output::Json {
        let found: serde_json::Map<_, _> = rows
            .iter()
            .map(|(name, _, count, bytes)| {
                ((*name).to_owned(), json!({"count": count, "bytes": bytes}))
            })
            .collect();
        let results: Vec<_> = garbage
            .results
            .iter()
            .map(|result| json!({"key": result.key, "kind": result.kind}))
            .collect();
        outjson!(
            json!({"deleted": deleted, "found": found, "results": results, "bytes": bytes, "kept_since": garbage.doubts})
        );
        return;
    }
    for doubt in &garbage.doubts {
        outln!("{doubt}; results and files that may be unneeded are left alone");
    }
    if count == 0 {
        outln!("nothing to collect");
        return;
    }
    let mut table = render::table(&["what", "number", "size"]);
    for (_, what, count, bytes) in rows.iter().filter(|row| row.2 > 0) {
        table.add_row([*what, &render::count(*count as u64), &render::bytes(*bytes)]);
    }
    table.print();
    let size = render::bytes(bytes);
    if deleted {
        outln!("{size} deleted");
    } else {
        outln!("{size} in all; nothing was deleted: `cedm gc --delete` does");
    }
}
