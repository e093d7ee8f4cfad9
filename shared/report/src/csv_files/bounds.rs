//! `bounds.csv`: every probe of every bound search.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_contract::Probe;
use cedm_sweep::outcome::BoundOutcome;

type Row<'a> = (&'a BoundOutcome, &'a Probe);

pub fn file(context: &ReportContext) -> Attachment {
    let rows = context.outcome.bounds.iter().flat_map(|bound| {
        let results = bound.result.iter();
        let probes = results.flat_map(|result| &result.probes);
        probes.map(move |probe| (bound, probe))
    });
    table(
        "bounds.csv",
        &[
            ("clustering", |(bound, _): &Row| bound.clustering.clone()),
            ("alpha", |(bound, _)| bound.alpha.to_string()),
            ("C", |(_, probe)| probe.clusters.to_string()),
            ("utilisation", |(_, probe)| probe.utilisation.to_string()),
            ("passes", |(_, probe)| probe.passes.to_string()),
            ("C_max", |(bound, _)| optional(bound.c_max)),
        ],
        rows,
    )
}
