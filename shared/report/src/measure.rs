//! A measure: one metric in one feature space, such as FID or FD (pixels).

use crate::chart::Axis;
use cedm_catalogue::metrics::{Metric, metric};
use cedm_sweep::SweepSpec;

/// A metric in a feature space.
#[derive(Clone)]
pub struct Measure {
    /// `<space>/<metric>`, the key of summaries.
    pub key: String,
    /// Its row in the metric table.
    pub metric: &'static Metric,
    /// Its name in this feature space: FID, FD (pca).
    pub title: String,
    /// Whether it is the primary metric of its feature space.
    pub is_primary: bool,
}

impl Measure {
    /// Every measure that a sweep asks for, in the order of the file; in each feature space the
    /// primary metric first.
    pub fn all(spec: &SweepSpec) -> Vec<Self> {
        let mut all = Vec::new();
        for evaluation in &spec.evaluations {
            let others = evaluation.metrics.iter();
            let others = others.filter(|name| **name != evaluation.primary);
            for name in std::iter::once(&evaluation.primary).chain(others) {
                let Some(metric) = metric(name) else { continue };
                all.push(Self {
                    key: format!("{}/{name}", evaluation.name),
                    metric,
                    title: metric.title_in(&evaluation.extractor.name),
                    is_primary: *name == evaluation.primary,
                });
            }
        }
        all
    }

    /// The metrics of these measures, each once.
    pub fn metrics(all: &[Self]) -> Vec<&'static Metric> {
        let mut metrics: Vec<&'static Metric> = Vec::new();
        for measure in all {
            if !metrics.iter().any(|one| one.name == measure.metric.name) {
                metrics.push(measure.metric);
            }
        }
        metrics
    }

    /// The axis of a chart: name, unit and direction. Fractions and probabilities keep to 0 to 1.
    pub fn axis(&self) -> Axis {
        let (unit, direction) = (self.metric.unit, self.metric.direction.words());
        let axis = Axis::linear(format!("{}, {unit} ({direction})", self.title));
        if matches!(unit, "fraction" | "probability") {
            axis.within((0.0, 1.0))
        } else {
            axis
        }
    }

    /// The head of a table's column: name and the arrow of its direction.
    pub fn head(&self) -> String {
        let head = format!("{} {}", self.title, self.metric.direction.arrow());
        head.trim_end().to_owned()
    }

    /// The objective of a score, which is minimised. `None` where neither end is better.
    pub fn objective(&self, score: f64) -> Option<f64> {
        self.metric.direction.objective(score)
    }
}
