//! The measured shards behind the inputs of a reference or a score: `measure` jobs, or parts that
//! list them. However a set was cut into parts, its files are read in one order, so that its
//! numbers are the same to the last bit.

use crate::{FeatureSpace, MeasuredSet, measure::read_moments};
use anyhow::anyhow;
use cedm_contract::{
    ExtractorSpec, Manifest, OutputName, ShardRef,
    kinds::{
        measure::{self, MeasureParams},
        reference::{self, ReferenceParams, ReferenceResult},
    },
};
use cedm_runtime::{JobContext, JobError, Monitor};

/// Shards in the order of their set.
pub(crate) struct Shards {
    /// In which feature space they were measured; absent without shards.
    pub(crate) space: Option<FeatureSpace>,
    /// What a part of these shards would be.
    pub(crate) listed: ReferenceResult,
}

impl Shards {
    /// Those behind these inputs.
    ///
    /// # Errors
    /// `Reject` for inputs of another feature space, or that are no shards; as
    /// [`JobContext::fetch`].
    pub(crate) fn of(
        context: &JobContext,
        inputs: &[&Manifest],
        extractor: &ExtractorSpec,
    ) -> Result<Self, JobError> {
        let mut shards = Self {
            space: None,
            listed: ReferenceResult {
                count: 0,
                dim: 0,
                shards: Vec::new(),
                moments: Vec::new(),
            },
        };
        for (index, manifest) in inputs.iter().enumerate() {
            let name = match manifest.as_kind::<ReferenceParams>() {
                Ok((made_by, part)) => {
                    require_partial(index, made_by, extractor)?;
                    shards.append(part);
                    reference::SPACE
                }
                Err(_) => {
                    shards.append(&measured(index, manifest, extractor)?);
                    measure::SPACE
                }
            };
            shards.require_space(index, read_space(context, manifest, name)?)?;
        }
        Ok(shards)
    }

    fn append(&mut self, part: &ReferenceResult) {
        let first = self.listed.count;
        let moved = |shard: &ShardRef| ShardRef {
            first: first + shard.first,
            ..shard.clone()
        };
        self.listed.shards.extend(part.shards.iter().map(moved));
        self.listed.moments.extend(part.moments.iter().map(moved));
        self.listed.count += part.count;
        self.listed.dim = part.dim;
    }

    /// Checks that all shards were measured in the feature space of the first one.
    fn require_space(&mut self, index: usize, found: FeatureSpace) -> Result<(), JobError> {
        match &self.space {
            Some(first) => {
                Ok(first.require("the first shard", &found, &format!("shard {index}"))?)
            }
            None => {
                self.space = Some(found);
                Ok(())
            }
        }
    }

    /// Their set: moments merged, features left in files.
    ///
    /// # Errors
    /// As [`JobContext::fetch`]; `Reject` for files that are not what they should be.
    pub(crate) fn merged(&self, context: &JobContext, name: &str) -> Result<MeasuredSet, JobError> {
        // Fetched, not read: a metric that needs single features reads them when it is computed.
        let files = self.listed.shards.iter();
        let files = files.map(|shard| context.fetch(&shard.object));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let total = self.listed.moments.len() as u64;
        let mut failed = None;
        // One at a time, in memory and on disk: moments are larger than the features of a shard.
        let moments = self.listed.moments.iter().zip(0u64..);
        let moments = moments.map_while(|(shard, index)| {
            context.progress(index, total, "shards");
            let read = context.fetch(&shard.object).and_then(|file| {
                let moments = read_moments(&format!("shard {index}"), &file);
                context.release(&shard.object)?;
                Ok(moments)
            });
            read.map_err(|error| failed = Some(error)).ok()
        });
        let set = MeasuredSet::merge(name, moments, files);
        match failed {
            Some(error) => Err(error),
            None => Ok(set?),
        }
    }
}

/// The result of a `measure` job as a part of one shard, after a check that it used this extractor.
fn measured(
    index: usize,
    manifest: &Manifest,
    extractor: &ExtractorSpec,
) -> Result<ReferenceResult, JobError> {
    let (params, found) = manifest
        .as_kind::<MeasureParams>()
        .map_err(JobError::contract)?;
    require_extractor(&format!("shard {index}"), &params.extractor, extractor)?;
    let shard = |name: OutputName| {
        let output = manifest
            .output(name)
            .ok_or_else(|| JobError::reject(anyhow!("shard {index} has no output {name}")))?;
        Ok::<_, JobError>(ShardRef {
            object: output.object.clone(),
            first: 0,
            count: found.count,
        })
    };
    Ok(ReferenceResult {
        count: found.count,
        dim: found.dim,
        shards: vec![shard(measure::FEATURES)?],
        moments: vec![shard(measure::MOMENTS)?],
    })
}

/// Checks that a reference is a part, of this extractor.
fn require_partial(
    index: usize,
    made_by: &ReferenceParams,
    extractor: &ExtractorSpec,
) -> Result<(), JobError> {
    if !made_by.partial {
        return Err(JobError::reject(anyhow!(
            "input {index} is a whole reference, expected a part of one"
        )));
    }
    require_extractor(&format!("part {index}"), &made_by.extractor, extractor)
}

/// Checks that `name` was measured by the extractor of this job.
///
/// # Errors
/// `Reject` when it was another one.
pub(crate) fn require_extractor(
    name: &str,
    found: &ExtractorSpec,
    expected: &ExtractorSpec,
) -> Result<(), JobError> {
    let (found, expected) = (
        FeatureSpace::of(found, None),
        FeatureSpace::of(expected, None),
    );
    Ok(expected.require("this job", &found, name)?)
}

/// Longest record of a feature space in bytes.
const SPACE_LIMIT: u64 = 16 << 20;

/// The feature space that a `measure` or `reference` job wrote as `name`.
///
/// # Errors
/// As [`JobContext::fetch_output`]; `Reject` when the file is no feature space.
pub(crate) fn read_space(
    context: &JobContext,
    manifest: &Manifest,
    name: OutputName,
) -> Result<FeatureSpace, JobError> {
    let file = context.fetch_output(manifest, name)?;
    let bytes = cedm_runtime::read_regular(&file, SPACE_LIMIT)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| JobError::reject(anyhow!("{name} of {}: {error}", manifest.key)))
}
