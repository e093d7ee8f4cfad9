//! Metrics that every service has. All label sets start at zero, so that `rate()` and `absent()`
//! work from the first scrape.

use crate::RuntimeError;
use cedm_contract::Kind;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};
use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

/// How an attempt can end, as the label `outcome`.
pub(crate) const OUTCOMES: [&str; 9] = [
    "done",
    "cached",
    "superseded",
    "retry",
    "reject",
    "bug",
    "input_lost",
    "drained",
    "refused",
];
const STORE_OPS: [&str; 6] = ["get", "head", "put", "create", "delete", "list"];
/// Seconds: 5 ms to 60 s, for calls.
const CALL_BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0,
];
/// Seconds: 1 s to 24 h, for jobs.
const JOB_BUCKETS: [f64; 13] = [
    1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0, 86_400.0,
];

/// The metrics of one process.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) jobs: IntCounterVec,
    pub(crate) durations: HistogramVec,
    pub(crate) queue_wait: HistogramVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) redeliveries: IntCounter,
    pub(crate) cache_hits: IntCounter,
    pub(crate) superseded: IntCounter,
    pub(crate) heartbeat_failures: IntCounter,
    pub(crate) checkpoint_age: Gauge,
    pub(crate) checkpoints: IntCounter,
    pub(crate) checkpoint_failures: IntCounter,
    pub(crate) nats_connected: IntGauge,
    pub(crate) nats_denied: IntGauge,
    pub(crate) store: HistogramVec,
    gauges: Arc<RwLock<HashMap<&'static str, Gauge>>>,
    gauge_lists: Arc<RwLock<HashMap<&'static str, GaugeVec>>>,
    counters: Arc<RwLock<HashMap<&'static str, IntCounter>>>,
}

