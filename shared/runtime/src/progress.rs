//! How far the current job is: written by the compute thread, read by heartbeats and progress
//! events.

use cedm_contract::{JobKey, Kind};
use std::sync::{Mutex, PoisonError};

/// The current job, if any.
#[derive(Debug, Default)]
pub(crate) struct ProgressTable(Mutex<Option<Progress>>);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub key: JobKey,
    pub kind: Kind,
    pub since_ms: u64,
    pub done: u64,
    pub total: u64,
    pub unit: &'static str,
}

impl ProgressTable {
    pub(crate) fn begin(&self, key: &JobKey, kind: Kind) {
        let progress = Progress {
            key: key.clone(),
            kind,
            since_ms: crate::now_ms(),
            done: 0,
            total: 0,
            unit: "",
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    pub(crate) fn advance(&self, done: u64, total: u64, unit: &'static str) {
        if let Some(progress) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            (progress.done, progress.total, progress.unit) = (done, total, unit);
        }
    }

    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn read(&self) -> Option<Progress> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
