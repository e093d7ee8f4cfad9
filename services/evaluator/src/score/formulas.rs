//! Which formula gives which row of the metric table.

use super::{Sides, Value};
use crate::{EvaluatorError, cells::cells_of};
use cedm_contract::metrics::{Against, Metric};
use cedm_maths::{
    Celled, Features, Order, Prdc, Splits, Spread, authenticity, copying_score, fd_infinity, frechet_to, inception_score, kid,
    mean_softmax_score, nearest_cosine_auroc, numpy_permutation, prdc, random_subsets, realism, sliced_wasserstein_of_gaussians, vendi,
};
use std::cell::OnceCell;

/// k of precision, recall, density and coverage (spec §10.5).
const NEIGHBOURS: i64 = 5;
/// Rows of each side that precision and its kin look at (spec §10.5).
const PRDC_ROWS: i64 = 10_000;
/// Subsets of the kernel distance and rows of each (spec §10.5).
const KID_SUBSETS: usize = 100;
const KID_ROWS: i64 = 1_000;
/// Splits of the Inception Score, and the seed of its fixed shuffle (spec §10.5).
const IS_SPLITS: i64 = 10;
const IS_SHUFFLE_SEED: u32 = 2020;

pub(super) struct Formulas<'a> {
    sides: Sides<'a>,
    seed: u64,
    prdc: OnceCell<Prdc>,
}

impl<'a> Formulas<'a> {
    pub(super) fn new(sides: Sides<'a>, seed: u64) -> Self {
        Self {
            sides,
            seed,
            prdc: OnceCell::new(),
        }
    }

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
            "mean_softmax_score" => Ok(mean_softmax_score(&self.sides.generated.logits()?.double()).into()),
            "vendi" => Ok(vendi(&self.sides.generated.features()?.double(), Order::One)?.into()),
            "authenticity" => Ok(authenticity(self.reference()?, self.sides.generated.features()?)?.percent.into()),
            "ct" => self.copying(),
            "auroc" => self.auroc(),
            "sw" => self.sliced(),
            name => unreachable!("invariant: {name} is in the table and has its formula here"),
        }
    }

    fn reference(&self) -> Result<&'a Features, EvaluatorError> {
        self.sides.role("reference")?.features()
    }

    fn frechet(&self, against: Against) -> Result<Value, EvaluatorError> {
        let [other] = self.sides.against(against)?[..] else {
            unreachable!("invariant: a Fréchet distance has one other side")
        };
        Ok(frechet_to(other.root()?, other.gaussian()?, self.sides.generated.gaussian()?)?
            .distance
            .into())
    }

    fn fd_infinity(&self) -> Result<Value, EvaluatorError> {
        let reference = self.sides.role("reference")?;
        Ok(fd_infinity(
            reference.root()?,
            reference.gaussian()?,
            self.sides.generated.features()?,
            self.seed,
        )?
        .distance
        .into())
    }

    fn kid(&self) -> Result<Value, EvaluatorError> {
        let (generated, reference) = (self.sides.generated.features()?.double(), self.reference()?.double());
        let rows = KID_ROWS.min(generated.count()).min(reference.count());
        let first = random_subsets(self.seed, generated.count(), rows, KID_SUBSETS)?;
        let second = random_subsets(self.seed.wrapping_add(1), reference.count(), rows, KID_SUBSETS)?;
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        Ok(Spread::of(&kid(&generated, &reference, &pairs)?).into())
    }

    fn prdc(&self) -> Result<Prdc, EvaluatorError> {
        if let Some(found) = self.prdc.get() {
            return Ok(*found);
        }
        let real = self.at_most(self.reference()?, 0)?;
        let fake = self.at_most(self.sides.generated.features()?, 1)?;
        let found = prdc(&real, &fake, NEIGHBOURS)?;
        Ok(*self.prdc.get_or_init(|| found))
    }

    /// All rows, or [`PRDC_ROWS`] of them drawn from stream `side`.
    fn at_most(&self, set: &Features, side: usize) -> Result<Features, EvaluatorError> {
        let rows = if set.count() <= PRDC_ROWS {
            (0..set.count()).collect()
        } else {
            random_subsets(self.seed, set.count(), PRDC_ROWS, side + 1)?.swap_remove(side)
        };
        Ok(set.select(&rows)?)
    }

    fn realism(&self) -> Result<Value, EvaluatorError> {
        let real = self.at_most(self.reference()?, 0)?;
        let mut scores = realism(&real, &self.at_most(self.sides.generated.features()?, 1)?, NEIGHBOURS)?;
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
        let logits = self.sides.generated.logits()?.double();
        let shuffle = numpy_permutation(IS_SHUFFLE_SEED, logits.count() as u32);
        Ok(inception_score(&logits, IS_SPLITS, Splits::Proportional, Some(&shuffle))?.into())
    }

    fn copying(&self) -> Result<Value, EvaluatorError> {
        let (train, test) = (self.reference()?, self.sides.role("test")?.features()?);
        let generated = self.sides.generated.features()?;
        let cells = cells_of(train, &[test, generated], self.seed)?;
        let celled = |features, index: usize| Celled {
            features,
            cells: &cells.ids[index],
        };
        let found = copying_score(&celled(train, 0), &celled(test, 1), &celled(generated, 2), cells.count)?;
        let lacking = || EvaluatorError::Lacking {
            what: self.sides.generated.name.clone(),
            found: "no cell of the training set with more than 20 of its images",
            needed: "at least one such cell",
        };
        Ok(found.score.ok_or_else(lacking)?.into())
    }

    fn auroc(&self) -> Result<Value, EvaluatorError> {
        let (train, test) = (self.reference()?.double(), self.sides.role("test")?.features()?.double());
        Ok(nearest_cosine_auroc(&train, &test, &self.sides.generated.features()?.double())?.into())
    }

    fn sliced(&self) -> Result<Value, EvaluatorError> {
        let (generated, reference) = (self.sides.generated, self.sides.role("reference")?);
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
