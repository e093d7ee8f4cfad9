//! What state a node is in, by those that it reads and what is observed of its key.

use super::{Graph, Index, Recipe, Status, StoredNode};
use crate::{ObservedState, message};
use cedm_contract::{
    ContractError, EncodedSpec, Input, Job, JobKey, JobSpec, Kind, MAX_MESSAGE_BYTES,
    SCHEMA_VERSION,
};
use std::borrow::Cow;

/// More than a message holds beside parameters, label and inputs.
const FRAME_BYTES: usize = 1_024;

impl Graph {
    /// The key of a node's job, where it has one, and its state.
    pub(super) fn judge(
        &self,
        index: Index,
        observed: &dyn ObservedState,
    ) -> (Option<JobKey>, Status) {
        let node = self.node(index);
        if node.open > 0 {
            // That no message can hold it is said before its inputs are made, which may take days.
            let status = match () {
                () if node.is_oversized() => Status::Dead,
                () if node.stuck > 0 => Status::Blocked,
                () => Status::Waiting,
            };
            return (None, status);
        }
        if let Recipe::Import { key, .. } = &node.recipe {
            let status = self.done(key, observed).unwrap_or(Status::Dead);
            return (Some(JobKey::clone(key)), status);
        }
        let Ok(key) = self.key(node, observed) else {
            return (None, Status::Dead);
        };
        // A result wins over a dead letter: a worker that lost the job may have finished after all.
        let status = self.done(&key, observed).unwrap_or_else(|| {
            if observed.dead(&key).is_some() || self.is_too_large(index, observed) {
                Status::Dead
            } else {
                Status::Ready
            }
        });
        (Some(key), status)
    }

    fn done(&self, key: &JobKey, observed: &dyn ObservedState) -> Option<Status> {
        let found = observed.result(key)?;
        Some(Status::Done {
            // Finished before this sweep existed, so another one paid for it.
            cached: found.finished_ms < self.submitted_ms,
        })
    }

    /// Why a dead node is dead, for people.
    pub(super) fn reason(&self, index: Index, observed: &dyn ObservedState) -> String {
        let node = self.node(index);
        if node.open > 0 {
            return message::too_large(node.inputs.len(), node.least_bytes as usize);
        }
        if let Recipe::Import { missing, .. } = &node.recipe {
            return missing.to_string();
        }
        let key = match self.key(node, observed) {
            Ok(key) => key,
            Err(reason) => return reason,
        };
        match observed.dead(&key) {
            Some(reason) => reason.to_owned(),
            None => {
                let bytes = self
                    .job_at(index, observed)
                    .map_or(0, |job| job.message_bytes());
                message::too_large(node.inputs.len(), bytes)
            }
        }
    }

    /// Encodes the message only where it may be too large.
    fn is_too_large(&self, index: Index, observed: &dyn ObservedState) -> bool {
        let node = self.node(index);
        let spec_bytes = match &node.recipe {
            Recipe::Spec(spec) | Recipe::Conditioned { spec, .. } => spec.message_bytes(),
            Recipe::Import { .. } | Recipe::Impossible(_) => 0,
        };
        let about = node.least_bytes as usize + spec_bytes + node.id.len() + FRAME_BYTES;
        node.kind.is_queued()
            && about > MAX_MESSAGE_BYTES
            && self
                .job_at(index, observed)
                .is_some_and(|job| job.message_bytes() > MAX_MESSAGE_BYTES)
    }

    /// The key of a job of which everything that it reads is done.
    ///
    /// # Errors
    /// Why there is no such job.
    fn key(&self, node: &StoredNode, observed: &dyn ObservedState) -> Result<JobKey, String> {
        let spec = self.spec(node, observed)?;
        let inputs = node.roles.iter().zip(&node.inputs);
        let digests = inputs.filter_map(|(role, input)| {
            let found = observed.result(self.done_key(*input)?)?;
            Some((&**role, found.digest))
        });
        Ok(spec.key(digests))
    }

    /// The parameters of such a job.
    fn spec<'a>(
        &self,
        node: &'a StoredNode,
        observed: &dyn ObservedState,
    ) -> Result<Cow<'a, EncodedSpec>, String> {
        match &node.recipe {
            Recipe::Spec(spec) => Ok(Cow::Borrowed(spec)),
            Recipe::Conditioned { spec, condition } => {
                let key = self
                    .done_key(*condition)
                    .ok_or("its clustering is not done")?;
                let found = observed.result(key).ok_or("its clustering is gone")?;
                let other_kind = || ContractError::OtherKind {
                    key: key.clone(),
                    found: found.kind,
                    expected: Kind::Cluster,
                };
                let used = found.used.ok_or_else(|| other_kind().to_string())?;
                let mut spec = spec.decode();
                if let JobSpec::Train(params) = &mut spec {
                    params.network.label_dim = used;
                }
                Ok(Cow::Owned(EncodedSpec::of(&spec)))
            }
            Recipe::Import {
                missing: reason, ..
            }
            | Recipe::Impossible(reason) => Err(reason.to_string()),
        }
    }

    /// The job of a node, where it has one.
    pub(super) fn job_at(&self, index: Index, observed: &dyn ObservedState) -> Option<Job> {
        let node = self.node(index);
        if let Recipe::Import { key, .. } = &node.recipe {
            let manifest = observed.manifest(key)?;
            return Some(Job {
                schema: manifest.schema,
                key: manifest.key.clone(),
                spec: manifest.spec.clone(),
                inputs: manifest.inputs.clone(),
                priority: self.priority,
                hints: self.hints(&node.id),
            });
        }
        if node.open > 0 {
            return None;
        }
        let spec = self.spec(node, observed).ok()?;
        let inputs = node
            .roles
            .iter()
            .zip(&node.inputs)
            .filter_map(|(role, input)| {
                let key = self.done_key(*input)?;
                Some(Input {
                    role: role.to_string(),
                    key: key.clone(),
                    digest: observed.result(key)?.digest.clone(),
                })
            });
        let inputs: Vec<Input> = inputs.collect();
        let key = match &node.key {
            Some(key) => key.clone(),
            None => spec.key(
                inputs
                    .iter()
                    .map(|input| (input.role.as_str(), &input.digest)),
            ),
        };
        Some(Job {
            schema: SCHEMA_VERSION,
            key,
            spec: spec.decode(),
            inputs,
            priority: self.priority,
            hints: self.hints(&node.id),
        })
    }
}
