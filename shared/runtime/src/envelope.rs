//! What travels beside a job: versions of the build that it is for, W3C trace context, failures so
//! far, when it was first queued.

use async_nats::HeaderMap;
use cedm_contract::{Kind, SCHEMA_VERSION};
use std::fmt;

pub(crate) const SCHEMA: &str = "Cedm-Schema";
const TRACEPARENT: &str = "traceparent";
const FAILURES: &str = "Cedm-Failures";
const OUTAGES: &str = "Cedm-Outages";
const STORE: &str = "Cedm-Store";
const ALGORITHM: &str = "Cedm-Algorithm";
const RETURNS: &str = "Cedm-Returns";
const QUEUED_MS: &str = "Cedm-Queued-Ms";

/// A W3C trace id: the same from the submission of a job through all its attempts to its events.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// A new random trace id, never zero.
    pub fn generate() -> Self {
        // Zero means "invalid" in the standard.
        Self(rand::random::<u128>().max(1))
    }

    /// The id in a `traceparent` header.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, id, span) = (parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || id.len() != 32 || span.len() != 16 {
            return None;
        }
        u128::from_str_radix(id, 16)
            .ok()
            .filter(|id| *id != 0)
            .map(Self)
    }

    /// A `traceparent` header with a fresh span.
    pub fn traceparent(self) -> String {
        format!("00-{self}-{:016x}-01", rand::random::<u64>().max(1))
    }
}
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The headers of a job's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Failures that workers reported; a crash is counted by the broker instead.
    pub failures: u64,
    /// Attempts that failed since the store did not give or take an object, though it answers.
    pub outages: u64,
    /// When the job was first queued, in Unix milliseconds.
    pub queued_ms: u64,
    /// Id of the trace that the job belongs to.
    pub trace: TraceId,
    /// Id of the store in which its inputs are, where it is known.
    pub store: Option<ulid::Ulid>,
    /// [`SCHEMA_VERSION`] of the program that submitted the job.
    pub schema: u32,
    /// Version of the algorithm that the job is for, where it is known; part of its key.
    pub algorithm: Option<u32>,
    /// How often workers of another version gave the job back.
    pub returns: u64,
}

impl Envelope {
    /// Of a job submitted now.
    pub fn fresh() -> Self {
        Self {
            failures: 0,
            outages: 0,
            queued_ms: crate::now_ms(),
            trace: TraceId::generate(),
            store: None,
            schema: SCHEMA_VERSION,
            algorithm: None,
            returns: 0,
        }
    }

    /// Of a job of this kind, as this build submits it.
    pub(crate) fn of_kind(kind: Kind) -> Self {
        Self {
            algorithm: Some(kind.algorithm_version()),
            ..Self::fresh()
        }
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SCHEMA, self.schema.to_string());
        headers.insert(TRACEPARENT, self.trace.traceparent());
        headers.insert(FAILURES, self.failures.to_string());
        if let Some(store) = self.store {
            headers.insert(STORE, store.to_string());
        }
        if let Some(algorithm) = self.algorithm {
            headers.insert(ALGORITHM, algorithm.to_string());
        }
        for (name, count) in [(OUTAGES, self.outages), (RETURNS, self.returns)] {
            if count > 0 {
                headers.insert(name, count.to_string());
            }
        }
        headers.insert(QUEUED_MS, self.queued_ms.to_string());
        headers
    }

    /// The envelope of a message; what is missing or unreadable takes the value of a fresh one.
    pub(crate) fn of(headers: Option<&HeaderMap>) -> Self {
        let text = |name| {
            headers
                .and_then(|headers| headers.get(name))
                .map(|value| value.as_str())
        };
        let number = |name| text(name).and_then(|text| text.parse().ok());
        let version = |name| text(name).and_then(|text| text.parse().ok());
        let fresh = Self::fresh();
        Self {
            failures: number(FAILURES).unwrap_or(0),
            outages: number(OUTAGES).unwrap_or(0),
            queued_ms: number(QUEUED_MS).unwrap_or(fresh.queued_ms),
            trace: text(TRACEPARENT)
                .and_then(TraceId::parse)
                .unwrap_or(fresh.trace),
            store: text(STORE).and_then(|text| text.parse().ok()),
            schema: version(SCHEMA).unwrap_or(fresh.schema),
            algorithm: version(ALGORITHM),
            returns: number(RETURNS).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        let envelope = Envelope {
            failures: 3,
            outages: 2,
            queued_ms: 1_700_000_000_000,
            trace: TraceId::generate(),
            store: Some(ulid::Ulid::generate()),
            schema: SCHEMA_VERSION + 1,
            algorithm: Some(7),
            returns: 4,
        };
        assert_eq!(Envelope::of(Some(&envelope.headers())), envelope);
        assert_eq!(Envelope::of(None).failures, 0);
    }

    #[test]
    fn malformed_trace_contexts_are_refused() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            TraceId::parse(good).unwrap().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        for bad in [
            "",
            "00",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-zz-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
    }
}