impl Metrics {
    /// The metrics of a service that performs these kinds; every series carries `service`.
    ///
    /// # Errors
    /// Never, unless a name is wrong.
    pub fn new(service: &str, kinds: &[Kind]) -> Result<Self, RuntimeError> {
        let labels = HashMap::from([("service".to_owned(), service.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).map_err(invalid)?;
        let r = &registry;
        let metrics = Self {
            jobs: register(
                r,
                IntCounterVec::new(
                    Opts::new("cedm_jobs_total", "Attempts by how they ended"),
                    &["kind", "outcome"],
                ),
            )?,
            durations: register(
                r,
                HistogramVec::new(
                    buckets(
                        "cedm_job_duration_seconds",
                        "Time on the compute thread",
                        &JOB_BUCKETS,
                    ),
                    &["kind"],
                ),
            )?,
            queue_wait: register(
                r,
                HistogramVec::new(
                    buckets(
                        "cedm_job_queue_wait_seconds",
                        "From submission to the start of an attempt",
                        &JOB_BUCKETS,
                    ),
                    &["kind"],
                ),
            )?,
            in_flight: register(r, IntGauge::new("cedm_jobs_in_flight", "Jobs in hand"))?,
            redeliveries: register(
                r,
                IntCounter::new(
                    "cedm_redeliveries_total",
                    "Jobs that came again after another worker had them",
                ),
            )?,
            cache_hits: register(
                r,
                IntCounter::new(
                    "cedm_cache_hits_total",
                    "Jobs whose verified result existed already",
                ),
            )?,
            superseded: register(
                r,
                IntCounter::new(
                    "cedm_superseded_total",
                    "Attempts that finished after another had won",
                ),
            )?,
            heartbeat_failures: register(
                r,
                IntCounter::new(
                    "cedm_heartbeat_failures_total",
                    "Signs of life that could not be sent",
                ),
            )?,
            checkpoint_age: register(
                r,
                Gauge::new(
                    "cedm_checkpoint_age_seconds",
                    "Since the last checkpoint of the job in hand, or since its start; 0 without one",
                ),
            )?,
            checkpoints: register(
                r,
                IntCounter::new("cedm_checkpoints_total", "Checkpoints stored"),
            )?,
            checkpoint_failures: register(
                r,
                IntCounter::new(
                    "cedm_checkpoint_failures_total",
                    "Checkpoints that the store did not take; the computation went on",
                ),
            )?,
            nats_connected: register(
                r,
                IntGauge::new("cedm_nats_connected", "1 while NATS answers"),
            )?,
            nats_denied: register(
                r,
                IntGauge::new(
                    "cedm_nats_denied_count",
                    "Permission violations since the start",
                ),
            )?,
            store: register(
                r,
                HistogramVec::new(
                    buckets(
                        "cedm_s3_request_duration_seconds",
                        "Requests to the store",
                        &CALL_BUCKETS,
                    ),
                    &["op", "outcome"],
                ),
            )?,
            gauges: Arc::default(),
            gauge_lists: Arc::default(),
            counters: Arc::default(),
            registry,
        };
        for kind in kinds {
            for outcome in OUTCOMES {
                metrics.jobs.with_label_values(&[kind.token(), outcome]);
            }
            metrics.durations.with_label_values(&[kind.token()]);
            metrics.queue_wait.with_label_values(&[kind.token()]);
        }
        for op in STORE_OPS {
            for outcome in ["ok", "error"] {
                metrics.store.with_label_values(&[op, outcome]);
            }
        }
        let build = IntGaugeVec::new(
            Opts::new("cedm_build_info", "What this process was built from"),
            &["version", "revision"],
        );
        register(&metrics.registry, build)?
            .with_label_values(&[crate::VERSION, crate::REVISION])
            .set(1);
        Ok(metrics)
    }

    /// Adds a gauge of the service's own; [`Metrics::set`] finds it by name.
    ///
    /// # Errors
    /// When the name is wrong or taken.
    pub fn add_gauge(&self, name: &'static str, help: &str) -> Result<Gauge, RuntimeError> {
        let gauge = register(&self.registry, Gauge::new(name, help))?;
        write(&self.gauges).insert(name, gauge.clone());
        Ok(gauge)
    }

    /// A gauge with one series per element of a list, told apart by `label` = 0, 1, …; the first is
    /// there from the start.
    ///
    /// # Errors
    /// When the name is wrong or taken.
    pub fn add_gauge_list(
        &self,
        name: &'static str,
        label: &str,
        help: &str,
    ) -> Result<(), RuntimeError> {
        let gauges = self.add_gauges(name, help, &[label])?;
        gauges.with_label_values(&["0"]);
        write(&self.gauge_lists).insert(name, gauges);
        Ok(())
    }

    /// The same for a counter and [`Metrics::add`].
    ///
    /// # Errors
    /// When the name is wrong or taken.
    pub fn add_counter(&self, name: &'static str, help: &str) -> Result<IntCounter, RuntimeError> {
        let counter = register(&self.registry, IntCounter::new(name, help))?;
        write(&self.counters).insert(name, counter.clone());
        Ok(counter)
    }

    /// A gauge with labels; set every label set once at the start.
    ///
    /// # Errors
    /// When the name is wrong or taken.
    pub fn add_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, RuntimeError> {
        register(&self.registry, GaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram of calls (5 ms to 60 s).
    ///
    /// # Errors
    /// When the name is wrong or taken.
    pub fn add_call_histogram(&self, name: &str, help: &str) -> Result<Histogram, RuntimeError> {
        register(
            &self.registry,
            Histogram::with_opts(buckets(name, help, &CALL_BUCKETS)),
        )
    }

    /// Sets a gauge of the service's own. A name that was not registered is a mistake of the
    /// service; it is said once per call.
    pub fn set(&self, name: &str, value: f64) {
        match read(&self.gauges).get(name) {
            Some(gauge) => gauge.set(value),
            None => tracing::warn!(name, "gauge was not registered by the service"),
        }
    }

    /// Sets a gauge list of the service's own; elements of an earlier, longer list go.
    pub fn set_list(&self, name: &str, values: &[f64]) {
        let lists = read(&self.gauge_lists);
        let Some(gauges) = lists.get(name) else {
            return tracing::warn!(name, "gauge list was not registered by the service");
        };
        for (index, value) in values.iter().enumerate() {
            gauges.with_label_values(&[index.to_string()]).set(*value);
        }
        let mut beyond = values.len();
        while gauges.remove_label_values(&[&beyond.to_string()]).is_ok() {
            beyond += 1;
        }
    }

    /// Adds to a counter of the service's own.
    pub fn add(&self, name: &str, by: u64) {
        match read(&self.counters).get(name) {
            Some(counter) => counter.inc_by(by),
            None => tracing::warn!(name, "counter was not registered by the service"),
        }
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("invariant: registered metrics encode");
        String::from_utf8(text).expect("invariant: the text format is UTF-8")
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn invalid(error: prometheus::Error) -> RuntimeError {
    anyhow::anyhow!("metrics: {error}").into()
}

fn buckets(name: &str, help: &str, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(bounds.to_vec())
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> Result<C, RuntimeError> {
    let collector = made.map_err(invalid)?;
    registry
        .register(Box::new(collector.clone()))
        .map_err(invalid)?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_series_for_each_element_and_no_more() {
        let metrics = Metrics::new("clusterer", &[Kind::Cluster]).unwrap();
        metrics.add_gauge_list("cedm_loss", "head", "Loss").unwrap();
        let shown = || {
            metrics
                .render()
                .lines()
                .filter(|line| line.starts_with("cedm_loss{"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(), [r#"cedm_loss{head="0",service="clusterer"} 0"#]);
        metrics.set_list("cedm_loss", &[1.5, 2.0, 3.0]);
        assert_eq!(shown().len(), 3);
        metrics.set_list("cedm_loss", &[4.0, 2.5]);
        assert_eq!(
            shown(),
            [
                r#"cedm_loss{head="0",service="clusterer"} 4"#,
                r#"cedm_loss{head="1",service="clusterer"} 2.5"#
            ]
        );
    }

    #[test]
    fn every_series_is_there_from_the_start() {
        let text = Metrics::new("trainer", &[Kind::Train]).unwrap().render();
        for series in [
            r#"cedm_jobs_total{kind="train",outcome="done",service="trainer"} 0"#,
            r#"cedm_job_duration_seconds_count{kind="train",service="trainer"} 0"#,
            r#"cedm_s3_request_duration_seconds_count{op="put",outcome="error",service="trainer"} 0"#,
            r#"cedm_redeliveries_total{service="trainer"} 0"#,
            r#"cedm_nats_connected{service="trainer"} 0"#,
        ] {
            assert!(
                text.lines().any(|line| line == series),
                "{series} is missing in\n{text}"
            );
        }
    }
}
