//! Which image lies in which cluster: the assignments file of a clustering, and labels in general.

use crate::context::ReportContext;
use cedm_contract::ObjectRef;
use cedm_contract::kinds::cluster::assignments::{CONFIDENCE, COUNTS, IDS};
use cedm_sweep::outcome::ClusteringOutcome;
use std::collections::BTreeMap;

/// The assignments file of a clustering, not yet read.
pub struct Assignments<'a> {
    context: &'a ReportContext<'a>,
    file: &'a ObjectRef,
}

impl<'a> Assignments<'a> {
    /// The file of this clustering.
    ///
    /// # Errors
    /// The clustering has none.
    pub fn of(
        context: &'a ReportContext,
        clustering: &'a ClusteringOutcome,
    ) -> Result<Self, String> {
        let file = clustering.assignments.as_ref();
        let file = file.ok_or("the clustering has no assignments file")?;
        Ok(Self { context, file })
    }

    /// The cluster of every training image, from 0 without gaps, in the order of the set.
    pub fn ids(&self) -> Result<Vec<i64>, String> {
        let ids = self.context.artefacts.integers(self.file, IDS.name)?;
        ids.ok_or_else(|| self.holds_no(IDS.name))
    }

    /// Images of every used cluster, by its id.
    pub fn counts(&self) -> Result<Vec<i64>, String> {
        let counts = self.context.artefacts.integers(self.file, COUNTS.name)?;
        let counts = counts.ok_or_else(|| self.holds_no(COUNTS.name))?;
        if counts.iter().sum::<i64>() > 0 {
            Ok(counts)
        } else {
            Err("the assignments file counts no images".to_owned())
        }
    }

    /// Log-confidence of every training image, in the order of the set; TEMI alone writes it.
    pub fn confidence(&self) -> Result<Vec<f32>, String> {
        let confidence = self.context.artefacts.floats(self.file, CONFIDENCE.name)?;
        confidence.ok_or_else(|| self.holds_no(CONFIDENCE.name))
    }

    fn holds_no(&self, name: &str) -> String {
        format!("the assignments file holds no `{name}`")
    }
}

/// Rows of each label, in order; negative labels mean that an image has none.
pub fn rows_by_label(labels: &[i64]) -> BTreeMap<i64, Vec<u64>> {
    let mut rows: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (row, label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
        rows.entry(*label).or_default().push(row as u64);
    }
    rows
}

/// Labels from 0 to the largest that occurs: how many there are.
pub fn number_of_labels(labels: &[i64]) -> usize {
    labels.iter().max().map_or(0, |label| (*label).max(-1) + 1) as usize
}
