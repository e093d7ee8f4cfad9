//! The parts of the page, in reading order: the answer, the pictures, what lies behind them, where
//! it comes from.

mod answer;
mod clusterings;
mod confidence;
mod features;
mod galleries;
mod lineage;
mod mapping;
mod matching;
mod methods;
mod missing;
mod scores;
mod settings;
mod spaces;
mod tables;
mod training;

pub use training::curve_of;

use crate::{facts::Facts, section::Section};

/// Every part that has something to say.
pub fn all(facts: &Facts) -> Vec<Section> {
    let sections = [
        Some(answer::section(facts)),
        missing::section(facts),
        scores::by_clusters(facts),
        galleries::by_granularity(facts),
        scores::by_images(facts),
        methods::section(facts),
        spaces::section(facts),
        scores::secondary(facts),
        tables::section(facts),
        features::section(facts),
        clusterings::section(facts),
        galleries::by_cluster(facts),
        matching::section(facts),
        mapping::section(facts),
        confidence::section(facts),
        training::section(facts),
        Some(settings::section(facts)),
        Some(lineage::section(facts)),
        tables::definitions(facts),
    ];
    sections.into_iter().flatten().collect()
}
