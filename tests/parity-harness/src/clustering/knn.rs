//! Fixtures of the nearest neighbours by cosine similarity.

use super::{Case, KINDS, comparison, larger_error, max_abs_error};
use crate::fixture::Comparison;
use anyhow::Context;
use cedm_clustering::{
    neighbours::{
        BlockLists, Blocks, DEFAULT_TILE_BYTES, Neighbours, PartSearch, merge_block, nearest,
    },
    unit_rows,
};
use cedm_maths::Features;
use tch::{Kind, Tensor};

/// Index lists count as equal when the float64 cosine at each rank is the expected one: ties may
/// come in any order.
pub(super) fn nearest_rows(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let k = case.setting("k")? as i64;
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let features = Features::new("features", &case.tensor("features")?.to_kind(kind))?;
        for tile_bytes in [DEFAULT_TILE_BYTES, 1 << 16] {
            let found = nearest(&features, k as u32, tile_bytes, &mut |_, _| true)?
                .context("the search stopped by itself")?;
            compare_lists(
                case,
                kind,
                &format!("{name}, tiles of {} KiB:", tile_bytes >> 10),
                &found,
                &mut comparisons,
            )?;
        }
        for count in [3, 7] {
            let found = in_parts(&features, k as u32, count)?;
            compare_lists(
                case,
                kind,
                &format!("{name}, {count} parts merged:"),
                &found,
                &mut comparisons,
            )?;
        }
    }
    Ok(comparisons)
}

fn compare_lists(
    case: &Case,
    kind: Kind,
    search: &str,
    found: &Neighbours,
    comparisons: &mut Vec<Comparison>,
) -> anyhow::Result<()> {
    let (expected, exact) = (case.tensor("sim")?, case.tensor("sim_f64")?);
    let unit = unit_rows(&Features::new(
        "features",
        &case.tensor("features")?.to_kind(Kind::Double),
    )?)?;
    let (rows, k) = (found.indices.size()[0], found.indices.size()[1]);
    let chosen = found.indices.to_kind(Kind::Int64);
    let others = unit.index_select(0, &chosen.view(-1)).view([rows, k, -1]);
    let cosine = (others * unit.unsqueeze(1)).sum_dim_intlist([2].as_slice(), false, Kind::Double);
    comparisons.push(comparison(
        format!("{search} cosine at each rank"),
        max_abs_error(&cosine, expected),
        1e-6,
    ));
    let lists = Vec::<i64>::try_from(chosen.view(-1))?;
    let wrong = lists.chunks(k as usize).enumerate().filter(|(row, list)| {
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        sorted.windows(2).any(|pair| pair[0] == pair[1]) || sorted.contains(&(*row as i64))
    });
    comparisons.push(comparison(
        format!("{search} rows with repeats or themselves"),
        wrong.count() as f64,
        0.0,
    ));
    let own = max_abs_error(&found.similarities.narrow(0, 0, exact.size()[0]), exact);
    let all = max_abs_error(&found.similarities, expected);
    // The stored f32 similarities are rounded themselves.
    let (tolerance, all) = if kind == Kind::Double {
        (1e-12, if all <= 1e-7 { 0.0 } else { all })
    } else {
        (2e-6, all)
    };
    comparisons.push(comparison(
        format!("{search} similarities"),
        larger_error(own, all),
        tolerance,
    ));
    Ok(())
}

/// The same search as `count` parts, each as its own job would do it, and their merge.
fn in_parts(features: &Features, k: u32, count: u32) -> anyhow::Result<Neighbours> {
    let blocks = Blocks::new(features.count(), count)?;
    let of = |block: u32| {
        let rows = blocks.rows(block);
        Features::new(
            "features",
            &features.rows().narrow(0, rows.start, rows.end - rows.start),
        )
    };
    let mut lists: Vec<BlockLists> = Vec::new();
    for part in 0..count {
        let mut search = PartSearch::new(blocks, part, k, DEFAULT_TILE_BYTES, &of(part)?)?;
        for block in blocks.of_part(part) {
            let other = (block != part).then(|| of(block)).transpose()?;
            anyhow::ensure!(
                search.compare(block, other.as_ref(), &mut |_| true)?,
                "the search stopped by itself"
            );
        }
        lists.extend(search.finish());
    }
    let (mut indices, mut similarities) = (Vec::new(), Vec::new());
    for block in 0..count {
        let (own, rest) = lists
            .into_iter()
            .partition::<Vec<_>, _>(|list| list.block == block);
        lists = rest;
        let found = merge_block(&own, k)?;
        indices.push(found.indices);
        similarities.push(found.similarities);
    }
    Ok(Neighbours {
        indices: Tensor::cat(&indices, 0),
        similarities: Tensor::cat(&similarities, 0),
    })
}
