//! The training curve of a network, read from the `curve.json` of its segments.

use crate::context::ReportContext;
use cedm_contract::kinds::train::curve::KIMG;
use cedm_sweep::outcome::CellOutcome;
use std::collections::BTreeMap;

/// Columns by name with one entry per tick of training; all of one length.
type Columns = BTreeMap<String, Vec<Option<f64>>>;

/// Quantities along the training of one network, over all of its finished segments.
pub struct TrainingCurve(Columns);

impl TrainingCurve {
    /// The curve of this network.
    ///
    /// # Errors
    /// No segment is done, or a segment's curve cannot be read.
    pub fn read(context: &ReportContext, cell: &CellOutcome) -> Result<Self, String> {
        let mut whole = Columns::new();
        let snapshots = cell.snapshots.iter();
        for training in snapshots.filter_map(|snapshot| snapshot.training.as_ref()) {
            let object = training.curve.as_ref();
            let object = object.ok_or("the training job wrote no curve")?;
            let bytes = context.artefacts.bytes(object)?;
            let segment = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: {error}", object.object))?;
            append(&mut whole, segment);
        }
        if ticks(&whole) == 0 {
            return Err("none of its segments is done".to_owned());
        }
        Ok(Self(whole))
    }

    /// Names of the quantities, in alphabetical order.
    pub fn quantities(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| *name != KIMG)
    }

    /// (training images, value) of every tick that has a value of this quantity.
    pub fn values(&self, quantity: &str) -> Vec<(f64, f64)> {
        let column = |name| self.0.get(name).into_iter().flatten();
        let pairs = column(KIMG).zip(column(quantity));
        let value =
            |(kimg, value): (&Option<f64>, &Option<f64>)| Some((1000.0 * (*kimg)?, (*value)?));
        pairs.filter_map(value).collect()
    }
}

/// Appends a segment. A column that only some segments have is empty over the others.
fn append(whole: &mut Columns, segment: Columns) {
    let (before, after) = (ticks(whole), ticks(whole) + ticks(&segment));
    for (name, column) in segment {
        let place = whole.entry(name).or_default();
        place.resize(before, None);
        place.extend(column);
    }
    for column in whole.values_mut() {
        column.resize(after, None);
    }
}

fn ticks(columns: &Columns) -> usize {
    columns.get(KIMG).map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(entries: &[(&str, &[f64])]) -> Columns {
        let column = |values: &[f64]| values.iter().copied().map(Some).collect();
        let entries = entries.iter();
        entries
            .map(|(name, values)| ((*name).to_owned(), column(values)))
            .collect()
    }

    #[test]
    fn a_quantity_that_one_segment_lacks_keeps_its_place() {
        let mut whole = columns(&[("kimg", &[1.0, 2.0]), ("loss", &[0.5, 0.4])]);
        append(&mut whole, columns(&[("kimg", &[3.0]), ("lr", &[0.1])]));
        append(&mut whole, columns(&[("kimg", &[4.0]), ("loss", &[0.3])]));
        let curve = TrainingCurve(whole);
        assert_eq!(curve.quantities().collect::<Vec<_>>(), ["loss", "lr"]);
        let loss = [(1000.0, 0.5), (2000.0, 0.4), (4000.0, 0.3)];
        assert_eq!(curve.values("loss"), loss);
        assert_eq!(curve.values("lr"), [(3000.0, 0.1)]);
    }
}
