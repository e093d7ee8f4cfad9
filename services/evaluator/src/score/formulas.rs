//! The formula behind each metric of the table.

use super::{ComparedSets, Settings, Value};
use crate::{EvaluatorError, cells::cells_of, confidence::confidences};
use cedm_catalogue::metrics::{Against, CONFIDENCE, Metric};
use cedm_maths::{
    CellAssignment, Features, MeanStd, Order, Prdc, Splits, authenticity, copying_score,
    fd_infinity, frechet_to, inception_score, kid, mean_softmax_score, nearest_cosine_auroc,
    numpy_permutation, prdc, random_subsets, realism, sliced_wasserstein_of_gaussians, vendi,
};
use std::cell::OnceCell;

/// Seed of the Inception Score's shuffle: torch-fidelity's, so that splits hold the same images
/// (spec §10.5).
const IS_SHUFFLE_SEED: u32 = 2020;

/// Computes metrics of some sets; what several metrics share is computed once.
pub(super) struct Formulas<'a> {
    sets: ComparedSets<'a>,
    settings: Settings,
    seed: u64,
    prdc: OnceCell<Prdc>,
}

impl<'a> Formulas<'a> {
    pub(super) fn new(sets: ComparedSets<'a>, settings: Settings, seed: u64) -> Self {
        Self {
            sets,
            settings,
            seed,
            prdc: OnceCell::new(),
        }
    }

    /// The value of one metric.
    pub(super) fn compute(&self, metric: &Metric) -> Result<Value, EvaluatorError> {
        match metric.name {
            "fd" | "ufd" => self.frechet(metric.against),
            "fd_infinity" => self.fd_infinity(),
            "kid" => self.kid(),
            "precision" => Ok(self.prdc()?.precision.into()),
            "recall" => Ok(self.prdc()?.recall.into()),
            "density" => Ok(self.prdc()?.density.into()),
            "coverage" => Ok(self.prdc()?.coverage.into()),
            "realism" => self.realism(),
            "inception_score" => self.inception_score(),
            "mean_softmax_score" => {
                Ok(mean_softmax_score(&self.sets.generated.logits()?.double()).into())
            }
            "vendi" => Ok(vendi(&self.sets.generated.features()?.double(), Order::One)?.into()),
            "authenticity" => Ok(
                authenticity(self.reference()?, self.sets.generated.features()?)?
                    .percent
                    .into(),
            ),
            "ct" => self.copying(),
            "auroc" => self.auroc(),
            "sw" => self.sliced(),
            CONFIDENCE => self.confidence(),
            name => unreachable!("invariant: {name} is in the table and has its formula here"),
        }
    }

