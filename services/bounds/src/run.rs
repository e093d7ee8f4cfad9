//! `bounds run`: the search over a table of utilisation, from a file to JSON.

use crate::{Grid, Observation, next, search};
use anyhow::{Context, bail};
use cedm_contract::{
    BoundResult,
    params::{BoundParams, FineGrid},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Searches C_max in a table of clusterings that are there already, and prints the decision as JSON.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// CSV with a header and the columns `clusters,used` and, if there is more than one clustering per C, `seed`; or JSON: a list of
    /// objects with these keys.
    table: PathBuf,
    /// Utilisation must exceed this, strictly.
    #[arg(long, default_value_t = BoundParams::default().alpha)]
    alpha: f64,
    /// First C; the smallest of the table when absent.
    #[arg(long)]
    start: Option<u32>,
    /// Largest C to consider.
    #[arg(long, default_value_t = BoundParams::default().cap)]
    cap: u32,
    /// Look at every multiple of this between the last C that passed and the first that failed. Without this and `--bisect-to`:
    /// at every C of the table.
    #[arg(long, conflicts_with = "bisect_to")]
    fine_step: Option<u32>,
    /// Halve the gap until it is at most this wide.
    #[arg(long)]
    bisect_to: Option<u32>,
    /// Clusterings per C that must be there before their mean counts.
    #[arg(long, default_value_t = 1)]
    seeds: u32,
    /// Number of images: no C above it is asked for.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    images: u64,
}

/// A row of the table.
#[derive(Debug, Deserialize, PartialEq)]
struct Row {
    #[serde(alias = "C")]
    clusters: u32,
    #[serde(alias = "utilised")]
    used: u32,
    seed: Option<u64>,
}

impl RunArgs {
    /// The decision that follows from the table.
    ///
    /// # Errors
    /// When the table cannot be read, or alpha is no fraction.
    pub fn run(&self) -> anyhow::Result<BoundResult> {
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            bail!("--alpha is {}: expected more than 0 and less than 1", self.alpha);
        }
        let rows = read(&self.table)?;
        let mut by_clusters: BTreeMap<u32, Vec<Observation>> = BTreeMap::new();
        for row in &rows {
            let seen = by_clusters.entry(row.clusters).or_default();
            let seed = row.seed.unwrap_or(seen.len() as u64);
            seen.push(Observation { clusters: row.clusters, seed, used: row.used });
        }
        let listed: Vec<u32> = by_clusters.keys().copied().filter(|c| *c <= self.cap && u64::from(*c) <= self.images).collect();
        let Some(start) = self.start.or(listed.first().copied()) else { bail!("{} has no rows", self.table.display()) };
        let fine = match (self.fine_step, self.bisect_to) {
            (Some(step), _) => FineGrid::Step { step },
            (None, Some(resolution)) => FineGrid::Bisect { resolution },
            (None, None) => {
                let used = |c: u32| by_clusters.get(&c).map(|seen| seen.iter().map(|o| o.used).collect());
                return Ok(search(self.alpha, start, Grid::Listed(&listed), used).into_result());
            }
        };
        let params = BoundParams { alpha: self.alpha, start, cap: self.cap, fine, seeds: self.seeds };
        let history: Vec<Observation> = by_clusters.into_values().flatten().collect();
        Ok(next(&history, &params, self.images))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let rows = if text.trim_start().starts_with('[') { serde_json::from_str(&text).map_err(Into::into) } else { parse_csv(&text) };
    let rows: Vec<Row> = rows.with_context(|| format!("table {}", path.display()))?;
    for row in &rows {
        if row.clusters < 1 || row.used > row.clusters {
            bail!("table {}: {} of {} clusters are used: expected at most all", path.display(), row.used, row.clusters);
        }
    }
    Ok(rows)
}

fn parse_csv(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().context("the file is empty: expected a header with clusters,used")?;
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let column = |wanted: &[&str]| names.iter().position(|name| wanted.contains(name));
    let clusters = column(&["clusters", "C"]).with_context(|| format!("no column `clusters` in `{header}`"))?;
    let used = column(&["used", "utilised"]).with_context(|| format!("no column `used` in `{header}`"))?;
    let seed = column(&["seed"]);
    lines
        .map(|(number, line)| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let cell = |index: usize, name: &str| -> anyhow::Result<u64> {
                let text = cells.get(index).with_context(|| format!("line {}: no `{name}`", number + 1))?;
                text.parse().with_context(|| format!("line {}: `{name}` is `{text}`: expected a whole number", number + 1))
            };
            let small = |value: u64| u32::try_from(value).with_context(|| format!("line {}: {value} is too large", number + 1));
            Ok(Row {
                clusters: small(cell(clusters, "clusters")?)?,
                used: small(cell(used, "used")?)?,
                seed: seed.map(|index| cell(index, "seed")).transpose()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_columns_go_by_name() {
        let rows = parse_csv("seed, used,other,clusters\n0,10,x,10\n\n1,19,y,20\n").unwrap();
        assert_eq!(rows, [Row { clusters: 10, used: 10, seed: Some(0) }, Row { clusters: 20, used: 19, seed: Some(1) }]);
        for (text, says) in [
            ("", "empty"),
            ("clusters\n5", "no column `used`"),
            ("clusters,used\n5", "line 2: no `used`"),
            ("clusters,used\n5,x", "line 2: `used` is `x`"),
            ("clusters,used\n5000000000,1", "too large"),
        ] {
            assert!(format!("{:#}", parse_csv(text).unwrap_err()).contains(says), "{text}");
        }
    }
}
