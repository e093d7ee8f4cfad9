//! `cedm-bounds run`: one step of the search from a table on disk, or the whole search on a file of
//! features, without broker and store.

mod on_features;

pub use on_features::FeatureArgs;

use crate::search::{self, Observation};
use anyhow::{Context, bail, ensure};
use cedm_contract::kinds::bound::{BoundParams, FineGrid};
use cedm_runtime::InputPath;
use std::{collections::BTreeMap, io::Read};

/// Options of `cedm-bounds run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Utilisation table: CSV lines `C,used`, or JSON `[{"clusters": C, "used": [U, …]}, …]`; `-`
    /// reads standard input
    #[arg(
        required_unless_present = "features",
        conflicts_with = "features",
        requires = "images"
    )]
    pub table: Option<InputPath>,
    /// Number of images in the set; C never exceeds it
    #[arg(long)]
    pub images: Option<u64>,
    /// A C passes when its utilisation is greater than this
    #[arg(long, default_value_t = BoundParams::default().alpha)]
    pub alpha: f64,
    /// First C to probe
    #[arg(long, default_value_t = BoundParams::default().start)]
    pub start: u32,
    /// Largest C to probe
    #[arg(long, default_value_t = BoundParams::default().cap)]
    pub cap: u32,
    /// Spacing of the finer grid; default: the interval between the last C that passes and the
    /// first that fails is divided into quarters
    #[arg(long, conflicts_with = "bisect")]
    pub step: Option<u32>,
    /// Instead of a grid, bisect until the gap is at most this
    #[arg(long)]
    pub bisect: Option<u32>,
    /// Options of a search on features.
    #[command(flatten)]
    pub on_features: FeatureArgs,
}

/// The next step after the probes in the table, or the whole search on features; the result as
/// JSON.
///
/// # Errors
/// For a table that cannot be read, as [`search::next`], and when a clustering fails.
pub fn run(args: &RunArgs) -> anyhow::Result<serde_json::Value> {
    let fine = match (args.bisect, args.step) {
        (Some(resolution), _) => FineGrid::Bisect { resolution },
        (None, Some(step)) => FineGrid::Step { step },
        (None, None) => FineGrid::default(),
    };
    let params = BoundParams {
        alpha: args.alpha,
        start: args.start,
        cap: args.cap,
        fine,
        seeds: 1,
    };
    let (Some(table), Some(images)) = (&args.table, args.images) else {
        return on_features::search(&args.on_features, params);
    };
    let history = parse(&read(table)?).with_context(|| format!("table {table}"))?;
    Ok(serde_json::to_value(search::next(
        &history, &params, images,
    )?)?)
}

/// Longest table in bytes: a search has some hundred lines.
const TABLE_LIMIT: u64 = 1 << 20;

fn read(table: &InputPath) -> anyhow::Result<String> {
    let path = table.path()?;
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(TABLE_LIMIT + 1)
            .read_to_string(&mut text)
            .context("read standard input")?;
        let size = text.len() as u64;
        ensure!(
            size <= TABLE_LIMIT,
            "standard input has more than {TABLE_LIMIT} bytes"
        );
        return Ok(text);
    }
    cedm_runtime::read_text_file(path, TABLE_LIMIT).with_context(|| format!("read {table}"))
}

fn parse(text: &str) -> anyhow::Result<Vec<Observation>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        clusters: u32,
        used: Vec<u32>,
    }
    if text.trim_start().starts_with('[') {
        let rows: Vec<Row> = serde_json::from_str(text)
            .context("expected a list of {\"clusters\": C, \"used\": [U, …]}")?;
        return Ok(rows
            .into_iter()
            .map(|row| Observation {
                clusters: row.clusters,
                used: row.used,
            })
            .collect());
    }
    let mut table: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        // A first line that begins with a letter is a heading.
        if line.is_empty() || (index == 0 && line.starts_with(|c: char| c.is_alphabetic())) {
            continue;
        }
        let numbers = line
            .split_once(',')
            .and_then(|(c, u)| Some((c.trim().parse().ok()?, u.trim().parse().ok()?)));
        let Some((clusters, used)) = numbers else {
            bail!("line {}: found `{line}`, expected `C,used`", index + 1);
        };
        // Lines with the same C are seeds of one probe.
        table.entry(clusters).or_default().push(used);
    }
    Ok(table
        .into_iter()
        .map(|(clusters, used)| Observation { clusters, used })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn reads_csv_and_json() {
        let csv = parse("C,used\n50,50\n100, 99\n100,97\n").expect("valid");
        let json =
            parse(r#"[{"clusters": 50, "used": [50]}, {"clusters": 100, "used": [99, 97]}]"#)
                .expect("valid");
        assert_eq!(csv, json);
    }

    #[test]
    fn an_error_names_the_line() {
        let error = parse("50,50\n100 99\n").expect_err("no comma").to_string();
        assert_eq!(error, "line 2: found `100 99`, expected `C,used`");
    }

    #[test]
    fn a_table_is_a_path_or_an_object_of_a_store() {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            run: RunArgs,
        }
        let parse = |input: &str| Cli::try_parse_from(["run", input, "--images", "100"]);
        for input in ["table.csv", "s3://data/table.csv", "-"] {
            let args = parse(input).expect("valid").run;
            assert_eq!(args.table.expect("given").to_string(), input);
        }
        let error = parse("https://host/table.csv")
            .expect_err("no path")
            .to_string();
        assert!(error.contains("s3://bucket/key"), "{error}");
    }
}
