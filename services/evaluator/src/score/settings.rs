//! Constants of the metrics that can be changed on the command line, as in other tools; the
//! defaults are those of the literature.

use serde::Serialize;

/// Constants of the metrics. The defaults are those of the metric table; `cedm-evaluator run` can
/// change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::Args)]
pub struct Settings {
    /// Number of neighbours k of precision, recall, density, coverage and realism
    #[arg(long, default_value_t = Settings::default().neighbours, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub neighbours: u32,
    /// Largest number of images of each set for the metrics with --neighbours; a random subset of
    /// larger sets
    #[arg(long, default_value_t = Settings::default().neighbour_images, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(2..))]
    pub neighbour_images: u32,
    /// Number of random subsets of the kernel distance
    #[arg(long, default_value_t = Settings::default().kid_subsets, value_name = "SUBSETS", value_parser = clap::value_parser!(u32).range(1..))]
    pub kid_subsets: u32,
    /// Number of images in each subset of the kernel distance; all of a smaller set
    #[arg(long, default_value_t = Settings::default().kid_subset_size, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(2..))]
    pub kid_subset_size: u32,
    /// Number of splits of the Inception Score
    #[arg(long, default_value_t = Settings::default().isc_splits, value_name = "SPLITS", value_parser = clap::value_parser!(u32).range(1..))]
    pub isc_splits: u32,
}

impl Default for Settings {
    /// The values of the literature (spec §10.5), in which the sweep file's scores are computed.
    fn default() -> Self {
        Self {
            neighbours: 5,
            neighbour_images: 10_000,
            kid_subsets: 100,
            kid_subset_size: 1_000,
            isc_splits: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_jobs() {
        assert_eq!(Line::parse_from(["run"]).settings, Settings::default());
    }
}
