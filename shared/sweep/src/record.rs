//! The stored record of a submitted sweep, at `sweep/<id>/spec`.

use crate::{SweepSpec, rules::limits};
use cedm_contract::{ContractError, JobKey, SCHEMA_VERSION, SweepId};
use serde::{Deserialize, Serialize};

/// A submitted sweep as it is stored, written create-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema: u32,
    /// Name of the sweep, unique in the installation.
    pub id: SweepId,
    /// The resolved sweep file.
    pub spec: SweepSpec,
    /// Key of the import of the image set.
    pub images: JobKey,
    /// Key of the import of its test split, where metrics need one.
    #[serde(default)]
    pub test_images: Option<JobKey>,
    /// When it was submitted, in Unix milliseconds.
    pub submitted_ms: u64,
    /// The text of the sweep file.
    pub toml: String,
}

impl Sweep {
    /// A sweep of this program's schema version.
    pub fn new(
        id: SweepId,
        spec: SweepSpec,
        images: JobKey,
        test_images: Option<JobKey>,
        submitted_ms: u64,
        toml: String,
    ) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            id,
            spec,
            images,
            test_images,
            submitted_ms,
            toml,
        }
    }

    /// Keys of the imports that it uses: its images, and their test split where it has one.
    pub fn image_sets(&self) -> impl Iterator<Item = &JobKey> {
        std::iter::once(&self.images).chain(&self.test_images)
    }

    /// The record as JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("invariant: sweeps are plain data and always encode")
    }

    /// Reads the record that is stored under a name.
    ///
    /// # Errors
    /// As [`Sweep::decode`]; also when it is the record of another name.
    pub fn read(id: &SweepId, bytes: &[u8]) -> Result<Self, ContractError> {
        let sweep = Self::decode(bytes)?;
        if sweep.id != *id {
            return Err(ContractError::Decode {
                what: "sweep",
                reason: format!("it is that of `{}`", sweep.id),
            });
        }
        Ok(sweep)
    }

    /// Reads a record from JSON.
    ///
    /// # Errors
    /// [`ContractError::NewerSchema`] for a record of a newer program, [`ContractError::Decode`]
    /// for any other failure.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContractError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let decode = |error: serde_json::Error| ContractError::Decode {
            what: "sweep",
            reason: error.to_string(),
        };
        let version: Version = serde_json::from_slice(bytes).map_err(decode)?;
        if version.schema > SCHEMA_VERSION {
            return Err(ContractError::NewerSchema {
                what: "sweep",
                found: version.schema,
                supported: SCHEMA_VERSION,
            });
        }
        let sweep: Self = serde_json::from_slice(bytes).map_err(decode)?;
        // Whoever may write to the store may have written this.
        match limits::beyond(&sweep.spec).first() {
            None => Ok(sweep),
            Some((path, reason)) => Err(ContractError::Decode {
                what: "sweep",
                reason: format!("{path}: {reason}"),
            }),
        }
    }
}
