//! What a metric is: one typed definition each, which is its handle and its documentation alike.

use std::marker::PhantomData;

/// A metric as dashboards and documentation see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricDefinition {
    /// Name in the Prometheus text format, with its unit as suffix where it has one.
    pub name: &'static str,
    /// How Prometheus reads it.
    pub kind: MetricKind,
    /// What its numbers count: `seconds`, `images`, `images per second`, …
    pub unit: &'static str,
    /// Its labels; every series carries `service` besides.
    pub labels: &'static [&'static str],
    /// What it measures, in one sentence without a full stop.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets; empty otherwise.
    pub buckets: &'static [f64],
}

/// How Prometheus reads a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// A gauge with one series per element of a list.
    GaugeList,
    /// Only rises, until the process restarts.
    Counter,
    /// Counts observations by size.
    Histogram,
}

impl MetricKind {
    /// As in a `# TYPE` line.
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Gauge | MetricKind::GaugeList => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// A type of metric; the methods of [`crate::Metrics`] take only handles of the type that they
/// write.
pub trait MetricType {
    /// How Prometheus reads it.
    const KIND: MetricKind;
    /// Upper bounds of a histogram's buckets.
    const BUCKETS: &'static [f64] = &[];
}

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge;
/// Numbers by position: one series per element, distinguished by one label of value 0, 1, …
#[derive(Debug)]
pub struct GaugeList;
/// A sum that only rises.
#[derive(Debug)]
pub struct Counter;
/// Durations of calls, 5 ms to 60 s.
#[derive(Debug)]
pub struct CallSeconds;
/// Durations of jobs, 1 s to 24 h.
#[derive(Debug)]
pub struct JobSeconds;

impl MetricType for Gauge {
    const KIND: MetricKind = MetricKind::Gauge;
}
impl MetricType for GaugeList {
    const KIND: MetricKind = MetricKind::GaugeList;
}
impl MetricType for Counter {
    const KIND: MetricKind = MetricKind::Counter;
}
impl MetricType for CallSeconds {
    const KIND: MetricKind = MetricKind::Histogram;
    const BUCKETS: &'static [f64] = &[
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0,
    ];
}
impl MetricType for JobSeconds {
    const KIND: MetricKind = MetricKind::Histogram;
    const BUCKETS: &'static [f64] = &[
        1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0, 86_400.0,
    ];
}

/// The handle of a metric of type `T` with `N` labels, made by [`crate::metrics!`].
#[derive(Debug)]
pub struct Metric<T, const N: usize = 0> {
    definition: MetricDefinition,
    is_of: PhantomData<fn() -> T>,
}

impl<T: MetricType, const N: usize> Metric<T, N> {
    /// For [`crate::metrics!`], which also puts the definition into its crate's list.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        labels: &'static [&'static str; N],
        help: &'static str,
    ) -> Self {
        Self {
            definition: MetricDefinition {
                name,
                kind: T::KIND,
                unit,
                labels,
                help,
                buckets: T::BUCKETS,
            },
            is_of: PhantomData,
        }
    }

    /// What is known of it.
    pub const fn definition(&self) -> &MetricDefinition {
        &self.definition
    }
}

/// For [`crate::metrics!`]: how many labels a definition has.
#[doc(hidden)]
pub const fn count(labels: &[&str]) -> usize {
    labels.len()
}

/// Defines the metrics of a crate: a typed handle for each, and the list `METRICS` of all of them,
/// which a [`crate::Worker`] returns. A metric that is not in the list cannot exist.
///
/// ```
/// cedm_runtime::metrics! {
///     pub LOSS: Gauge = "cedm_example_loss", "nats", "Loss of the last step";
///     pub HEAD_LOSS: GaugeList["head"] = "cedm_example_head_loss", "nats", "Loss of each head";
/// }
/// assert_eq!(METRICS[1].labels, ["head"]);
/// ```
///
/// A handle of another type does not compile:
///
/// ```compile_fail
/// cedm_runtime::metrics! {
///     pub LOSS: Gauge = "cedm_example_loss", "nats", "Loss of the last step";
/// }
/// use cedm_runtime::Monitor;
/// cedm_runtime::QuietMonitor.count(&LOSS, 1);
/// ```
#[macro_export]
macro_rules! metrics {
    ($($visibility:vis $handle:ident: $of:ident $([$($label:literal),+])?
        = $name:literal, $unit:literal, $help:literal;)+) => {
        $(
            #[doc = $help]
            $visibility static $handle: $crate::metrics::Metric<
                $crate::metrics::$of,
                { $crate::metrics::count(&[$($($label),+)?]) },
            > = $crate::metrics::Metric::new($name, $unit, &[$($($label),+)?], $help);
        )+
        /// Every metric that is defined here.
        pub static METRICS: &[&$crate::metrics::MetricDefinition] = &[$($handle.definition()),+];
    };
}
