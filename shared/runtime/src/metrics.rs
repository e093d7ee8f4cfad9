//! The metrics of one process: a registry that typed handles write to, rendered for Prometheus.
//! Every series starts at zero, so that `rate()` and `absent()` work from the first scrape.

mod definition;
pub(crate) mod process;

pub use definition::{
    CallSeconds, Counter, Gauge, GaugeList, JobSeconds, Metric, MetricDefinition, MetricKind,
    MetricType, count,
};

use crate::{RuntimeError, attempt::AttemptEnd, error::chain, undecodable};
use anyhow::Context as _;
use cedm_contract::Kind;
use process::{BUILD, JOB_DURATION, JOBS, QUEUE_WAIT, STORE_REQUESTS, UNDECODABLE};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

const STORE_OPERATIONS: [&str; 6] = ["get", "head", "put", "create", "delete", "list"];

/// The metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    collectors: Arc<RwLock<HashMap<&'static str, Collector>>>,
    /// Held while the counter of what could not be decoded is brought up to date.
    undecodable: Arc<Mutex<()>>,
}

/// One registered metric, with all its series.
#[derive(Clone)]
enum Collector {
    Gauge(GaugeVec),
    Counter(IntCounterVec),
    Histogram(HistogramVec),
}

impl Metrics {
    /// The metrics that every process has, for a service that performs these kinds; every series
    /// carries the label `service`.
    ///
    /// # Errors
    /// Never, unless a name is malformed or defined twice.
    pub fn new(service: &str, kinds: &[Kind]) -> Result<Self, RuntimeError> {
        let labels = HashMap::from([("service".to_owned(), service.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).context("create the registry")?;
        let metrics = Self {
            registry,
            collectors: Arc::default(),
            undecodable: Arc::default(),
        };
        metrics.register(process::METRICS)?;
        for kind in kinds {
            for ended in AttemptEnd::ALL {
                metrics.add_at(&JOBS, [kind.token(), ended.label()], 0);
            }
            metrics.start_histogram(&JOB_DURATION, [kind.token()]);
            metrics.start_histogram(&QUEUE_WAIT, [kind.token()]);
        }
        for operation in STORE_OPERATIONS {
            for outcome in ["ok", "error"] {
                metrics.start_histogram(&STORE_REQUESTS, [operation, outcome]);
            }
        }
        metrics.count_undecodable();
        metrics.set_at(&BUILD, [crate::VERSION, crate::REVISION], 1.0);
        Ok(metrics)
    }

    /// Registers the metrics of a service, so that they show before they are first written. Those
    /// without labels start at 0, lists with one element; label sets start when first written.
    ///
    /// # Errors
    /// When a name is malformed or taken.
    pub fn register(&self, definitions: &[&'static MetricDefinition]) -> Result<(), RuntimeError> {
        for definition in definitions {
            self.register_one(definition)
                .with_context(|| format!("register the metric {}", definition.name))?;
        }
        Ok(())
    }

    fn register_one(&self, definition: &'static MetricDefinition) -> prometheus::Result<Collector> {
        let MetricDefinition {
            name, labels, help, ..
        } = definition;
        let options = Opts::new(*name, *help);
        let collector = match definition.kind {
            MetricKind::Gauge | MetricKind::GaugeList => {
                let gauges = GaugeVec::new(options, labels)?;
                self.registry.register(Box::new(gauges.clone()))?;
                match definition.kind {
                    MetricKind::GaugeList => drop(gauges.with_label_values(&["0"])),
                    _ if labels.is_empty() => drop(gauges.with_label_values::<&str>(&[])),
                    _ => {}
                }
                Collector::Gauge(gauges)
            }
            MetricKind::Counter => {
                let counters = IntCounterVec::new(options, labels)?;
                self.registry.register(Box::new(counters.clone()))?;
                if labels.is_empty() {
                    counters.with_label_values::<&str>(&[]);
                }
                Collector::Counter(counters)
            }
            MetricKind::Histogram => {
                let options = HistogramOpts::from(options).buckets(definition.buckets.to_vec());
                let histograms = HistogramVec::new(options, labels)?;
                self.registry.register(Box::new(histograms.clone()))?;
                Collector::Histogram(histograms)
            }
        };
        self.collectors
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, collector.clone());
        Ok(collector)
    }

    /// The collector of a handle. A handle that the service did not list is registered here: its
    /// numbers show, only later than they should.
    fn collector(&self, definition: &'static MetricDefinition) -> Option<Collector> {
        let known = self
            .collectors
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(definition.name)
            .cloned();
        known.or_else(|| match self.register_one(definition) {
            Ok(collector) => Some(collector),
            Err(error) => {
                tracing::warn!(error = %chain(&error), name = definition.name, "metric not \
                    registered");
                None
            }
        })
    }

    /// Sets a gauge that has no labels.
    pub fn set(&self, gauge: &'static Metric<Gauge>, value: f64) {
        self.set_at(gauge, [], value);
    }

    /// Sets one series of a gauge, by the values of its labels in the order of its definition.
    pub fn set_at<const N: usize>(
        &self,
        gauge: &'static Metric<Gauge, N>,
        labels: [&str; N],
        value: f64,
    ) {
        if let Some(Collector::Gauge(gauges)) = self.collector(gauge.definition()) {
            gauges.with_label_values(&labels).set(value);
        }
    }

    /// Sets the elements of a list; series of an earlier, longer list disappear.
    pub fn set_list(&self, list: &'static Metric<GaugeList, 1>, values: &[f64]) {
        let Some(Collector::Gauge(gauges)) = self.collector(list.definition()) else {
            return;
        };
        for (index, value) in values.iter().enumerate() {
            gauges.with_label_values(&[index.to_string()]).set(*value);
        }
        let mut beyond = values.len();
        while gauges.remove_label_values(&[&beyond.to_string()]).is_ok() {
            beyond += 1;
        }
    }

    /// Adds to a counter.
    pub fn add(&self, counter: &'static Metric<Counter>, by: u64) {
        self.add_at(counter, [], by);
    }

    /// Adds to one series of a counter, by the values of its labels in the order of its definition.
    pub fn add_at<const N: usize>(
        &self,
        counter: &'static Metric<Counter, N>,
        labels: [&str; N],
        by: u64,
    ) {
        if let Some(Collector::Counter(counters)) = self.collector(counter.definition()) {
            counters.with_label_values(&labels).inc_by(by);
        }
    }

    /// Observes a duration in seconds in one series of a histogram.
    pub fn observe_at<T: MetricType, const N: usize>(
        &self,
        histogram: &'static Metric<T, N>,
        labels: [&str; N],
        seconds: f64,
    ) {
        if let Some(Collector::Histogram(histograms)) = self.collector(histogram.definition()) {
            histograms.with_label_values(&labels).observe(seconds);
        }
    }

    fn start_histogram<T: MetricType, const N: usize>(
        &self,
        histogram: &'static Metric<T, N>,
        labels: [&str; N],
    ) {
        if let Some(Collector::Histogram(histograms)) = self.collector(histogram.definition()) {
            histograms.with_label_values(&labels);
        }
    }

    /// Brings the counter of what could not be decoded up to the numbers of this process, which are
    /// kept where it is decoded.
    fn count_undecodable(&self) {
        let Some(Collector::Counter(counters)) = self.collector(UNDECODABLE.definition()) else {
            return;
        };
        let _one_at_a_time = self
            .undecodable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (place, total) in undecodable::totals() {
            let counter = counters.with_label_values(&[place.label()]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// The Prometheus text format.
    pub fn render(&self) -> String {
        self.count_undecodable();
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("invariant: registered metrics encode");
        String::from_utf8(text).expect("invariant: the text format is UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        HEAD_LOSS: GaugeList["head"] = "cedm_loss", "nats", "Loss of each head";
        STEPS: Counter = "cedm_steps_total", "steps", "Steps";
    }

    fn shown(metrics: &Metrics, of: &str) -> Vec<String> {
        let text = metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(of));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn a_list_has_a_series_for_each_element_and_no_more() {
        let metrics = Metrics::new("clusterer", &[Kind::Cluster]).unwrap();
        metrics.register(METRICS).unwrap();
        assert_eq!(
            shown(&metrics, "cedm_loss{"),
            [r#"cedm_loss{head="0",service="clusterer"} 0"#]
        );
        metrics.set_list(&HEAD_LOSS, &[1.5, 2.0, 3.0]);
        assert_eq!(shown(&metrics, "cedm_loss{").len(), 3);
        metrics.set_list(&HEAD_LOSS, &[4.0, 2.5]);
        assert_eq!(
            shown(&metrics, "cedm_loss{"),
            [
                r#"cedm_loss{head="0",service="clusterer"} 4"#,
                r#"cedm_loss{head="1",service="clusterer"} 2.5"#
            ]
        );
    }

    #[test]
    fn a_metric_that_was_not_listed_shows_once_it_is_written() {
        let metrics = Metrics::new("trainer", &[]).unwrap();
        assert!(shown(&metrics, "cedm_steps_total").is_empty());
        metrics.add(&STEPS, 2);
        assert_eq!(
            shown(&metrics, "cedm_steps_total"),
            [r#"cedm_steps_total{service="trainer"} 2"#]
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
