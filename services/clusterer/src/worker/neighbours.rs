//! Nearest neighbours as one job, or as parts that several clusterers share and a short job that
//! merges them.

use super::put_tensors;
use crate::{compute, inputs};
use anyhow::anyhow;
use cedm_clustering::neighbours::{BlockLists, Blocks, Neighbours, PartSearch, merge_block};
use cedm_contract::{
    JobResult, Manifest,
    kinds::neighbours::{
        CANDIDATES, NEIGHBOURS, NeighbourPart, NeighboursInputs, NeighboursParams,
        NeighboursResult, candidates,
        neighbour_lists::{INDICES, SIMILARITIES},
    },
    run_metrics,
};
use cedm_maths::Features;
use cedm_runtime::{JobContext, JobError, Monitor, Outcome};
use std::{collections::BTreeMap, ops::Range, time::Instant};
use tch::{Device, Kind, Tensor};

/// Performs a `neighbours` job: a whole search, one part of a shared search, or the merge of parts.
pub(super) fn perform(
    context: &JobContext,
    params: &NeighboursParams,
    tile_bytes: u64,
    device: Device,
) -> Result<Outcome, JobError> {
    let NeighboursInputs { features, parts } = context.inputs::<NeighboursParams>()?;
    let count = inputs::feature_set(features)?.count;
    let started = Instant::now();
    let pairs = match params.part {
        Some(part) => {
            let rows = |rows| inputs::feature_rows(context, features, rows, device);
            search_part(context, count, params.k, part, tile_bytes, rows)?
        }
        None if parts.is_empty() => {
            let features = inputs::features(context, features, device)?;
            put(
                context,
                compute::neighbours(&features, params.k, tile_bytes, context)?,
            )?;
            count.saturating_mul(count)
        }
        None => {
            put(context, merge(context, params.k, count, &parts)?)?;
            0
        }
    };
    let per_second = pairs as f64 / started.elapsed().as_secs_f64().max(1e-9);
    Ok(Outcome {
        result: JobResult::Neighbours(NeighboursResult { count, k: params.k }),
        metrics: (pairs > 0)
            .then(|| (run_metrics::PAIRS_PER_SECOND.to_owned(), per_second))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    })
}

/// Stores the neighbours found.
fn put(context: &JobContext, found: Neighbours) -> Result<(), JobError> {
    let similarities = found.similarities.to_kind(Kind::Float);
    put_tensors(
        context,
        NEIGHBOURS,
        &[
            (INDICES.to_string(), found.indices),
            (SIMILARITIES.to_string(), similarities),
        ],
    )
}

/// Searches one part block by block, so that at most two blocks are in memory; `rows` reads those
/// of a block. Returns the number of pairs compared.
fn search_part(
    context: &JobContext,
    count: u64,
    k: u32,
    part: NeighbourPart,
    tile_bytes: u64,
    rows: impl Fn(Range<i64>) -> Result<Features, JobError>,
) -> Result<u64, JobError> {
    let blocks = Blocks::new(count as i64, part.of)?;
    let own = rows(blocks.rows(part.index))?;
    let mut search = PartSearch::new(blocks, part.index, k, tile_bytes, &own)?;
    drop(own);
    let (mut done, total) = (0, blocks.pairs_of_part(part.index));
    let mut progress = |pairs: u64| {
        done += pairs;
        context.progress(done, total, "pairs");
        context.count(&crate::metrics::NEIGHBOUR_PAIRS, pairs);
        !context.stopping()
    };
    for block in blocks.of_part(part.index) {
        let other = if block == part.index {
            None
        } else {
            Some(rows(blocks.rows(block))?)
        };
        if !search.compare(block, other.as_ref(), &mut progress)? {
            return Err(JobError::Drained);
        }
    }
    let mut tensors = Vec::new();
    for lists in search.finish() {
        tensors.push((candidates::indices(lists.block), lists.indices));
        tensors.push((candidates::similarities(lists.block), lists.similarities));
    }
    put_tensors(context, CANDIDATES, &tensors)?;
    Ok(total)
}

/// Merges the candidates of all parts, block by block: those of a block are in the parts that
/// compared it.
fn merge(
    context: &JobContext,
    k: u32,
    count: u64,
    parts: &[&Manifest],
) -> Result<Neighbours, JobError> {
    let blocks = Blocks::new(count as i64, parts.len() as u32)?;
    let (mut indices, mut similarities) = (Vec::new(), Vec::new());
    for block in 0..blocks.count() {
        let parts_of_block = (0u32..)
            .zip(parts)
            .filter(|(part, _)| blocks.of_part(*part).contains(&block));
        let lists = parts_of_block
            .map(|(_, part)| read(context, part, block))
            .collect::<Result<Vec<_>, _>>()?;
        let found = merge_block(&lists, k)?;
        let (rows, expected) = (found.indices.size()[0], blocks.rows(block));
        if rows != expected.end - expected.start {
            return Err(JobError::reject(anyhow!(
                "candidates of block {block} have {rows} rows, expected {expected:?}"
            )));
        }
        indices.push(found.indices);
        similarities.push(found.similarities);
        context.progress((block + 1).into(), blocks.count().into(), "blocks");
        if context.stopping() {
            return Err(JobError::Drained);
        }
    }
    Ok(Neighbours {
        indices: Tensor::cat(&indices, 0),
        similarities: Tensor::cat(&similarities, 0),
    })
}

/// The candidates of one block in one part.
fn read(context: &JobContext, part: &Manifest, block: u32) -> Result<BlockLists, JobError> {
    let file = context.fetch_output(part, CANDIDATES)?;
    let named = |name: String| inputs::tensor(&file, &name);
    Ok(BlockLists {
        block,
        indices: named(candidates::indices(block))?,
        similarities: named(candidates::similarities(block))?,
    })
}
