//! The largest error of every group of fixtures, as rows of a Markdown table.

use crate::fixture::Comparison;
use std::{collections::BTreeMap, fmt::Display};

/// Tolerances up to this one are for comparisons in float64.
const DOUBLE: f64 = 1e-8;

/// What was compared, by the two upper folders, or folder and first word of the file name.
#[derive(Default)]
pub struct Summary(BTreeMap<String, Group>);

#[derive(Default)]
struct Group {
    files: usize,
    comparisons: usize,
    /// Comparisons of integers and bytes, which must be equal.
    differing: f64,
    double: Worst,
    single: Worst,
}

#[derive(Default)]
struct Worst {
    error: f64,
    tolerance: f64,
    seen: bool,
}

impl Worst {
    /// Keeps the comparison with the largest ratio of error to tolerance; NaN counts as infinite.
    fn add(&mut self, line: &Comparison) {
        let share = |error: f64, tolerance: f64| {
            if error.is_nan() {
                f64::INFINITY
            } else {
                error / tolerance
            }
        };
        if !self.seen || share(line.error, line.tolerance) > share(self.error, self.tolerance) {
            (self.error, self.tolerance, self.seen) = (line.error, line.tolerance, true);
        }
    }
}

impl Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.seen {
            write!(f, "{:.1e} of {:.0e}", self.error, self.tolerance)
        } else {
            f.write_str("–")
        }
    }
}

impl Summary {
    /// Counts the comparisons of one file.
    pub fn add(&mut self, shown: &str, comparisons: &[Comparison]) {
        let group = self.0.entry(group_of(shown)).or_default();
        group.files += 1;
        group.comparisons += comparisons.len();
        for line in comparisons {
            if line.tolerance == 0.0 {
                let error = if line.error.is_nan() {
                    f64::INFINITY
                } else {
                    line.error
                };
                group.differing = group.differing.max(error);
            } else if line.tolerance <= DOUBLE {
                group.double.add(line);
            } else {
                group.single.add(line);
            }
        }
    }
}

fn group_of(shown: &str) -> String {
    match shown.split('/').collect::<Vec<_>>()[..] {
        [kind, sort, _, ..] => format!("{kind}/{sort}"),
        [kind, name] => format!(
            "{kind}/{}",
            name.split(['_', '-', '.']).next().unwrap_or(name)
        ),
        _ => shown.to_owned(),
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "| fixtures | files | comparisons | must be equal: worst | 1e-8 or less allowed: \
             worst | more allowed: worst |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for (name, group) in &self.0 {
            let Group {
                files,
                comparisons,
                differing,
                double,
                single,
            } = group;
            writeln!(
                f,
                "| {name} | {files} | {comparisons} | {differing} | {double} | {single} |"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_what_comes_nearest_to_its_tolerance() {
        let line = |error, tolerance| Comparison {
            what: String::new(),
            error,
            tolerance,
        };
        let mut summary = Summary::default();
        summary.add(
            "metrics/fd_a.safetensors",
            &[
                line(1e-12, 1e-9),
                line(5e-11, 1e-10),
                line(1e-5, 1e-4),
                line(0.0, 0.0),
            ],
        );
        summary.add("extractors/vit/png/a.safetensors", &[]);
        summary.add("metrics/fd_b.safetensors", &[line(f64::NAN, 1e-4)]);
        let text = summary.to_string();
        assert_eq!(
            text.lines().last().unwrap(),
            "| metrics/fd | 2 | 5 | 0 | 5.0e-11 of 1e-10 | NaN of 1e-4 |"
        );
    }
}
