//! `curves.csv`: training curves, every tick.

use super::table;
use crate::{Attachment, context::ReportContext, sections::curve_of};

/// Network, training images, quantity, value.
type Row<'a> = (&'a str, f64, String, f64);

pub fn file(context: &ReportContext) -> Attachment {
    let rows = context.outcome.cells.iter().flat_map(|cell| {
        let ticks = curve_of(context, cell).into_iter();
        ticks.map(|(nimg, quantity, value)| (cell.label.as_str(), nimg, quantity, value))
    });
    table(
        "curves.csv",
        &[
            ("network", |row: &Row| row.0.to_owned()),
            ("training_images", |row| row.1.to_string()),
            ("quantity", |row| row.2.clone()),
            ("value", |row| row.3.to_string()),
        ],
        rows,
    )
}
