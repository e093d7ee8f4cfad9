//! The request message: one job.

use crate::{
    ContractError, Digest, Inputs, JobKey, JobKind, JobSpec, Kind, MAX_MESSAGE_BYTES,
    SCHEMA_VERSION, SweepId,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// With so many versions of its algorithm a job is compared whose key is not that of this build's.
const VERSIONS_TRIED: u32 = 64;

/// Urgency; workers empty p0 before p1 before p2.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// A person waits for it.
    P0,
    /// Ordinary work; the default.
    #[default]
    P1,
    /// Whenever workers are free.
    P2,
}
impl Priority {
    /// All, most urgent first.
    pub const ALL: [Priority; 3] = [Priority::P0, Priority::P1, Priority::P2];
}
impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Priority::P0 => "p0",
            Priority::P1 => "p1",
            Priority::P2 => "p2",
        })
    }
}
impl FromStr for Priority {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        match text {
            "p0" => Ok(Priority::P0),
            "p1" => Ok(Priority::P1),
            "p2" => Ok(Priority::P2),
            _ => Err(ContractError::Malformed {
                what: "priority",
                found: text.chars().take(20).collect(),
                expected: "p0, p1 or p2",
            }),
        }
    }
}

/// What a job reads: the manifest of an earlier job, pinned by the digest of its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What it is for: `images`, `features`, `condition`, `shard/00007`, …; a field of the kind's
    /// inputs struct ([`JobKind::Inputs`]).
    pub role: String,
    /// Key of the job whose manifest is read.
    pub key: JobKey,
    /// [`crate::Manifest::digest`] of that manifest.
    pub digest: Digest,
}

impl Input {
    /// Bytes that it takes in the message of a job.
    pub fn message_bytes(&self) -> usize {
        encode(self).len()
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("invariant: jobs are plain data and always encode")
}

/// How to run a job, without any effect on its result; not part of the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct Hints {
    /// Unused: the service's own setting decides how often it makes checkpoints. Always absent, and
    /// kept because the messages of schema version 1 name it.
    #[serde(default)]
    pub checkpoint_every_s: Option<u64>,
    /// The sweep that asked first, for logs.
    #[serde(default)]
    pub sweep: Option<SweepId>,
    /// What a person calls this job: "train temi C=20 to 29 kimg".
    #[serde(default)]
    pub label: String,
}

/// Parameters of a job in the bytes that are hashed into its key: a plan keeps them in a fraction
/// of the memory that they take as a [`JobSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedSpec {
    kind: Kind,
    bytes: Box<[u8]>,
}

impl EncodedSpec {
    /// These parameters.
    pub fn of(spec: &JobSpec) -> Self {
        Self {
            kind: spec.kind(),
            bytes: encode(spec).into(),
        }
    }

    /// The parameters again.
    pub fn decode(&self) -> JobSpec {
        rmp_serde::from_slice(&self.bytes).expect("invariant: they were encoded by this program")
    }

    /// Their size in a message.
    pub fn message_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The key of the job with these parameters and inputs, each a role with the digest of its
    /// manifest: [`Job::key_of`].
    pub fn key<'a>(&self, inputs: impl IntoIterator<Item = (&'a str, &'a Digest)>) -> JobKey {
        self.key_in_version(inputs, self.kind.algorithm_version())
    }

    fn key_in_version<'a>(
        &self,
        inputs: impl IntoIterator<Item = (&'a str, &'a Digest)>,
        version: u32,
    ) -> JobKey {
        let roles: Vec<(&str, &str)> = inputs
            .into_iter()
            .map(|(role, digest)| (role, digest.as_str()))
            .collect();
        // MessagePack of a tuple of five: a header, then each of them.
        let mut canonical = Vec::with_capacity(64 + self.bytes.len() + 96 * roles.len());
        canonical.push(0x95);
        canonical.extend(encode(&(SCHEMA_VERSION, self.kind.token(), version)).split_off(1));
        canonical.extend_from_slice(&self.bytes);
        canonical.extend(encode(&roles));
        JobKey::of(&canonical)
    }
}

/// One unit of work, as it travels through the queue (MessagePack with named fields).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// [`crate::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// [`Job::key_of`] of `spec` and `inputs`.
    pub key: JobKey,
    /// Parameters of the job with its kind; part of the key.
    pub spec: JobSpec,
    /// What it reads, in the order of the kind's inputs struct.
    pub inputs: Vec<Input>,
    /// Urgency among jobs of one kind; not part of the key.
    #[serde(default)]
    pub priority: Priority,
    /// How to run it.
    #[serde(default)]
    pub hints: Hints,
}

