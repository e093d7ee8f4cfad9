//! Sweeps of which no job is started: cancelled or paused ones, by their marks in the store.

use crate::store::{Store, StoreError};
use cedm_contract::{CANCELLED, PAUSED, SweepId, sweep_key};

/// The marks, each named like the state that it means.
const MARKS: [&str; 2] = [CANCELLED, PAUSED];

/// How the sweep is held, `cancelled` or `paused`; `None` where its jobs may be performed.
///
/// # Errors
/// When the store fails.
pub(crate) async fn held(
    store: &dyn Store,
    sweep: &SweepId,
) -> Result<Option<&'static str>, StoreError> {
    for state in MARKS {
        if store.size(&sweep_key(sweep, state)).await?.is_some() {
            return Ok(Some(state));
        }
    }
    Ok(None)
}
