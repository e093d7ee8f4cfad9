//! Text for a terminal: durations, sizes, rates, tables.

use cedm_terminal::{outtext, printable};
use comfy_table::{ContentArrangement, presets};
use std::time::Duration;

/// A table without a frame that wraps at the terminal's width.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

/// A table with this head and no rows yet.
pub fn table(head: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head);
    Table(table)
}

impl Table {
    /// Adds a row. Cells may hold text of strangers: its line breaks and control characters are
    /// escaped, so that it forges no row.
    pub fn add_row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let cells = cells.into_iter();
        self.0
            .add_row(cells.map(|cell| printable(cell.as_ref()).into_owned()));
    }
    /// Prints it on standard output.
    pub fn print(&self) {
        outtext!("{}", self.0);
    }
    /// Its lines.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A duration in its two largest units: `3 h 05 min`, `4 min 10 s`, `12 s`, `0.4 s`.
pub fn duration(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {:02} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// The time since a Unix time in milliseconds, as [`duration`] writes it.
pub fn since(at_ms: u64) -> String {
    duration(Duration::from_millis(
        cedm_runtime::now_ms().saturating_sub(at_ms),
    ))
}

/// A size in decimal units: `1.2 GB`, `34.0 kB`, `12 B`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (size as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{size} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A whole number with thousands separators: `1,797`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second: `12,340/s`, `3.2/s`, `0.04/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 100.0 => format!("{}/s", count(r.round() as u64)),
        r if r >= 1.0 => format!("{r:.1}/s"),
        r => format!("{r:.2}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_forges_no_row() {
        let mut table = table(&["job", "error"]);
        table.add_row(["a", "first\nb  done\u{1b}[A"]);
        let shown = table.0.to_string();
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains("first\\nb  done\\u{1b}[A"), "{shown}");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let seconds = |s| duration(Duration::from_secs_f64(s));
        assert_eq!(seconds(0.42), "0.4 s");
        assert_eq!(seconds(12.0), "12 s");
        assert_eq!(seconds(250.0), "4 min 10 s");
        assert_eq!(seconds(11_100.0), "3 h 05 min");
        assert_eq!(seconds(200_000.0), "2 d 07 h");
        assert_eq!(
            (bytes(12), bytes(34_000), bytes(1_230_000_000)),
            ("12 B".into(), "34.0 kB".into(), "1.2 GB".into())
        );
        assert_eq!(
            (count(7), count(1797), count(1_000_000)),
            ("7".into(), "1,797".into(), "1,000,000".into())
        );
        assert_eq!(
            (rate(12_340.4), rate(3.21), rate(0.04)),
            ("12,340/s".into(), "3.2/s".into(), "0.04/s".into())
        );
    }
}