impl Job {
    /// A job with its content key.
    pub fn new(spec: JobSpec, inputs: Vec<Input>, priority: Priority, hints: Hints) -> Self {
        let key = Self::key_of(&spec, &inputs);
        Self {
            schema: SCHEMA_VERSION,
            key,
            spec,
            inputs,
            priority,
            hints,
        }
    }

    /// Content key: BLAKE3 over MessagePack of (schema version, kind, algorithm version,
    /// parameters, (role, digest) of every input). Keys of the inputs' jobs are left out: the same
    /// bytes made in another way are the same input.
    pub fn key_of(spec: &JobSpec, inputs: &[Input]) -> JobKey {
        Self::key_in_version(spec, inputs, spec.kind().algorithm_version())
    }

    fn key_in_version(spec: &JobSpec, inputs: &[Input], version: u32) -> JobKey {
        let roles = inputs
            .iter()
            .map(|input| (input.role.as_str(), &input.digest));
        EncodedSpec::of(spec).key_in_version(roles, version)
    }

    /// The kind of the job, from its parameters.
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// Its inputs, where it is a job of kind `K`.
    ///
    /// # Errors
    /// [`ContractError::OtherKind`] for a job of another kind, [`ContractError::Role`] for inputs
    /// that are not those of this kind.
    pub fn inputs_of<K: JobKind>(&self) -> Result<K::Inputs<&Input>, ContractError> {
        typed_inputs::<K>(&self.key, self.kind(), &self.inputs)
    }

    /// Bytes of its message, sendable or not.
    pub fn message_bytes(&self) -> usize {
        encode(self).len()
    }

    /// Encoded bytes.
    ///
    /// # Errors
    /// [`ContractError::TooLarge`] above [`MAX_MESSAGE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, ContractError> {
        let bytes = encode(self);
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(ContractError::TooLarge {
                what: "job",
                found: bytes.len(),
                limit: MAX_MESSAGE_BYTES,
            });
        }
        Ok(bytes)
    }

    /// The job in `bytes`; its key is recomputed and must agree.
    ///
    /// # Errors
    /// [`ContractError::NewerSchema`] for a message of a newer program,
    /// [`ContractError::OtherVersion`] where its key is right for another version of its kind's
    /// algorithm, [`ContractError::Decode`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContractError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(ContractError::TooLarge {
                what: "job",
                found: bytes.len(),
                limit: MAX_MESSAGE_BYTES,
            });
        }
        let decode = |error: rmp_serde::decode::Error| ContractError::Decode {
            what: "job",
            reason: error.to_string(),
        };
        let version: Version = rmp_serde::from_slice(bytes).map_err(decode)?;
        if version.schema > SCHEMA_VERSION {
            return Err(ContractError::NewerSchema {
                what: "job",
                found: version.schema,
                supported: SCHEMA_VERSION,
            });
        }
        let job: Self = rmp_serde::from_slice(bytes).map_err(decode)?;
        let expected = Self::key_of(&job.spec, &job.inputs);
        if expected != job.key {
            let is_of =
                |version: &u32| Self::key_in_version(&job.spec, &job.inputs, *version) == job.key;
            if let Some(found) = (0..VERSIONS_TRIED).find(is_of) {
                return Err(ContractError::OtherVersion {
                    kind: job.kind(),
                    found,
                    supported: job.kind().algorithm_version(),
                });
            }
            let reason = format!("its key is {}, its contents give {expected}", job.key);
            return Err(ContractError::Decode {
                what: "job",
                reason,
            });
        }
        Ok(job)
    }
}

/// The inputs of the job `key` as those of kind `K`.
pub(crate) fn typed_inputs<'a, K: JobKind>(
    key: &JobKey,
    found: Kind,
    inputs: &'a [Input],
) -> Result<K::Inputs<&'a Input>, ContractError> {
    if found != K::KIND {
        return Err(ContractError::OtherKind {
            key: key.clone(),
            found,
            expected: K::KIND,
        });
    }
    let roles = inputs.iter().map(|input| (input.role.as_str(), input));
    K::Inputs::from_roles(K::KIND, roles)
}
