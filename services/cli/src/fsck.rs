//! `cedm fsck`: every object that a manifest names is read, and its size and digest compared.

use crate::{
    args::{FsckArgs, Output},
    client, render,
    sweeps::Reader,
};
use anyhow::{Context, Result};
use cedm_contract::{Digest, JobKey, Manifest, ObjectRef, manifest_key};
use cedm_runtime::{objects_of, store::Store};
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

/// Checks; a failure for the shell when something is broken.
///
/// # Errors
/// When the store fails.
pub fn run(args: &FsckArgs, output: Output) -> Result<ExitCode> {
    client::block_on(async {
        let connection = client::connect().await?;
        let keys: Vec<JobKey> = match &args.sweep {
            Some(sweep) => Reader::new(&connection).view(&sweep.parse()?).await?.done(),
            None => {
                let listed = connection.store().list("manifest/").await?;
                listed
                    .iter()
                    .filter_map(|object| object.key.strip_prefix("manifest/")?.parse().ok())
                    .collect()
            }
        };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} manifests  {eta} left").expect("invariant: the template is valid");
        let bar = ProgressBar::new(keys.len() as u64).with_style(style);
        let (mut objects, mut bytes, mut broken) = (0u64, 0u64, Vec::new());
        for key in &keys {
            match check(connection.store().as_ref(), key)
                .await
                .with_context(|| format!("check {key}"))?
            {
                Ok(sound) => {
                    objects += sound.len() as u64;
                    bytes += sound.iter().map(|object| object.size).sum::<u64>();
                }
                Err(reason) => broken.push((key.clone(), reason)),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        match output {
            Output::Json => {
                let broken: Vec<_> = broken
                    .iter()
                    .map(|(key, reason)| serde_json::json!({"key": key, "reason": reason}))
                    .collect();
                crate::say!(
                    "{}",
                    serde_json::json!({"manifests": keys.len(), "objects": objects, "bytes": bytes, "broken": broken})
                );
            }
            Output::Text => {
                for (key, reason) in &broken {
                    crate::say!("broken {}: {reason}", key.short());
                }
                let sound = keys.len() - broken.len();
                crate::say!(
                    "{sound} manifests with {} objects ({}) are sound, {} broken",
                    render::count(objects),
                    render::bytes(bytes),
                    broken.len()
                );
                if !broken.is_empty() {
                    crate::say!("submit the sweeps that need them again: what is broken is discarded then, and made again");
                }
            }
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The objects of a manifest, or what is wrong with one of them.
async fn check(store: &dyn Store, key: &JobKey) -> Result<Result<Vec<ObjectRef>, String>> {
    let Some(bytes) = store.get(&manifest_key(key)).await? else {
        return Ok(Err("its manifest is gone".to_owned()));
    };
    let manifest = match Manifest::decode(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if manifest.key != *key {
        return Ok(Err(format!("its manifest is that of {}", manifest.key)));
    }
    let objects: Vec<ObjectRef> = objects_of(&manifest).into_iter().cloned().collect();
    for object in &objects {
        if let Some(reason) = flaw(store, object).await? {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(objects))
}

/// Pieces in which objects are read.
const PIECE_BYTES: u64 = 8 << 20;

/// What is wrong with an object, if anything.
async fn flaw(store: &dyn Store, object: &ObjectRef) -> Result<Option<String>> {
    match store.size(&object.object).await? {
        None => return Ok(Some(format!("object `{}` is missing", object.object))),
        Some(size) if size != object.size => {
            return Ok(Some(format!(
                "object `{}` has {size} bytes, {} expected",
                object.object, object.size
            )));
        }
        Some(_) => {}
    }
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    while at < object.size {
        let piece = store.get_range(&object.object, at..object.size.min(at + PIECE_BYTES)).await?;
        let Some(piece) = piece.filter(|piece| !piece.is_empty()) else {
            return Ok(Some(format!("object `{}` ends at byte {at}", object.object)));
        };
        at += piece.len() as u64;
        hasher.update(&piece);
    }
    let digest = Digest::finish(&hasher);
    Ok((digest != object.digest).then(|| format!("object `{}` has digest {digest}, {} expected", object.object, object.digest)))
}
