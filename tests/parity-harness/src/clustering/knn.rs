//! Cosine nearest neighbours.

use super::{Case, KINDS, gap, line, worse};
use crate::fixture::Line;
use cedm_clustering::{Features, neighbours::nearest};
use tch::Kind;

/// Index lists count as equal when the float64 cosine at each rank is the expected one: ties may come in any order.
pub(super) fn nearest_rows(case: &Case) -> anyhow::Result<Vec<Line>> {
    let (k, features) = (case.number("k")? as i64, case.get("features")?);
    let unit = Features::new(&features.to_kind(Kind::Double))?.unit_rows()?;
    let (expected, exact) = (case.get("sim")?, case.get("sim_f64")?);
    let rows = features.size()[0];
    let mut lines = Vec::new();
    for (kind, name) in KINDS {
        for tile_bytes in [cedm_clustering::neighbours::DEFAULT_TILE_BYTES, 1 << 16] {
            let Some(found) = nearest(&Features::new(&features.to_kind(kind))?, k as u32, tile_bytes, &mut |_, _| true)? else {
                anyhow::bail!("the search stopped by itself");
            };
            let chosen = found.indices.to_kind(Kind::Int64);
            let others = unit.index_select(0, &chosen.view(-1)).view([rows, k, -1]);
            let cosine = (others * unit.unsqueeze(1)).sum_dim_intlist([2].as_slice(), false, Kind::Double);
            let tiles = format!("{name}, tiles of {} KiB:", tile_bytes >> 10);
            lines.push(line(format!("{tiles} cosine at each rank"), gap(&cosine, expected), 1e-6));
            let lists = Vec::<i64>::try_from(chosen.view(-1))?;
            let wrong = lists.chunks(k as usize).enumerate().filter(|(row, list)| {
                let mut sorted = list.to_vec();
                sorted.sort_unstable();
                sorted.windows(2).any(|pair| pair[0] == pair[1]) || sorted.contains(&(*row as i64))
            });
            lines.push(line(format!("{tiles} rows with repeats or themselves"), wrong.count() as f64, 0.0));
            let own = gap(&found.similarities.narrow(0, 0, exact.size()[0]), exact);
            let all = gap(&found.similarities, expected);
            // the stored f32 similarities are themselves rounded
            let (tolerance, all) = if kind == Kind::Double {
                (1e-12, if all <= 1e-7 { 0.0 } else { all })
            } else {
                (2e-6, all)
            };
            lines.push(line(format!("{tiles} similarities"), worse(own, all), tolerance));
        }
    }
    Ok(lines)
}
