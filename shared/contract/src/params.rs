//! Parameters of every kind of job: what its result depends on beside its inputs. Defaults are the
//! paper's (spec §§2–10).

mod adapt;
mod cluster;
mod feature_evaluation;
mod images;
mod sample;
mod score;
mod train;

pub use adapt::{AdaptParams, DinoParams, VitSize};
pub use cluster::{
    BoundParams, ClusterMethod, ClusterParams, FineGrid, KmeansParams, NeighbourPart,
    NeighboursParams, TemiParams,
};
pub use feature_evaluation::FeatureEvaluationParams;
pub use images::{
    ExtractParams, ExtractorSpec, FeaturesParams, FitParams, ImportParams, Precision,
};
pub use sample::{Guidance, LabelSource, SampleParams, SampleSetParams, SamplerParams, Solver};
pub use score::{
    MeasureParams, REFERENCE_SEED, ReferenceParams, ReportParams, ScoreParams, reference_limit,
};
pub use train::{
    AugmentParams, Embedding, NetworkSpec, OptimiserParams, TrainParams, whole_batch_images,
};
