//! One TEMI training: its state between two steps, from which a caller steps it, saves it and
//! restores it (spec §4.5–4.6).

mod outcome;
mod settings;
mod steps;

pub use outcome::Assignment;
pub use steps::{EpochSummary, PairBatch};

use super::{EpochDraws, HeadMoments, HeadShape, Heads, Marginal, Schedules, Standardisation};
use crate::{ClusteringError, neighbours::check_lists, unit_rows};
use cedm_contract::kinds::cluster::TemiParams;
use cedm_maths::Features;
use settings::check_settings;
use tch::{Device, Kind, Tensor};

/// A TEMI training between two steps.
#[derive(Debug)]
pub struct Training {
    pub(super) params: TemiParams,
    pub(super) seed: u64,
    pub(super) standardisation: Standardisation,
    /// Standardised features \[N, D\].
    pub(super) rows: Tensor,
    /// Nearest rows of every row, i64 \[N, k\].
    pub(super) neighbours: Tensor,
    pub(super) student: Heads,
    pub(super) teacher: Heads,
    pub(super) adam: HeadMoments,
    pub(super) marginal: Marginal,
    pub(super) schedules: Schedules,
    pub(super) step: u64,
    /// Sum of each head's losses over the steps of this epoch, f64 \[H\].
    pub(super) epoch_losses: Tensor,
    /// Clusters to which the teachers assigned any image of this epoch, bool \[H, C\].
    pub(super) epoch_used: Tensor,
    /// Mean loss of each head in each finished epoch.
    pub(super) history: Vec<Vec<f64>>,
    /// Pairs of the current epoch, with its number; derived from the seed, not part of the saved
    /// state.
    pub(super) draws: Option<(u32, EpochDraws)>,
}

impl Training {
    /// A training at its first step, with random heads drawn from `seed`. `neighbours` holds the
    /// nearest other rows of every row, best first: integers \[N, at least params.neighbours\].
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] for a setting that is out of range or does not fit the data,
    /// [`ClusteringError::Shape`] for neighbours of another set of rows.
    pub fn new(
        params: &TemiParams,
        clusters: u32,
        seed: u64,
        features: &Features,
        neighbours: &Tensor,
    ) -> Result<Self, ClusteringError> {
        let shape = HeadShape::new(params, features.width(), clusters)?;
        check_settings(params, clusters, features.count())?;
        let heads = Heads::initialise(shape, seed, features.kind(), features.device());
        let mut standardisation =
            Standardisation::identity(features.width(), features.kind(), features.device());
        if params.standardise {
            standardisation.mean = features
                .rows()
                .mean_dim([0].as_slice(), false, None::<Kind>);
            standardisation.std = features.rows().std_dim([0].as_slice(), true, false);
            // A constant feature has deviation 0, by which rows cannot be divided.
            let constant = standardisation.std.eq(0.0).to_kind(Kind::Int64);
            if constant.sum(Kind::Int64).int64_value(&[]) > 0 {
                let found = format!(
                    "on while feature {} is the same in every row",
                    constant.argmax(0, false).int64_value(&[])
                );
                return Err(ClusteringError::setting(
                    "standardise",
                    found,
                    "off, or features that vary",
                ));
            }
        }
        standardisation.l2_norm = params.l2_norm;
        if params.l2_norm {
            // For its error alone: a row of zeros has no unit length.
            let _ = unit_rows(features)?;
        }
        Self::with_heads(params, seed, features, neighbours, standardisation, heads)
    }

    /// The same from given heads, with which student and teacher both start.
    ///
    /// # Errors
    /// As [`Training::new`].
    pub fn with_heads(
        params: &TemiParams,
        seed: u64,
        features: &Features,
        neighbours: &Tensor,
        standardisation: Standardisation,
        heads: Heads,
    ) -> Result<Self, ClusteringError> {
        let shape = heads.shape;
        check_settings(params, shape.clusters as u32, features.count())?;
        check_lists(neighbours, features.count(), params.neighbours)?;
        let (kind, device) = (features.kind(), features.device());
        let plain = !params.standardise && !standardisation.l2_norm;
        let rows = if plain {
            features.rows().shallow_clone()
        } else {
            standardisation.apply(features.rows())
        };
        let neighbours = neighbours
            .narrow(1, 0, params.neighbours.into())
            .to_device(device)
            .to_kind(Kind::Int64)
            .contiguous();
        Ok(Self {
            schedules: Schedules::new(
                params,
                (features.count() / i64::from(params.batch)) as usize,
            )?,
            teacher: heads.map(Tensor::copy),
            adam: HeadMoments::new(&heads),
            student: heads,
            marginal: Marginal::uniform(shape.heads, shape.clusters, kind, device),
            step: 0,
            epoch_losses: Tensor::zeros([shape.heads], (Kind::Double, device)),
            epoch_used: Tensor::zeros([shape.heads, shape.clusters], (Kind::Bool, device)),
            history: Vec::new(),
            draws: None,
            params: params.clone(),
            seed,
            standardisation,
            rows,
            neighbours,
        })
    }

    /// Sizes of the stack of heads.
    pub fn shape(&self) -> HeadShape {
        self.student.shape
    }
    /// The device that holds features and heads.
    pub fn device(&self) -> Device {
        self.rows.device()
    }
    /// Steps per epoch, ⌊N/B⌋: images that fill no batch are left out of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.size()[0] as u64 / u64::from(self.params.batch)
    }
    /// Number of steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }
    /// Number of steps of the whole training.
    pub fn steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.params.epochs)
    }
    /// Whether all steps are done.
    pub fn finished(&self) -> bool {
        self.step >= self.steps()
    }
    /// The running cluster marginal p̃ of each head, \[H, C\].
    pub fn marginal(&self) -> &Tensor {
        &self.marginal.shares
    }
    /// Learning rate, weight decay, momentum and temperature of every step.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }
    /// Current weights of the student heads.
    pub fn student(&self) -> &Heads {
        &self.student
    }
    /// Mean loss of each head in each finished epoch.
    pub fn history(&self) -> &[Vec<f64>] {
        &self.history
    }
    /// Everything that a saved state must share with this training to be loaded, as one string.
    pub(super) fn identity(&self) -> String {
        let params =
            serde_json::to_string(&self.params).expect("invariant: parameters are plain numbers");
        let clusters = self.shape().clusters;
        format!(
            "temi C={clusters} seed={} features {:?} {:?} {params}",
            self.seed,
            self.rows.size(),
            self.rows.kind()
        )
    }
}
