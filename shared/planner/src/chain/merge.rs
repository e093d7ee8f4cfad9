//! Merges of many shards: a job's message names each of its inputs, and has at most 64 KiB.
//!
//! What fits into one message is one job, with the key that it always had. Of more shards, parts
//! are listed first, and parts of parts, until the rest fits. A part lists what is below it and
//! computes nothing: however a set is cut, the job at the top reads the same files in the same
//! order.

use crate::builder::Dependency;
use std::ops::Range;

/// Inputs of one part: some 55 KiB of its message, which leaves room for its parameters.
pub(crate) const PART: usize = 400;

/// A part of a set that one message cannot name.
pub(super) struct Part {
    /// Tells it from the other parts of its set: "part 0.2".
    pub(super) name: String,
    /// What it lists: shards, or parts of the level below.
    pub(super) inputs: Vec<Dependency>,
    /// Which shards of the set that are.
    pub(super) shards: Range<usize>,
}

/// At most `capacity` inputs for a merge of these shards, in their order: the shards themselves, or
/// parts, each added by `add`.
pub(super) fn inputs(
    shards: Vec<Dependency>,
    capacity: usize,
    mut add: impl FnMut(Part) -> Dependency,
) -> Vec<Dependency> {
    let count = shards.len();
    let (mut inputs, mut level, mut width) = (shards, 0, PART);
    // One part is as few as there can be: a job without room for it is refused by its size.
    while inputs.len() > capacity.max(1) {
        let parts = inputs.chunks(PART).enumerate().map(|(index, chunk)| Part {
            name: format!("part {level}.{index}"),
            inputs: chunk.to_vec(),
            shards: index * width..count.min((index + 1) * width),
        });
        inputs = parts.map(&mut add).collect();
        level += 1;
        width *= PART;
    }
    inputs
}
