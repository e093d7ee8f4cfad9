//! The requested scores of measured sets. A score that cannot be computed has a reason instead of a
//! number.

mod formulas;
mod settings;

use crate::{EvaluatorError, set::MeasuredSet};
use cedm_catalogue::metrics::{Against, FoundBy, Metric, Needs, Side, metric, score_metric_names};
use cedm_clustering::temi::Model;
use cedm_contract::kinds::score::Score;
use cedm_runtime::Monitor;
use formulas::Formulas;
pub use settings::Settings;
use std::collections::BTreeMap;

/// The sets that are compared, and the other inputs of a score.
#[derive(Clone, Copy)]
pub struct ComparedSets<'a> {
    /// The generated images, which are scored.
    pub generated: &'a MeasuredSet,
    /// The training images, which most metrics compare with.
    pub reference: Option<&'a MeasuredSet>,
    /// A sample set of the unconditional model.
    pub unconditional: Option<&'a MeasuredSet>,
    /// The test split, for `auroc` and `ct`.
    pub test: Option<&'a MeasuredSet>,
    /// The TEMI head behind the network's condition.
    pub heads: Option<&'a Model>,
}

/// A score with its standard deviation, if it has one.
pub(crate) struct Value {
    pub(crate) value: f64,
    pub(crate) std: Option<f64>,
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self { value, std: None }
    }
}

impl From<cedm_maths::MeanStd> for Value {
    fn from(spread: cedm_maths::MeanStd) -> Self {
        Self {
            value: spread.mean,
            std: Some(spread.std),
        }
    }
}

/// The rows of the metric table with these names.
///
/// # Errors
/// [`EvaluatorError::Metric`] for an unknown name, or one that is not a score of generated images.
pub fn metrics_named(names: &[String]) -> Result<Vec<&'static Metric>, EvaluatorError> {
    let unknown = |name: &str| EvaluatorError::Metric {
        found: name.to_owned(),
        known: score_metric_names().join(", "),
    };
    names
        .iter()
        .map(|name| {
            metric(name)
                .filter(|metric| metric.found_by == FoundBy::Score)
                .ok_or_else(|| unknown(name))
        })
        .collect()
}

/// Scores by metric name. `seed` determines the random subsets, `settings` the constants of the
/// metrics.
///
/// # Errors
/// Only for sets measured in different feature spaces, whose comparison would mean nothing. Any
/// other error makes a single score missing, with the error as its reason.
pub fn scores(
    metrics: &[&Metric],
    sets: ComparedSets,
    settings: Settings,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<BTreeMap<String, Score>, EvaluatorError> {
    sets.require_one_space()?;
    let formulas = Formulas::new(sets, settings, seed);
    let mut found = BTreeMap::new();
    for (done, metric) in metrics.iter().enumerate() {
        monitor.progress(done as u64, metrics.len() as u64, "metrics");
        let score = match sets
            .require_images(metric)
            .and_then(|()| formulas.compute(metric))
        {
            Ok(Value { value, std }) if value.is_finite() => Score {
                value: Some(value),
                std: std.filter(|std| std.is_finite()),
                missing: None,
            },
            // JSON has no NaN: such a score would come back as missing without a reason.
            Ok(Value { value, .. }) => missing(format!("the result is {value}")),
            Err(error) => missing(error.to_string()),
        };
        found.insert(metric.name.to_owned(), score);
    }
    monitor.progress(metrics.len() as u64, metrics.len() as u64, "metrics");
    Ok(found)
}

fn missing(reason: String) -> Score {
    Score {
        value: None,
        std: None,
        missing: Some(reason),
    }
}

/// A set that may be absent; `needed` describes it in the error.
fn given<'a>(
    set: Option<&'a MeasuredSet>,
    needed: &'static str,
) -> Result<&'a MeasuredSet, EvaluatorError> {
    set.ok_or_else(|| EvaluatorError::Lacking {
        what: "the job".to_owned(),
        found: "no such input",
        needed,
    })
}

impl<'a> ComparedSets<'a> {
    /// The sets that the generated images are compared with; an error where one is missing.
    pub(crate) fn against(&self, against: Against) -> Result<Vec<&'a MeasuredSet>, EvaluatorError> {
        let mut sets = Vec::new();
        for side in against.sides() {
            match side {
                Side::Reference => sets.push(self.reference()?),
                Side::Unconditional => sets.push(self.unconditional()?),
                Side::Test => sets.push(self.test()?),
                Side::Heads => {
                    self.heads()?;
                }
            }
        }
        Ok(sets)
    }

    pub(crate) fn heads(&self) -> Result<&'a Model, EvaluatorError> {
        self.heads.ok_or_else(|| EvaluatorError::Lacking {
            what: "the job".to_owned(),
            found: "no TEMI head",
            needed: "the head that made the network's clusters",
        })
    }

    pub(crate) fn reference(&self) -> Result<&'a MeasuredSet, EvaluatorError> {
        given(self.reference, "the training images")
    }

    pub(crate) fn unconditional(&self) -> Result<&'a MeasuredSet, EvaluatorError> {
        given(
            self.unconditional,
            "a sample set of the unconditional model",
        )
    }

    pub(crate) fn test(&self) -> Result<&'a MeasuredSet, EvaluatorError> {
        given(self.test, "the test split")
    }

    /// Checks that all sets with a known feature space were measured in the same one.
    fn require_one_space(&self) -> Result<(), EvaluatorError> {
        let sets: Vec<_> = [
            Some(self.generated),
            self.reference,
            self.unconditional,
            self.test,
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut known = sets
            .iter()
            .filter_map(|set| Some((&set.name, set.space.as_ref()?)));
        let Some((first, space)) = known.next() else {
            return Ok(());
        };
        known.try_for_each(|(name, other)| space.require(first, other, name))
    }

    /// Checks that the sets of a metric have as many images as it needs.
    fn require_images(&self, metric: &Metric) -> Result<(), EvaluatorError> {
        for set in std::iter::once(self.generated).chain(self.against(metric.against)?) {
            if let Some(count) = set.count.filter(|&count| count < metric.at_least as i64) {
                let what = set.name.clone();
                return Err(cedm_maths::MathsError::TooFew {
                    what,
                    found: count,
                    needed: metric.at_least as i64,
                    purpose: metric.title,
                }
                .into());
            }
        }
        debug_assert!(
            metric.needs != Needs::Clusters,
            "clustering metrics are not computed here"
        );
        Ok(())
    }
}
