//! Upload of an imported image set: its objects, then its manifest.

use crate::client;
use anyhow::{Context, Result};
use bytes::Bytes;
use cedm_contract::{
    Attempt, Digest, Hints, Job, JobResult, JobSpec, Manifest, ObjectRef, Output as File,
    OutputName, Priority, Software, Timings,
    kinds::import::{NAMES, SKIPPED},
    output_key, run_metrics,
};
use cedm_images::Imported;
use cedm_runtime::{ComputeDevice, Connection, Submitter, now_ms, software, store::Body};
use std::{fs, path::Path};

/// Uploads the objects and commits the manifest, unless the same import is stored already.
pub(super) async fn upload(
    connection: &Connection,
    imported: &Imported,
    folder: &Path,
) -> Result<Manifest> {
    let spec = JobSpec::Import(imported.params());
    let job = Job::new(spec, Vec::new(), Priority::default(), Hints::default());
    let submitter = Submitter::new(connection);
    if let Some(known) = submitter.manifest_or_discard(job.kind(), &job.key).await? {
        return Ok(*known);
    }
    let started_ms = now_ms();
    let attempt = Attempt::new(0, 1);
    let mut set = imported.set.clone();
    let mut outputs = Vec::new();
    for shard in &mut set.shards {
        let name = shard.object.object.clone();
        shard.object.object = output_key(&job.key, &attempt, &name);
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
            object: output_key(&job.key, &attempt, name.as_str()),
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
        };
        connection
            .store()
            .put(&object.object, Body::Bytes(Bytes::from(bytes)))
            .await?;
        outputs.push(File {
            name: name.to_string(),
            object,
            volatile: name.is_volatile(),
        });
        anyhow::Ok(())
    };
    put(NAMES, names).await?;
    if !imported.skipped.is_empty() {
        put(SKIPPED, serde_json::to_vec_pretty(&imported.skipped)?).await?;
    }
    let finished_ms = now_ms();
    let compute_ms = (imported.seconds * 1000.0) as u64;
    let manifest = Manifest {
        metrics: [(
            run_metrics::IMAGES_PER_SECOND.to_owned(),
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
            worker: "cli".to_owned(),
            ..software(&ComputeDevice::cpu_only())
        },
        ..Manifest::of(job, attempt, outputs, JobResult::Import(set))
    };
    client::commit(connection, manifest).await
}
