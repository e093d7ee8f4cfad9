//! `curves.csv`: training curves, every tick.

use super::table;
use crate::{Attachment, context::ReportContext, training_curve::TrainingCurve};

struct Row<'a> {
    network: &'a str,
    nimg: f64,
    quantity: String,
    value: f64,
}

pub fn file(context: &ReportContext) -> Attachment {
    let mut rows = Vec::new();
    for cell in &context.outcome.cells {
        // The page says why a curve cannot be read.
        let Ok(curve) = TrainingCurve::read(context, cell) else {
            continue;
        };
        for quantity in curve.quantities() {
            let values = curve.values(quantity).into_iter();
            rows.extend(values.map(|(nimg, value)| Row {
                network: &cell.label,
                nimg,
                quantity: quantity.to_owned(),
                value,
            }));
        }
    }
    table(
        "curves.csv",
        &[
            ("network", |row: &Row| row.network.to_owned()),
            ("training_images", |row| row.nimg.to_string()),
            ("quantity", |row| row.quantity.clone()),
            ("value", |row| row.value.to_string()),
        ],
        rows,
    )
}