    fn reference(&self) -> Result<&'a Features, EvaluatorError> {
        self.sets.reference()?.features()
    }

    fn frechet(&self, against: Against) -> Result<Value, EvaluatorError> {
        let [other] = self.sets.against(against)?[..] else {
            unreachable!("invariant: a Fréchet distance compares with one other set")
        };
        Ok(frechet_to(
            other.root()?,
            other.gaussian()?,
            self.sets.generated.gaussian()?,
        )?
        .distance
        .into())
    }

    fn fd_infinity(&self) -> Result<Value, EvaluatorError> {
        let reference = self.sets.reference()?;
        Ok(fd_infinity(
            reference.root()?,
            reference.gaussian()?,
            self.sets.generated.features()?,
            self.seed,
        )?
        .distance
        .into())
    }

    /// In float64, like all kernels and cosines here: the unbiased estimate is a small difference
    /// of large sums.
    fn kid(&self) -> Result<Value, EvaluatorError> {
        let (generated, reference) = (
            self.sets.generated.features()?.double(),
            self.reference()?.double(),
        );
        // A smaller set gives smaller subsets instead of no score; the result stays unbiased.
        let rows = i64::from(self.settings.kid_subset_size)
            .min(generated.count())
            .min(reference.count());
        let first = random_subsets(
            self.seed,
            generated.count(),
            rows,
            self.settings.kid_subsets as usize,
        )?;
        let second = random_subsets(
            // Not the same rows of both sets, should they have equally many.
            self.seed.wrapping_add(1),
            reference.count(),
            rows,
            self.settings.kid_subsets as usize,
        )?;
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        Ok(MeanStd::of(&kid(&generated, &reference, &pairs)?).into())
    }

    fn prdc(&self) -> Result<Prdc, EvaluatorError> {
        if let Some(found) = self.prdc.get() {
            return Ok(*found);
        }
        // Both sets are cut alike: density and coverage depend on the numbers of rows.
        let real = self.at_most(self.reference()?, 0)?;
        let fake = self.at_most(self.sets.generated.features()?, 1)?;
        let found = prdc(&real, &fake, self.settings.neighbours.into())?;
        Ok(*self.prdc.get_or_init(|| found))
    }

    /// All rows of a set, or as many random rows as the settings allow. `stream` keeps the draws of
    /// real and generated rows apart.
    fn at_most(&self, set: &Features, stream: usize) -> Result<Features, EvaluatorError> {
        let most = i64::from(self.settings.neighbour_images);
        let rows = if set.count() <= most {
            (0..set.count()).collect()
        } else {
            // The draws follow one another from one generator, so stream k needs those before it.
            random_subsets(self.seed, set.count(), most, stream + 1)?.swap_remove(stream)
        };
        Ok(set.select(&rows)?)
    }

    fn realism(&self) -> Result<Value, EvaluatorError> {
        let real = self.at_most(self.reference()?, 0)?;
        let mut scores = realism(
            &real,
            &self.at_most(self.sets.generated.features()?, 1)?,
            self.settings.neighbours.into(),
        )?;
        // The median: a fake that equals a real image has a realism without bound, which a mean
        // would show.
        scores.sort_by(f64::total_cmp);
        let middle = scores.len() / 2;
        let median = if scores.len() % 2 == 1 {
            scores[middle]
        } else {
            (scores[middle - 1] + scores[middle]) / 2.0
        };
        Ok(median.into())
    }

    fn inception_score(&self) -> Result<Value, EvaluatorError> {
        let logits = self.sets.generated.logits()?.double();
        let shuffle = numpy_permutation(IS_SHUFFLE_SEED, logits.count() as u32);
        Ok(inception_score(
            &logits,
            self.settings.isc_splits.into(),
            Splits::Proportional,
            Some(&shuffle),
        )?
        .into())
    }

    fn copying(&self) -> Result<Value, EvaluatorError> {
        let (train, test) = (self.reference()?, self.sets.test()?.features()?);
        let generated = self.sets.generated.features()?;
        let cells = cells_of(train, &[test, generated], self.seed)?;
        let assigned = |features, index: usize| CellAssignment {
            features,
            cells: &cells.ids[index],
        };
        let found = copying_score(
            &assigned(train, 0),
            &assigned(test, 1),
            &assigned(generated, 2),
            cells.count,
        )?;
        let lacking = || EvaluatorError::Lacking {
            what: self.sets.generated.name.clone(),
            found: "no cell of the training set with more than 20 of its images",
            needed: "at least one such cell",
        };
        Ok(found.score.ok_or_else(lacking)?.into())
    }

    fn auroc(&self) -> Result<Value, EvaluatorError> {
        let (train, test) = (
            self.reference()?.double(),
            self.sets.test()?.features()?.double(),
        );
        Ok(nearest_cosine_auroc(&train, &test, &self.sets.generated.features()?.double())?.into())
    }

    fn confidence(&self) -> Result<Value, EvaluatorError> {
        let probability = confidences(self.sets.heads()?, self.sets.generated)?.probability();
        let values: Vec<f64> = Vec::try_from(probability.to_device(tch::Device::Cpu))
            .expect("invariant: a vector of float64");
        Ok(MeanStd::of(&values).into())
    }

    fn sliced(&self) -> Result<Value, EvaluatorError> {
        let (generated, reference) = (self.sets.generated, self.sets.reference()?);
        let count = |set: &crate::MeasuredSet| {
            set.count.ok_or_else(|| EvaluatorError::Lacking {
                what: set.name.clone(),
                found: "no count of images",
                needed: "one",
            })
        };
        let (x, y) = (
            (generated.gaussian()?, count(generated)?),
            (reference.gaussian()?, count(reference)?),
        );
        Ok(sliced_wasserstein_of_gaussians(x, y)?.into())
    }
}
