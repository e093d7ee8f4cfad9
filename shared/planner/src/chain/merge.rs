//! Merges of many shards: a job's message names each of its inputs, and is limited to 64 KiB.

use crate::builder::Dependency;

/// Most inputs of one merge: each takes up to 140 bytes of the message.
const MOST: usize = 440;
/// Inputs of a merge of a part, where there are more.
const PART: usize = 400;

/// At most [`MOST`] inputs for a merge of these shards, in their order: the shards themselves, so that
/// smaller sets have the keys that they always had, or merges of parts, of parts of parts, and so on.
/// `part` adds the merge of one part; its first argument tells it from the others.
pub(super) fn inputs<'k>(
    mut shards: Vec<Dependency<'k>>,
    mut part: impl FnMut(&str, Vec<Dependency<'k>>) -> Dependency<'k>,
) -> Vec<Dependency<'k>> {
    let mut level = 0;
    while shards.len() > MOST {
        shards = shards
            .chunks(PART)
            .enumerate()
            .map(|(index, chunk)| part(&format!("part {level}.{index}"), chunk.to_vec()))
            .collect();
        level += 1;
    }
    shards
}
