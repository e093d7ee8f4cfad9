//! The parts of the page, in reading order: the answer, the pictures, what lies behind them, where
//! it comes from.

mod all_scores;
mod answer;
mod cluster_images;
mod clusterings;
mod confidence;
mod contingency;
mod definitions;
mod feature_spaces;
mod features;
mod lineage;
mod matched_pairs;
mod methods;
mod missing;
mod samples;
mod scores;
mod settings;
mod training;

use crate::{context::ReportContext, section::Section};

/// Every part that has something to say.
pub fn all(context: &ReportContext) -> Vec<Section> {
    let sections = [
        Some(answer::section(context)),
        missing::section(context),
        scores::against_clusters(context),
        samples::section(context),
        scores::against_images(context),
        methods::section(context),
        feature_spaces::section(context),
        scores::other(context),
        Some(all_scores::section(context)),
        features::section(context),
        clusterings::section(context),
        cluster_images::section(context),
        contingency::section(context),
        matched_pairs::section(context),
        confidence::section(context),
        training::section(context),
        Some(settings::section(context)),
        Some(lineage::section(context)),
        Some(definitions::section(context)),
    ];
    sections.into_iter().flatten().collect()
}
