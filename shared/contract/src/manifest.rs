//! The result record: one manifest per key, written last and never again.

use crate::{
    Attempt, ContractError, Digest, Input, Job, JobKey, JobKind, JobResult, JobSpec, Kind,
    OutputName, SCHEMA_VERSION, job::typed_inputs,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A stored object, with what is needed to verify it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Object key in the bucket.
    pub object: String,
    /// Size of the object in bytes.
    pub size: u64,
    /// BLAKE3 of the bytes.
    pub digest: Digest,
}

/// One shard of a sharded artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRef {
    /// Where its bytes are.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Index of its first row in the whole.
    pub first: u64,
    /// Number of rows in the shard.
    pub count: u64,
}

/// One file that a job made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name, unique within the manifest: `features.safetensors`.
    pub name: String,
    /// The stored object, with its size and digest.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// Whether it may differ from run to run (timings, rates); then it is no part of the manifest's
    /// digest.
    #[serde(default)]
    pub volatile: bool,
}

impl Output {
    /// The output `name`, stored as `object`.
    pub fn new(name: OutputName, object: ObjectRef) -> Self {
        Self {
            name: name.as_str().to_owned(),
            object,
            volatile: name.is_volatile(),
        }
    }
}

/// When what happened, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// The message entered the queue.
    pub queued_ms: u64,
    /// A worker began the attempt that made the result.
    pub started_ms: u64,
    /// The manifest was written.
    pub finished_ms: u64,
    /// Milliseconds on the compute thread.
    pub compute_ms: u64,
}

/// What made the result.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Software {
    /// Version of the program that made the result.
    pub version: String,
    /// Source revision, or empty.
    pub revision: String,
    /// Name of the worker process.
    pub worker: String,
    /// `cpu` or the accelerator's name.
    pub device: String,
    /// Whether the same program gives the same bits again on such a device; absent, that is false,
    /// in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deterministic: bool,
}

/// The lineage record and result of one job, stored as JSON at `manifest/<key>` by a create-only
/// put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The job's content key.
    pub key: JobKey,
    /// The attempt whose manifest was stored first; the others were discarded.
    pub attempt: Attempt,
    /// Parameters of the job, with its kind.
    pub spec: JobSpec,
    /// Manifests that the job read, in the order that is hashed into its key.
    pub inputs: Vec<Input>,
    /// Files that the job wrote, each a stored object.
    pub outputs: Vec<Output>,
    /// Numbers and shards that the job found, by its kind.
    pub result: JobResult,
    /// Numbers about the run that are not part of the result (images per second, memory).
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// When the job was queued, started and finished.
    pub timings: Timings,
    /// Program, worker and device that made the result.
    pub software: Software,
    /// [`Manifest::digest_of`]: what later jobs pin.
    pub digest: Digest,
}

impl Manifest {
    /// The result of a job by one attempt, with its digest. Metrics, times and software are empty:
    /// whoever made the result sets them.
    pub fn of(job: Job, attempt: Attempt, outputs: Vec<Output>, result: JobResult) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            key: job.key,
            attempt,
            spec: job.spec,
            inputs: job.inputs,
            digest: Self::digest_of(&outputs, &result),
            outputs,
            result,
            metrics: BTreeMap::new(),
            timings: Timings::default(),
            software: Software::default(),
        }
    }

    /// Digest of the reproducible part: name, size and digest of every output that is not volatile,
    /// and the result with object keys left out (they name the attempt).
    pub fn digest_of(outputs: &[Output], result: &JobResult) -> Digest {
        let mut stable: Vec<(&str, u64, &str)> = outputs
            .iter()
            .filter(|output| !output.volatile)
            .map(|output| {
                (
                    output.name.as_str(),
                    output.object.size,
                    output.object.digest.as_str(),
                )
            })
            .collect();
        stable.sort_unstable();
        let bytes = rmp_serde::to_vec_named(&(stable, result.without_locations()))
            .expect("invariant: plain data always encodes");
        Digest::of(&bytes)
    }

    /// The kind of the job, from its parameters.
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// The output with this name.
    pub fn output(&self, name: OutputName) -> Option<&Output> {
        self.outputs
            .iter()
            .find(|output| output.name == name.as_str())
    }

    /// Its parameters and result, where it is the result of a job of kind `K`.
    ///
    /// # Errors
    /// [`ContractError::OtherKind`] for any other manifest.
    pub fn as_kind<K: JobKind>(&self) -> Result<(&K, &K::Result), ContractError> {
        K::in_spec(&self.spec)
            .zip(K::in_result(&self.result))
            .ok_or_else(|| ContractError::OtherKind {
                key: self.key.clone(),
                found: self.kind(),
                expected: K::KIND,
            })
    }

    /// What it was made from, where it is the result of a job of kind `K`.
    ///
    /// # Errors
    /// As [`crate::Job::inputs_of`].
    pub fn inputs_of<K: JobKind>(&self) -> Result<K::Inputs<&Input>, ContractError> {
        typed_inputs::<K>(&self.key, self.kind(), &self.inputs)
    }

    /// This manifest as an input in the given role.
    pub fn as_input(&self, role: impl Into<String>) -> Input {
        Input {
            role: role.into(),
            key: self.key.clone(),
            digest: self.digest.clone(),
        }
    }

    /// JSON bytes, for the store and for people.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self)
            .expect("invariant: manifests are plain data and always encode")
    }

    /// The manifest in `bytes`; its digest is recomputed and must agree.
    ///
    /// # Errors
    /// [`ContractError::NewerSchema`], or [`ContractError::Decode`] for broken or inconsistent
    /// bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContractError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let decode = |error: serde_json::Error| ContractError::Decode {
            what: "manifest",
            reason: error.to_string(),
        };
        // That of a large set is long: it is read a second time only where the first was in vain.
        let read = serde_json::from_slice::<Self>(bytes);
        let schema = match &read {
            Ok(manifest) => manifest.schema,
            Err(_) => {
                serde_json::from_slice::<Version>(bytes)
                    .map_err(decode)?
                    .schema
            }
        };
        if schema > SCHEMA_VERSION {
            return Err(ContractError::NewerSchema {
                what: "manifest",
                found: schema,
                supported: SCHEMA_VERSION,
            });
        }
        let manifest = read.map_err(decode)?;
        let expected = Self::digest_of(&manifest.outputs, &manifest.result);
        if expected != manifest.digest {
            let reason = format!(
                "its digest is {}, its contents give {expected}",
                manifest.digest
            );
            return Err(ContractError::Decode {
                what: "manifest",
                reason,
            });
        }
        Ok(manifest)
    }
}
